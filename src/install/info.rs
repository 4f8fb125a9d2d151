//! `pkginfo.json`: the part of a package's description that install roots need (docs/format.md,
//! "Descriptions in a package").
//!
//! Checks are stricter than those of a `buildinfo.json`, whose package builds and keeps its id with
//! some values that cannot be written into files: those are refused here, when the package is
//! required or activated. Unknown keys belong to other tools.

use serde_json::Value;

use crate::package::json::{JsonKind, JsonNode, Object};
use crate::package::{
    GroupName, NameError, Problem, Requirement, UserName, check_variable_value, is_variable_name,
    wrong_variable,
};

/// Variables that the install root sets itself.
const RESERVED_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "PATH"];

/// Checked contents of a `pkginfo.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PackageInfo {
    /// Variables in the file's order, their values as they are written.
    pub environment: Vec<(String, String)>,
    /// Required packages.
    pub requires: Vec<Requirement>,
    /// True if the host keeps a directory for its state.
    pub state_directory: bool,
    /// User of the package's service.
    pub username: Option<UserName>,
    /// Group of the user; `None` for a group of the user's own.
    pub group: Option<GroupName>,
    /// Kernel settings by service.
    pub sysctl: Vec<(String, Vec<(String, Value)>)>,
}

impl PackageInfo {
    /// Reads a `pkginfo.json`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let node = JsonNode::parse(text)?;
        let object = node.object("a pkginfo.json")?;
        let requires = match object.get("requires") {
            None => Vec::new(),
            Some(node) => {
                let items = node.list("requires", "packages")?;
                items.iter().map(Requirement::from_json).collect::<Result<_, _>>()?
            }
        };
        let username: Option<UserName> = name(object, "username")?;
        // An empty group is as good as none; the original let it through.
        let group = name(object, "group")?.filter(|group: &GroupName| !group.as_str().is_empty());
        // The group is that of the user's account, and there is none.
        if let (Some(node), None, Some(_)) = (given(object, "group"), &username, &group) {
            return Err(Problem::at(node.offset, "a group without a username")
                .hint("add a username to the package's buildinfo.json, or take the group out"));
        }
        Ok(Self {
            environment: environment(object)?,
            requires,
            state_directory: state_directory(object)?,
            username,
            group,
            sysctl: sysctl(object)?,
        })
    }
}

/// Checks that a `pkginfo.json` is an object, and the names of variables in it and the characters of their values;
/// what else is wrong with it is found by [`PackageInfo::parse`], when the package is required or activated.
pub(super) fn check_variables(text: &str) -> Result<(), Problem> {
    let node = JsonNode::parse(text)?;
    let object = node.object("a pkginfo.json")?;
    let Some(JsonKind::Object(variables)) = object.get("environment").map(|node| &node.kind) else {
        return Ok(());
    };
    for entry in variables.entries() {
        if !is_variable_name(&entry.key) {
            return Err(wrong_variable(&entry.key, entry.key_offset));
        }
        if let JsonKind::String(value) = &entry.value.kind {
            check_variable_value(&entry.key, value, entry.value.offset)?;
        }
    }
    Ok(())
}

/// The value of a key; `null` counts as absent, as in the original.
fn given<'a>(object: &'a Object, key: &str) -> Option<&'a JsonNode> {
    object.get(key).filter(|node| !matches!(node.kind, JsonKind::Null))
}

fn environment(object: &Object) -> Result<Vec<(String, String)>, Problem> {
    let Some(node) = object.get("environment") else { return Ok(Vec::new()) };
    let variables = node.object("environment")?.entries().iter().map(|entry| {
        let name = &entry.key;
        let wrong = |message: &str| Problem::at(entry.key_offset, format!("{name:?}: {message}"));
        if RESERVED_VARIABLES.contains(&name.as_str()) {
            return Err(wrong("no package may set this variable")
                .hint("the install root sets it, for all packages together"));
        }
        if !is_variable_name(name) {
            return Err(wrong_variable(name, entry.key_offset));
        }
        let value = match &entry.value.kind {
            JsonKind::String(text) => text.clone(),
            JsonKind::Number(number) => number.to_string(),
            // As the original wrote it.
            JsonKind::Bool(value) => if *value { "True" } else { "False" }.to_owned(),
            JsonKind::Null | JsonKind::List(_) | JsonKind::Object(_) => {
                let what = format!("the value of {name}");
                return Err(entry
                    .value
                    .wrong(&what, "a string, a number or a boolean")
                    .hint("write it as a string"));
            }
        };
        // Otherwise a value could set further variables, `LD_LIBRARY_PATH` among them, for all
        // services.
        if value.contains(['\n', '\0']) {
            let message = format!("the value of {name} has more than one line");
            return Err(Problem::at(entry.value.offset, message)
                .hint("a variable takes one line of the file environment"));
        }
        check_variable_value(name, &value, entry.value.offset)?;
        Ok((name.clone(), value))
    });
    variables.collect()
}

fn state_directory(object: &Object) -> Result<bool, Problem> {
    let Some(node) = object.get("state_directory") else { return Ok(false) };
    match &node.kind {
        JsonKind::Bool(value) => Ok(*value),
        // The original asked no more than whether Python takes the value for true.
        JsonKind::Number(number) if number.to_string() == "0" => Ok(false),
        JsonKind::Number(number) if number.to_string() == "1" => Ok(true),
        _ => Err(node.wrong("state_directory", "true or false")),
    }
}

fn name<T: std::str::FromStr<Err = NameError>>(
    object: &Object,
    key: &str,
) -> Result<Option<T>, Problem> {
    let Some(node) = given(object, key) else { return Ok(None) };
    let name = node.string(key)?.parse();
    name.map(Some).map_err(|error: NameError| Problem::at(node.offset, error.to_string()))
}

type EnvironmentSettings = Vec<(String, Value)>;

fn sysctl(object: &Object) -> Result<Vec<(String, EnvironmentSettings)>, Problem> {
    let Some(node) = given(object, "sysctl") else { return Ok(Vec::new()) };
    let services = node.object("sysctl")?.entries().iter().map(|service| {
        let what = format!("the sysctl of {}", service.key);
        let settings = service.value.object(&what)?.entries().iter().map(|setting| {
            let kind = &setting.value.kind;
            if !matches!(kind, JsonKind::String(_) | JsonKind::Number(_) | JsonKind::Bool(_)) {
                let what = format!("the setting {}", setting.key);
                return Err(setting.value.wrong(&what, "a string, a number or a boolean"));
            }
            Ok((setting.key.clone(), setting.value.to_value()))
        });
        Ok((service.key.clone(), settings.collect::<Result<EnvironmentSettings, Problem>>()?))
    });
    services.collect()
}
