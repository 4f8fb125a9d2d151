//! `[<variant>.]buildinfo.json`: the description of a package (docs/format.md, "Keys of buildinfo.json").

use serde_json::{Map, Value};

use super::json::{JsonEntry, JsonKind, JsonNode, Object};
use super::{
    GroupName, ImageName, PackageName, PackageSource, Problem, Requirement, SourceName, UserName,
    Variant, is_variable_name, noncharacter_in,
};

const KEYS: [&str; 11] = [
    "requires",
    "sources",
    "single_source",
    "docker",
    "build_script",
    "environment",
    "state_directory",
    "username",
    "group",
    "sysctl",
    "version_extra",
];

/// Checked contents of a `buildinfo.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// Requirements in the order of the file.
    pub requires: Vec<Requirement>,
    /// Unparsed `requires`, which `pkginfo.json` repeats.
    pub requires_as_written: Value,
    /// Sources, sorted by name.
    pub sources: Vec<(SourceName, PackageSource)>,
    /// Builder image; `None` for the default one.
    pub docker: Option<ImageName>,
    /// The build script's path, relative to the package's folder.
    pub build_script: String,
    /// Environment variables for programs that use the package.
    pub environment: Map<String, Value>,
    /// Need for a state directory on the host.
    pub state_directory: StateDirectory,
    /// User of the package's service.
    pub username: Option<UserName>,
    /// Group of the user.
    pub group: Option<GroupName>,
    /// Kernel settings by service.
    pub sysctl: Option<Map<String, Value>>,
    /// Prefix of the hash in the version.
    pub version_extra: Option<String>,
    /// Questionable but accepted contents.
    pub warnings: Vec<Problem>,
}

/// `state_directory`: a boolean, or 0 or 1, which are kept and hashed as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateDirectory {
    /// `true` or `false`.
    Bool(bool),
    /// `1` or `0`.
    Number(bool),
}

impl StateDirectory {
    /// The value as it is written and hashed.
    pub fn to_value(self) -> Value {
        match self {
            Self::Bool(value) => value.into(),
            Self::Number(value) => u8::from(value).into(),
        }
    }
}

impl BuildInfo {
    /// Reads the `buildinfo.json` of one variant of a package; fails with the first fault. An empty file is `{}`.
    pub fn parse(text: &str, package: &PackageName, variant: &Variant) -> Result<Self, Problem> {
        // There is at least one, and they are in the order of the text.
        Self::parse_all(text, package, variant).map_err(|mut faults| faults.swap_remove(0))
    }

    /// Reads the `buildinfo.json` of one variant of a package; fails with all faults, of which there is at least
    /// one, in the order of the text.
    pub fn parse_all(
        text: &str,
        package: &PackageName,
        variant: &Variant,
    ) -> Result<Self, Vec<Problem>> {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let node = JsonNode::parse(text).map_err(|problem| vec![problem])?;
        let object = node.object("a buildinfo.json").map_err(|problem| vec![problem])?;
        let mut faults = Faults::default();
        let unknown = object.entries().iter().filter(|entry| !KEYS.contains(&entry.key.as_str()));
        faults.0.extend(unknown.map(|entry| {
            let message = format!("a buildinfo.json has no key {:?}", entry.key);
            Problem::at(entry.key_offset, message).hint_of_keys(&entry.key, &KEYS)
        }));
        let mut warnings: Vec<Problem> = object
            .repeated
            .iter()
            .map(|(key, offset)| {
                Problem::at(*offset, format!("{key:?} is given twice; the last one counts"))
            })
            .collect();
        let (requires, requires_as_written) = requires(object, &mut faults);
        let environment = environment(object, &mut warnings, &mut faults);
        let username = faults.note(name(object, "username")).flatten();
        let group: Option<GroupName> = faults.note(name(object, "group")).flatten();
        if let (Some(node), false, Some(_)) =
            (object.get("group"), object.get("username").is_some(), &group)
        {
            warnings.push(
                Problem::at(node.offset, "a group without a username: the package builds, but can't be activated or required")
                    .hint("add a username, or take the group out"),
            );
        }
        let sources = sources(object, package, &mut faults);
        let docker = faults.note(docker(object)).flatten();
        let build_script = faults.note(build_script(object, variant));
        let state_directory = faults.note(state_directory(object));
        let sysctl = faults.note(sysctl(object)).flatten();
        let version_extra = faults.note(version_extra(object)).flatten();
        let (Some(build_script), Some(state_directory), true) =
            (build_script, state_directory, faults.0.is_empty())
        else {
            // They were found key by key; people mend a file from its top.
            faults.0.sort_by_key(|problem| problem.offset);
            return Err(faults.0);
        };
        Ok(Self {
            requires,
            requires_as_written,
            sources,
            docker,
            build_script,
            environment,
            state_directory,
            username,
            group,
            sysctl,
            version_extra,
            warnings,
        })
    }

