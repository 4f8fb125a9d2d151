//! Late binding: a package of configuration whose values are known only on the machine
//! (docs/pkgpanda.md, "Setup").
//!
//! `setup-flags/late-config.yaml` names the package, `<name>--setup`, and gives the values;
//! `<url>/packages/<name>/<id>.dcos_config` has its files, with placeholders for values in them:
//!
//! ```text
//! late_bound_package_id: <name>--setup         package:
//! bound_values:                                - path: /etc/x
//!   <name>: <value>                              content: …
//!                                                permissions: '0600'
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::archive::EntryPath;
use crate::base::digest::Sha256Sum;
use crate::package::yaml::{Yaml, YamlEntry, YamlNode};
use crate::package::{PackageId, Problem, Report};

/// Text before the name of a late value, where the value is to be put.
pub(crate) const BEGIN: &str = "LATE_BIND_PLACEHOLDER_START_";
/// Text behind the name of a late value.
pub(crate) const END: &str = "_LATE_BIND_PLACEHOLDER_END";

/// A late package can't be rendered.
#[derive(Debug, thiserror::Error)]
pub enum LateError {
    /// A file is not valid.
    #[error("{0}")]
    File(Box<Report>),
    /// The package's version isn't `setup`.
    #[error("the late package {0} must have the version setup")]
    Version(PackageId),
    /// There is no value.
    #[error("{file} of {package} needs the value {name}, which late-config.yaml doesn't give")]
    Value {
        /// The package.
        package: PackageId,
        /// File in the package.
        file: String,
        /// The value's name.
        name: String,
    },
    /// A placeholder without an end, or an end without a placeholder.
    #[error("{file} of {package} has half a placeholder")]
    Half {
        /// The package.
        package: PackageId,
        /// File in the package.
        file: String,
    },
    /// The package is active with other values.
    #[error("the values for {0} have changed, but it is active with those before")]
    Active(PackageId),
    /// A file can't be written.
    #[error("can't write the late package {package}")]
    Write {
        /// The package.
        package: PackageId,
        /// Reason.
        #[source]
        source: io::Error,
    },
}

impl LateError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Active(id) => Some(format!(
                "activate a set without it, then: pkgpanda remove {id}; pkgpanda setup"
            )),
            _ => None,
        }
    }
}

/// Contents of a machine's `late-config.yaml`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LateConfig {
    pub(crate) package: PackageId,
    pub(crate) values: BTreeMap<String, String>,
}

/// A file of a late package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LateFile {
    pub(crate) path: EntryPath,
    pub(crate) mode: u32,
    pub(crate) content: String,
}

fn wrong(path: &Path, message: impl Into<String>) -> LateError {
    LateError::File(Box::new(Problem::whole(message).in_file(path, "")))
}

fn parse(path: &Path, text: &str) -> Result<YamlNode, LateError> {
    YamlNode::parse(text).map_err(|problem| LateError::File(Box::new(problem.in_file(path, text))))
}

