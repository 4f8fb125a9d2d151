//! Application of packages' kernel settings to a service: `etc/dcos-service-configuration.json`.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::paths::Host;
use crate::base::confinement;
use crate::base::regular::open_regular;
use crate::base::suggestion::nearest;

/// The file below the install root.
const FILE: &str = "etc/dcos-service-configuration.json";

/// Upper limit of the file's length in bytes.
const LONGEST: u64 = 16 << 20;

/// Folder of the kernel's settings.
const SETTINGS: &str = "/proc/sys";

/// The settings of a service can't be applied.
#[derive(Debug, thiserror::Error)]
pub enum ServiceConfigurationError {
    /// The file can't be read.
    #[error("can't read the services' configuration")]
    Unreadable(#[source] io::Error),
    /// The file does not have the form.
    #[error("{} is not a configuration of services: {reason}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Fault.
        reason: String,
    },
    /// A setting can't be made.
    #[error("can't set {name} to {value:?} for {service}")]
    Setting {
        /// The service.
        service: String,
        /// The setting.
        name: String,
        /// The value.
        value: String,
        /// Reason.
        #[source]
        source: io::Error,
    },
}

/// Settings that were made for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppliedSettings {
    /// Names of the settings.
    Made(Vec<String>),
    /// No package wants settings for a service of this name.
    NoService {
        /// A service with settings of a similar name.
        near: Option<String>,
    },
}

impl Host {
    /// Applies the kernel settings that packages want for a service. A service without settings needs
    /// nothing: units call this for services of any package, as with the original.
    pub fn apply_service_configuration(
        &self,
        service: &str,
    ) -> Result<AppliedSettings, ServiceConfigurationError> {
        apply(&self.root().join(FILE), service, Path::new(SETTINGS))
    }
}

fn apply(
    path: &Path,
    service: &str,
    kernel: &Path,
) -> Result<AppliedSettings, ServiceConfigurationError> {
    let settings = match settings(path, service)? {
        Ok(settings) => settings,
        Err(near) => return Ok(AppliedSettings::NoService { near }),
    };
    let mut made = Vec::new();
    for (name, value) in settings {
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        set(kernel, &name, &value).map_err(|source| ServiceConfigurationError::Setting {
            service: service.to_owned(),
            name: name.clone(),
            value,
            source,
        })?;
        made.push(name);
    }
    Ok(AppliedSettings::Made(made))
}

/// The settings of a service; if there are none, a similar name with some.
fn settings(
    path: &Path,
    service: &str,
) -> Result<Result<Map<String, Value>, Option<String>>, ServiceConfigurationError> {
    let file = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(None)),
        other => other.map_err(ServiceConfigurationError::Unreadable)?,
    };
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).map_err(ServiceConfigurationError::Unreadable)?;
    let form = |reason: String| ServiceConfigurationError::Form { path: path.to_owned(), reason };
    let mut whole: Value =
        serde_json::from_slice(&text).map_err(|error| form(error.to_string()))?;
    let found = whole.get_mut("sysctl").and_then(|services| services.get_mut(service));
    match found.map(Value::take) {
        None | Some(Value::Null) => {
            let known = whole.get("sysctl").and_then(Value::as_object);
            let known = || known.into_iter().flat_map(Map::keys).map(String::as_str);
            // The names are those of units without the ending.
            let stem = service.strip_suffix(".service").unwrap_or(service);
            let same = known().find(|name| *name == stem && stem != service);
            Ok(Err(same.or_else(|| nearest(stem, known())).map(str::to_owned)))
        }
        Some(Value::Object(settings)) => Ok(Ok(settings)),
        Some(_) => Err(form(format!("what it says of {service} is not an object"))),
    }
}

/// Writes a setting as sysctl(8) does, below the kernel's folder alone.
fn set(kernel: &Path, name: &str, value: &str) -> io::Result<()> {
    // A slash stands for a dot in a name: whichever comes first separates.
    let separator =
        name.find(['.', '/']).map_or('.', |at| if name[at..].starts_with('/') { '/' } else { '.' });
    let path: String = name
        .chars()
        .map(|letter| match letter {
            letter if letter == separator => '/',
            '/' => '.',
            letter => letter,
        })
        .collect();
    let is_plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !is_plain {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is not a setting's name"));
    }
    let place = confinement::locate_below(kernel, Path::new(&path))?;
    // Never created: a setting of a module that is not loaded is an error, as for sysctl(8).
    let mut file = fs_err::OpenOptions::new().write(true).truncate(true).open(place)?;
    file.write_all(format!("{value}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_one_service_are_made_and_lead_nowhere_else() {
        let home = tempfile::tempdir().unwrap();
        let (file, kernel) = (home.path().join("configuration"), home.path().join("sys"));
        fs_err::create_dir_all(kernel.join("net/eth0.1")).unwrap();
        for name in ["net/core", "net/eth0.1/x", "../outside"] {
            fs_err::write(kernel.join(name), "old").unwrap();
        }
        let run = |text: &str, service: &str| {
            fs_err::write(&file, text).unwrap();
            apply(&file, service, &kernel)
        };
        let read = |name: &str| fs_err::read_to_string(kernel.join(name)).unwrap();
        let text = r#"{"sysctl": {"a": {"net.core": 5, "net/eth0.1/x": "on"}, "b": {"no.such": 1},
            "c": {"../outside": 1}, "d": {"...outside": 1}, "e": [], "f": null}}"#;
        let made = ["net.core", "net/eth0.1/x"].map(str::to_owned).into();
        assert_eq!(run(text, "a").unwrap(), AppliedSettings::Made(made));
        assert_eq!((read("net/core"), read("net/eth0.1/x")), ("5\n".into(), "on\n".into()));
        for (service, part) in [("b", "no.such"), ("c", "../outside"), ("d", "...outside")] {
            let error = run(text, service).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(service), "{error}");
        }
        assert_eq!(read("../outside"), "old");
        assert!(matches!(run(text, "e"), Err(ServiceConfigurationError::Form { .. })));
        for (text, service, near) in [
            (text, "f", None),
            (text, "none", None),
            (text, "a.service", Some("a".to_owned())),
            (
                r#"{"sysctl": {"mesos-agent": {}}}"#,
                "mesos-agnet.service",
                Some("mesos-agent".to_owned()),
            ),
            ("{}", "a", None),
        ] {
            assert_eq!(run(text, service).unwrap(), AppliedSettings::NoService { near });
        }
        assert!(matches!(run("{", "a"), Err(ServiceConfigurationError::Form { .. })));
        fs_err::remove_file(&file).unwrap();
        let none = AppliedSettings::NoService { near: None };
        assert_eq!(apply(&file, "a", &kernel).unwrap(), none);
    }
}