    /// The image to build in: the named one, or the default.
    pub fn image(&self) -> ImageName {
        self.docker.clone().unwrap_or_else(ImageName::default_builder)
    }
}

/// Faults of a description, all of which are shown.
#[derive(Default)]
struct Faults(Vec<Problem>);

impl Faults {
    /// Keeps the fault, if it is one.
    fn note<T>(&mut self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.0.push(problem)).ok()
    }
}

fn requires(object: &Object, faults: &mut Faults) -> (Vec<Requirement>, Value) {
    let Some(node) = object.get("requires") else {
        return (Vec::new(), Value::Array(Vec::new()));
    };
    let items = faults.note(node.list("requires", "packages")).into_iter().flatten();
    let requires = items.filter_map(|item| faults.note(Requirement::from_json(item))).collect();
    (requires, node.to_value())
}

fn sources(
    object: &Object,
    package: &PackageName,
    faults: &mut Faults,
) -> Vec<(SourceName, PackageSource)> {
    if let (Some(_), Some(single)) = (object.get("sources"), object.get("single_source")) {
        faults.0.push(
            Problem::at(single.offset, "a package has sources or a single_source, not both")
                .hint("move the single_source into sources, under a name of its own"),
        );
    }
    let named = |name: &str, offset: usize| {
        name.parse::<SourceName>()
            .map_err(|error: super::NameError| Problem::at(offset, error.to_string()))
    };
    let mut sources = Vec::new();
    if let Some(single) = object.get("single_source") {
        let name = faults.note(named(package.as_str(), single.offset));
        sources.extend(name.zip(faults.note(PackageSource::from_json(single))));
    }
    if let Some(node) = object.get("sources") {
        let entries = faults.note(node.object("sources")).map(Object::entries);
        for entry in entries.into_iter().flatten() {
            let name = faults.note(named(&entry.key, entry.key_offset));
            sources.extend(name.zip(faults.note(PackageSource::from_json(&entry.value))));
        }
        // By name: the order in a text must not change anything.
        sources.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    sources
}

fn docker(object: &Object) -> Result<Option<ImageName>, Problem> {
    let Some(node) = object.get("docker") else { return Ok(None) };
    let name = node.string("docker")?;
    name.parse()
        .map(Some)
        .map_err(|error: super::NameError| Problem::at(node.offset, format!("docker: {error}")))
}

fn build_script(object: &Object, variant: &Variant) -> Result<String, Problem> {
    let Some(node) = object.get("build_script") else { return Ok(variant.file("build")) };
    let written = node.string("build_script")?;
    let mut path = written;
    // The path is hashed, so that two spellings of one script must not be two ids.
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    let plain = path.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if !plain || path.contains('\0') {
        return Err(Problem::at(
            node.offset,
            format!("build_script {written:?} leaves the package's folder, or is not a plain path"),
        )
        .hint("give a path below the package's folder, such as scripts/build"));
    }
    Ok(path.to_owned())
}

fn environment(
    object: &Object,
    warnings: &mut Vec<Problem>,
    faults: &mut Faults,
) -> Map<String, Value> {
    let Some(node) = object.get("environment") else { return Map::new() };
    let Some(environment) = faults.note(node.object("environment")) else { return Map::new() };
    for entry in environment.entries() {
        faults.note(check_variable(entry, warnings));
    }
    environment.to_map()
}

fn check_variable(entry: &JsonEntry, warnings: &mut Vec<Problem>) -> Result<(), Problem> {
    if !is_variable_name(&entry.key) {
        return Err(wrong_variable(&entry.key, entry.key_offset));
    }
    let what = format!("the value of {}", entry.key);
    let expected = "a string, an integer or a boolean";
    match &entry.value.kind {
        JsonKind::String(text) => check_variable_value(&entry.key, text, entry.value.offset)?,
        JsonKind::Bool(_) => {}
        JsonKind::Number(number) if is_integer(&number.to_string()) => {}
        JsonKind::Number(_) => {
            return Err(Problem::at(
                entry.value.offset,
                format!("{what} must be {expected}: fractions are not allowed"),
            )
            .hint("write it as a string"));
        }
        // The original hashed lists, so a package that has one keeps its id and builds; nothing
        // that it could be written into has a form for it, so staging refuses it (see
        // `install::environment`).
        JsonKind::List(items) if items.iter().all(is_plain) => warnings.push(
            Problem::at(
                entry.value.offset,
                format!("{what} is a list: the package builds, but can't be activated or required"),
            )
            .hint("write it as a string"),
        ),
        _ => return Err(entry.value.wrong(&what, expected)),
    }
    Ok(())
}

/// The problem of a variable that no shell could set.
pub(crate) fn wrong_variable(name: &str, offset: usize) -> Problem {
    Problem::at(offset, format!("{name:?} can't be the name of a variable"))
        .hint("a name has letters, digits and _, and does not begin with a digit")
}

/// Refuses a variable's value with which systemd would read nothing of the file `environment`, and not say so.
pub(crate) fn check_variable_value(name: &str, value: &str, offset: usize) -> Result<(), Problem> {
    let Some(letter) = noncharacter_in(value) else { return Ok(()) };
    let code = u32::from(letter);
    Err(Problem::at(
        offset,
        format!("the value of {name} has U+{code:04X}, which is not a character"),
    )
    .hint("take it out: systemd would ignore the whole file environment"))
}

fn is_plain(node: &JsonNode) -> bool {
    match &node.kind {
        JsonKind::String(_) | JsonKind::Bool(_) => true,
        JsonKind::Number(number) => is_integer(&number.to_string()),
        JsonKind::Null | JsonKind::List(_) | JsonKind::Object(_) => false,
    }
}

fn is_integer(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit())
}