impl LateConfig {
    /// Reads a `late-config.yaml`; nothing if it says nothing.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Option<Self>, LateError> {
        let yaml = parse(path, text)?;
        if yaml.value == Yaml::Nothing {
            return Ok(None);
        }
        let id = yaml.get("late_bound_package_id").and_then(YamlNode::text);
        let id = id.ok_or_else(|| wrong(path, "there is no late_bound_package_id"))?;
        let package: PackageId =
            id.trim().parse().map_err(|error| wrong(path, format!("{error}")))?;
        // An id with a real version promises contents that were built; these depend on the machine.
        if package.version().as_str() != "setup" {
            return Err(LateError::Version(package));
        }
        let Some(Yaml::Map(entries)) = yaml.get("bound_values").map(|node| &node.value) else {
            return Err(wrong(path, "bound_values must be a mapping of names to values"));
        };
        let mut values = BTreeMap::new();
        for YamlEntry { key: name, node, .. } in entries {
            let value = match &node.value {
                Yaml::Nothing => String::new(),
                Yaml::Text(text) => text.clone(),
                _ => return Err(wrong(path, format!("the value {name} must be text"))),
            };
            values.insert(name.clone(), value);
        }
        Ok(Some(Self { package, values }))
    }

    /// The sum of all values.
    pub(crate) fn sum(&self) -> io::Result<Sha256Sum> {
        Sha256Sum::of_reader(serde_json::to_vec(&self.values)?.as_slice())
    }

    /// Gives the files of a package, values in place.
    pub(crate) fn render(&self, path: &Path, text: &str) -> Result<Vec<LateFile>, LateError> {
        let yaml = parse(path, text)?;
        let Some(Yaml::List(entries)) = yaml.get("package").map(|node| &node.value) else {
            return Err(wrong(path, "package must be a list of files"));
        };
        let mut files = entries
            .iter()
            .map(|entry| self.file(path, entry))
            .collect::<Result<Vec<_>, LateError>>()?;
        let description = EntryPath::parse(b"pkginfo.json").unwrap_or_default();
        if !files.iter().any(|file| file.path == description) {
            // Activation reads the description of every package.
            files.push(LateFile { path: description, mode: 0o644, content: "{}".to_owned() });
        }
        Ok(files)
    }

    fn file(&self, config: &Path, entry: &YamlNode) -> Result<LateFile, LateError> {
        let name = entry.get("path").and_then(YamlNode::text);
        let name = name.ok_or_else(|| wrong(config, "a file of the package has no path"))?;
        // The paths are those of the original's templates, absolute from the package's own folder;
        // `..` is refused with the rest.
        let path = EntryPath::parse(name.trim_start_matches('/').as_bytes());
        let path = path.ok().filter(|path| !path.is_root()).ok_or_else(|| {
            wrong(config, format!("{name:?} can't be the path of a package's file"))
        })?;
        let content = match entry.get("content").map(|node| &node.value) {
            Some(Yaml::Text(text)) => self.bind(name, text)?,
            Some(Yaml::Nothing) => String::new(),
            _ => return Err(wrong(config, format!("{name} must have a content, which is text"))),
        };
        let mode = match entry.get("permissions").map(|node| &node.value) {
            None | Some(Yaml::Nothing) => 0o644,
            Some(Yaml::Text(text)) => {
                // YAML 1.2 writes octal numbers so; YAML 1.1, and the original's files, with a mere
                // zero.
                let digits = text.strip_prefix("0o").unwrap_or(text);
                let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
                mode.ok_or_else(|| {
                    wrong(
                        config,
                        format!("the permissions {text:?} of {name} are not an octal number"),
                    )
                })?
            }
            Some(_) => {
                return Err(wrong(config, format!("the permissions of {name} must be text")));
            }
        };
        Ok(LateFile { path, mode, content })
    }

    /// Puts values in place of their placeholders.
    fn bind(&self, file: &str, text: &str) -> Result<String, LateError> {
        let (package, file) = (self.package.clone(), file.to_owned());
        let mut parts = text.split(BEGIN);
        let mut bound = parts.next().unwrap_or_default().to_owned();
        // Half a placeholder is a fault of the template: it would end up in a service's
        // configuration as if it were a value.
        let is_half = |text: &str| text.contains(END);
        if is_half(&bound) {
            return Err(LateError::Half { package, file });
        }
        for part in parts {
            let Some((name, rest)) = part.split_once(END).filter(|(_, rest)| !is_half(rest)) else {
                return Err(LateError::Half { package, file });
            };
            let Some(value) = self.values.get(name) else {
                return Err(LateError::Value { package, file, name: name.to_owned() });
            };
            // Never searched again: a value of the machine that looks like a placeholder stays as
            // it is.
            bound.push_str(value);
            bound.push_str(rest);
        }
        Ok(bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(values: &str) -> LateConfig {
        let text = format!("late_bound_package_id: x--setup\nbound_values:\n{values}");
        LateConfig::parse(Path::new("late-config.yaml"), &text).unwrap().unwrap()
    }

    #[test]
    fn values_take_the_place_of_their_placeholders() {
        let config = config("  a: 1.10\n  b_c: |-\n    two\n    lines\n");
        let text = format!(
            "package:\n- path: /etc/x\n  content: |\n    [{BEGIN}a{END}{BEGIN}b_c{END}]\n- {{path: bin/y, content: null, permissions: '0755'}}\n"
        );
        let files = config.render(Path::new("x"), &text).unwrap();
        let files: Vec<_> =
            files.iter().map(|file| (file.path.to_string(), file.mode, &*file.content)).collect();
        let expected = [
            ("./etc/x", 0o644, "[1.10two\nlines]\n"),
            ("./bin/y", 0o755, ""),
            ("./pkginfo.json", 0o644, "{}"),
        ];
        assert_eq!(files, expected.map(|(path, mode, text)| (path.to_owned(), mode, text)));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let config = config("  a: 1\n");
        let render =
            |text: &str| config.render(Path::new("x.dcos_config"), text).unwrap_err().to_string();
        let file = |content: &str| format!("package: [{{path: /p, content: '{content}'}}]");
        assert!(render(&file(&format!("{BEGIN}b{END}"))).contains("value b"));
        assert!(render(&file(&format!("{BEGIN}a"))).contains("half"));
        assert!(render(&file(&format!("{BEGIN}a{END} {END}"))).contains("half"));
        assert!(render("package: [{path: ../x, content: ''}]").contains("../x"));
        assert!(render("package: [{path: /x, content: '', permissions: 'rwx'}]").contains("rwx"));
        assert!(render("{}").contains("list of files"));
        let parse = |text: &str| LateConfig::parse(Path::new("l"), text);
        assert!(matches!(
            parse("late_bound_package_id: a--1\nbound_values: {}"),
            Err(LateError::Version(_))
        ));
        assert_eq!(parse("").unwrap(), None);
    }
}
