//! The process's environment: read once, here, and passed down.

use std::collections::BTreeMap;
use std::ffi::OsString;

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

    /// Stores variables. A variable whose value is not UTF-8 is stored by name only.
    pub(super) fn of_pairs(pairs: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self::default();
        for (name, value) in pairs {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(environment.variables.insert(name, value)),
                Err(value) => drop(environment.unreadable.insert(name, value)),
            }
        }
        environment
    }

    /// True if a variable is set to something that is not UTF-8.
    pub fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains_key(name)
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
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
