//! `[<variant>.]buildinfo.json`: the description of a package (docs/format.md, "Keys of buildinfo.json").

use serde_json::{Map, Value};

use super::json::{Kind, Node, Object};
use super::{
    GroupName, ImageName, PackageName, Problem, Requirement, Source, SourceName, UserName, Variant,
    is_variable_name, noncharacter_in,
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
    pub sources: Vec<(SourceName, Source)>,
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
    /// Reads the `buildinfo.json` of one variant of a package. An empty file is `{}`.
    pub fn parse(text: &str, package: &PackageName, variant: &Variant) -> Result<Self, Problem> {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let node = Node::parse(text)?;
        let object = node.object("a buildinfo.json")?;
        if let Some(entry) =
            object.entries().iter().find(|entry| !KEYS.contains(&entry.key.as_str()))
        {
            return Err(Problem::at(
                entry.key_offset,
                format!("a buildinfo.json has no key {:?}", entry.key),
            )
            .hint(format!("its keys are {}", KEYS.join(", "))));
        }
        let mut warnings: Vec<Problem> = object
            .repeated
            .iter()
            .map(|(key, offset)| {
                Problem::at(*offset, format!("{key:?} is given twice; the last one counts"))
            })
            .collect();
        let (requires, requires_as_written) = requires(object)?;
        let environment = environment(object, &mut warnings)?;
        let username = name(object, "username")?;
        let group: Option<GroupName> = name(object, "group")?;
        if let (Some(node), None, Some(_)) = (object.get("group"), &username, &group) {
            warnings.push(
                Problem::at(node.offset, "a group without a username: the package builds, but can't be activated or required")
                    .hint("add a username, or take the group out"),
            );
        }
        Ok(Self {
            requires,
            requires_as_written,
            sources: sources(object, package)?,
            docker: docker(object)?,
            build_script: build_script(object, variant)?,
            environment,
            state_directory: state_directory(object)?,
            username,
            group,
            sysctl: sysctl(object)?,
            version_extra: version_extra(object)?,
            warnings,
        })
    }

    /// The image to build in: the named one, or the default.
    pub fn image(&self) -> ImageName {
        self.docker.clone().unwrap_or_else(ImageName::default_builder)
    }
}

fn requires(object: &Object) -> Result<(Vec<Requirement>, Value), Problem> {
    let Some(node) = object.get("requires") else {
        return Ok((Vec::new(), Value::Array(Vec::new())));
    };
    let items = node.list("requires", "packages")?;
    let requires = items.iter().map(Requirement::from_json).collect::<Result<_, _>>()?;
    Ok((requires, node.to_value()))
}

fn sources(object: &Object, package: &PackageName) -> Result<Vec<(SourceName, Source)>, Problem> {
    match (object.get("sources"), object.get("single_source")) {
        (Some(_), Some(single)) => {
            Err(Problem::at(single.offset, "a package has sources or a single_source, not both")
                .hint("move the single_source into sources, under a name of its own"))
        }
        (None, None) => Ok(Vec::new()),
        (None, Some(single)) => {
            let name = package
                .as_str()
                .parse()
                .map_err(|error: super::NameError| Problem::at(single.offset, error.to_string()))?;
            Ok(vec![(name, Source::from_json(single)?)])
        }
        (Some(node), None) => {
            let entries = node.object("sources")?.entries().iter().map(|entry| {
                let name = entry.key.parse().map_err(|error: super::NameError| {
                    Problem::at(entry.key_offset, error.to_string())
                })?;
                Ok((name, Source::from_json(&entry.value)?))
            });
            let mut sources: Vec<(SourceName, Source)> = entries.collect::<Result<_, _>>()?;
            sources.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(sources)
        }
    }
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
) -> Result<Map<String, Value>, Problem> {
    let Some(node) = object.get("environment") else { return Ok(Map::new()) };
    let environment = node.object("environment")?;
    for entry in environment.entries() {
        if !is_variable_name(&entry.key) {
            return Err(wrong_variable(&entry.key, entry.key_offset));
        }
        let what = format!("the value of {}", entry.key);
        let expected = "a string, an integer or a boolean";
        match &entry.value.kind {
            Kind::String(text) => check_variable_value(&entry.key, text, entry.value.offset)?,
            Kind::Bool(_) => {}
            Kind::Number(number) if is_integer(&number.to_string()) => {}
            Kind::Number(_) => {
                return Err(Problem::at(
                    entry.value.offset,
                    format!("{what} must be {expected}: fractions have no hash"),
                )
                .hint("write it as a string"));
            }
            // The original hashed lists, so a package that has one keeps its id and builds; nothing
            // that it could be written into has a form for it, so staging refuses it (see
            // `install::environment`).
            Kind::List(items) if items.iter().all(is_plain) => warnings.push(
                Problem::at(
                    entry.value.offset,
                    format!(
                        "{what} is a list: the package builds, but can't be activated or required"
                    ),
                )
                .hint("write it as a string"),
            ),
            _ => return Err(entry.value.wrong(&what, expected)),
        }
    }
    Ok(environment.to_map())
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

fn is_plain(node: &Node) -> bool {
    match &node.kind {
        Kind::String(_) | Kind::Bool(_) => true,
        Kind::Number(number) => is_integer(&number.to_string()),
        Kind::Null | Kind::List(_) | Kind::Object(_) => false,
    }
}

fn is_integer(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit())
}