fn state_directory(object: &Object) -> Result<StateDirectory, Problem> {
    let Some(node) = object.get("state_directory") else { return Ok(StateDirectory::Bool(false)) };
    match &node.kind {
        JsonKind::Bool(value) => Ok(StateDirectory::Bool(*value)),
        // Kept apart from `false`: `H` of 0 is that of the text `0`, and `H` of `false` that of
        // `False`.
        JsonKind::Number(number) if number.to_string() == "0" => Ok(StateDirectory::Number(false)),
        JsonKind::Number(number) if number.to_string() == "1" => Ok(StateDirectory::Number(true)),
        _ => Err(node.wrong("state_directory", "true or false")),
    }
}

fn name<T>(object: &Object, key: &str) -> Result<Option<T>, Problem>
where
    T: std::str::FromStr<Err = super::NameError>,
{
    let Some(node) = object.get(key) else { return Ok(None) };
    node.string(key)?
        .parse()
        .map(Some)
        .map_err(|error: super::NameError| Problem::at(node.offset, error.to_string()))
}

fn sysctl(object: &Object) -> Result<Option<Map<String, Value>>, Problem> {
    let Some(node) = object.get("sysctl") else { return Ok(None) };
    let services = node.object("sysctl")?;
    for service in services.entries() {
        let what = format!("the sysctl of {}", service.key);
        for setting in service.value.object(&what)?.entries() {
            if !is_plain(&setting.value) {
                let what = format!("the setting {}", setting.key);
                return Err(setting.value.wrong(&what, "a string, an integer or a boolean"));
            }
        }
    }
    Ok(Some(services.to_map()))
}

fn version_extra(object: &Object) -> Result<Option<String>, Problem> {
    let Some(node) = object.get("version_extra") else { return Ok(None) };
    let text = node.string("version_extra")?;
    let version: Result<super::Version, super::NameError> = text.parse();
    match version {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(error) => Err(Problem::at(node.offset, format!("version_extra: {error}"))),
    }
}

#[cfg(test)]
mod tests;
