//! The process's environment: read once, here, and passed down.

use std::collections::BTreeMap;
#[cfg(test)]
use std::collections::BTreeSet;
use std::ffi::OsString;

use crate::base::suggestion::nearest;

/// Variables of mkpanda.
const OWN: [&str; 28] = [
    "MKPANDA_COMPRESSION",
    "MKPANDA_DIE_WITH_PARENT",
    "MKPANDA_EXECUTOR_FOLDER",
    "MKPANDA_EXECUTOR_KIND",
    "MKPANDA_EXECUTOR_PROGRAM",
    "MKPANDA_HOME",
    "MKPANDA_ISOLATION",
    "MKPANDA_JOBS",
    "MKPANDA_JOBSERVER",
    "MKPANDA_KEEP_FAILED",
    "MKPANDA_KEY_PASSWORD",
    "MKPANDA_KEY_PASSWORD_FILE",
    "MKPANDA_LIMITS_ENTRIES",
    "MKPANDA_LIMITS_LOG",
    "MKPANDA_LIMITS_MEMORY",
    "MKPANDA_LIMITS_PROCESSES",
    "MKPANDA_LIMITS_TIME",
    "MKPANDA_LIMITS_UNPACKED",
    "MKPANDA_MIRROR",
    "MKPANDA_NETWORK",
    "MKPANDA_OFFLINE",
    "MKPANDA_ONLY_MIRRORS",
    "MKPANDA_PROGRESS",
    "MKPANDA_REMOTE_CACHE",
    "MKPANDA_REMOTE_EXECUTOR",
    "MKPANDA_REMOTE_INSTANCE",
    "MKPANDA_REPOSITORY_URL",
    "MKPANDA_SCRATCH",
];

/// Beginnings of the names of variables that the compilation, tests and scripts read, so that a shell may have them.
const OF_DEVELOPMENT: [&str; 6] = [
    "MKPANDA_BIN",
    "MKPANDA_COMMIT",
    "MKPANDA_FUZZ",
    "MKPANDA_SHARED",
    "MKPANDA_TEST_",
    "MKPANDA_WRITE_DOCS",
];

/// True for names that belong to mkpanda, be they known or not.
fn is_own(name: &str) -> bool {
    name.starts_with("MKPANDA_") && !OF_DEVELOPMENT.iter().any(|start| name.starts_with(start))
}

/// The variable that sets a key of the configuration; `None` for a key that files alone can set.
pub(super) fn variable_of(key: &str) -> Option<&'static str> {
    let name = format!("MKPANDA_{}", key.replace('.', "_").to_uppercase());
    OWN.into_iter().find(|own| *own == name)
}

/// The environment's variables.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Variables whose values are not UTF-8.
    unreadable: BTreeMap<String, OsString>,
}

impl Environment {
    /// Takes the process's environment.
    pub fn from_process() -> Self {
        Self::of_pairs(std::env::vars_os())
    }

    /// Stores variables. Those whose values are not UTF-8 are kept apart, as text has no use for them.
    pub(super) fn of_pairs(pairs: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            // None of the variables that are read has such a name.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.variables.insert(name, value)),
                Err(value) => drop(environment.unreadable.insert(name, value)),
            }
        }
        environment
    }

    /// Name of a variable of mkpanda's that is set to something that is not UTF-8. It would count as not set.
    pub fn unreadable_own(&self) -> Option<&str> {
        self.unreadable.keys().map(String::as_str).find(|name| is_own(name))
    }

    /// Names of variables that look like mkpanda's and are not, each with the one that is most like it.
    pub fn unknown_own(&self) -> Vec<(&str, Option<&'static str>)> {
        let names = self.variables.keys().map(String::as_str);
        let unknown = names.filter(|name| is_own(name) && !OWN.contains(name));
        unknown.map(|name| (name, nearest(name, OWN))).collect()
    }

    /// True if a variable is set to something that is not UTF-8.
    pub fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains_key(name)
    }

    /// The same environment with another variable.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut environment = self.clone();
        environment.variables.insert(name.to_owned(), value.to_owned());
        environment
    }

    /// An environment of given variables.
    #[cfg(test)]
    pub(super) fn of(variables: BTreeMap<String, String>) -> Self {
        Self { variables, unreadable: BTreeMap::new() }
    }

    /// A variable that is set, be it to something that is not UTF-8.
    pub fn raw(&self, name: &str) -> Option<OsString> {
        let text = self.variables.get(name).map(OsString::from);
        text.or_else(|| self.unreadable.get(name).cloned())
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        // An empty variable is as good as none: shells and CI engines cannot always unset one.
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A variable that is read and not in the list would be called unknown.
    #[test]
    fn all_variables_that_are_read_are_known() {
        let sources = [
            include_str!("executor.rs"),
            include_str!("given.rs"),
            include_str!("given/stores.rs"),
            include_str!("remote.rs"),
            include_str!("user_paths.rs"),
            include_str!("settings.rs"),
            include_str!("signing.rs"),
        ];
        let mut read = BTreeSet::new();
        for text in sources {
            for call in ["variable(", "text(", "choice(", "boolean(", "limit(", "path("] {
                for rest in text.split(call).skip(1) {
                    let key =
                        rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                    let is_key = |key: &&str| {
                        !key.is_empty()
                            && key.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
                    };
                    read.extend(key.filter(is_key).map(|key| {
                        if key.starts_with("MKPANDA_") {
                            key.to_owned()
                        } else {
                            format!("MKPANDA_{key}")
                        }
                    }));
                }
            }
        }
        for name in ["HOME", "XDG_DATA_HOME"] {
            read.remove(&format!("MKPANDA_{name}"));
        }
        read.extend(
            ["MKPANDA_HOME", "MKPANDA_KEY_PASSWORD", "MKPANDA_KEY_PASSWORD_FILE"]
                .map(str::to_owned),
        );
        let own: BTreeSet<String> = OWN.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(read, own);
    }

    #[test]
    fn unknown_variables_have_the_nearest_name() {
        let variables = [
            "MKPANDA_JOBS",
            "MKPANDA_JBOS",
            "MKPANDA_COLOR_OF_ALL",
            "MKPANDA_TEST_X",
            "MKPANDA_COMMIT",
            "PATH",
        ];
        let environment =
            Environment::of(variables.map(|name| (name.to_owned(), "1".to_owned())).into());
        assert_eq!(
            environment.unknown_own(),
            [("MKPANDA_COLOR_OF_ALL", None), ("MKPANDA_JBOS", Some("MKPANDA_JOBS"))]
        );
    }
}