fn state_directory(object: &Object) -> Result<StateDirectory, Problem> {
    let Some(node) = object.get("state_directory") else { return Ok(StateDirectory::Bool(false)) };
    match &node.kind {
        Kind::Bool(value) => Ok(StateDirectory::Bool(*value)),
        Kind::Number(number) if number.to_string() == "0" => Ok(StateDirectory::Number(false)),
        Kind::Number(number) if number.to_string() == "1" => Ok(StateDirectory::Number(true)),
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
mod tests {
    use super::*;
    use crate::package::DEFAULT_IMAGE;

    fn parse(text: &str) -> Result<BuildInfo, Problem> {
        BuildInfo::parse(text, &"p".parse().unwrap(), &Variant::DEFAULT)
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        for text in ["", "\n", "{}"] {
            let info = parse(text).unwrap();
            assert_eq!(info.build_script, "build");
            assert_eq!(info.image().as_str(), DEFAULT_IMAGE);
            assert_eq!(info.state_directory, StateDirectory::Bool(false));
            assert!(
                info.requires.is_empty() && info.sources.is_empty() && info.environment.is_empty()
            );
        }
        let variant = "two.three".parse().unwrap();
        let info = BuildInfo::parse("{}", &"p".parse().unwrap(), &variant).unwrap();
        assert_eq!(info.build_script, "two.three.build");
    }

    #[test]
    fn a_build_script_may_be_below_the_folder_it_is_in() {
        for (written, path) in [("./build", "build"), (".//././a/b", "a/b"), ("a/b", "a/b")] {
            let info = parse(&format!(r#"{{"build_script": "{written}"}}"#)).unwrap();
            assert_eq!(info.build_script, path, "{written}");
        }
        for bad in ["./", "./../build", ".//etc/../x", "a/./b"] {
            assert!(parse(&format!(r#"{{"build_script": "{bad}"}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn state_directory_keeps_its_type() {
        for (text, value) in [("true", Value::from(true)), ("1", 1.into()), ("0", 0.into())] {
            let info = parse(&format!(r#"{{"state_directory": {text}}}"#)).unwrap();
            assert_eq!(info.state_directory.to_value(), value);
        }
        for bad in ["2", "\"yes\"", "null", "1.0", "[]"] {
            assert!(parse(&format!(r#"{{"state_directory": {bad}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_original_refused_or_crashed_on_is_refused_by_name() {
        for (text, needle) in [
            ("[]", "must be an object"),
            ("null", "must be an object"),
            (r#"{"bogus": 1}"#, "no key \"bogus\""),
            (r#"{"docker": null}"#, "docker must be a string"),
            (r#"{"environment": {"A": 1.5}}"#, "fractions"),
            (r#"{"environment": {"A-B": "1"}}"#, "can't be the name of a variable"),
            (r#"{"environment": {"A": "x\ufdd0"}}"#, "the value of A has U+FDD0, which is not"),
            (
                r#"{"environment": {"A": "\ud83f\udfff"}}"#,
                "the value of A has U+1FFFF, which is not",
            ),
            (r#"{"environment": {"A": null}}"#, "value of A"),
            (r#"{"environment": {"A": {}}}"#, "value of A"),
            (r#"{"requires": "q"}"#, "requires must be a list"),
            (r#"{"requires": [5]}"#, "a requirement must be"),
            (r#"{"requires": ["q--123"]}"#, "exact package id"),
            (r#"{"requires": [{"name": "q"}]}"#, "exactly the keys"),
            (r#"{"requires": [{"name": "q", "variant": ""}]}"#, "variant"),
            (r#"{"username": "foo"}"#, "dcos_"),
            (r#"{"username": "dcos_a", "group": "9x"}"#, "group name"),
            (r#"{"sources": {}, "single_source": {}}"#, "not both"),
            (r#"{"single_source": {}}"#, "no kind"),
            (r#"{"build_script": "../q/build"}"#, "leaves"),
            (r#"{"build_script": "/bin/sh"}"#, "leaves"),
            (r#"{"version_extra": "1-2"}"#, "version_extra"),
            (r#"{"sysctl": {"s": 1}}"#, "sysctl of s"),
        ] {
            let problem = parse(text).unwrap_err();
            assert!(problem.message.contains(needle), "{text}: {}", problem.message);
        }
    }

    #[test]
    fn odd_but_accepted_things_are_warned_of() {
        for text in [
            r#"{"group": "nogroup"}"#,
            r#"{"environment": {"A": ["y", "x"]}}"#,
            r#"{"docker": "a", "docker": "b"}"#,
        ] {
            assert_eq!(parse(text).unwrap().warnings.len(), 1, "{text}");
        }
    }
}
