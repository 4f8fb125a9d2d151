//! The process's environment: read once, here, and passed down.

use std::collections::BTreeMap;

/// The environment's variables.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Takes the process's environment; what isn't UTF-8 counts as not set.
    pub fn from_process() -> Self {
        let pairs = std::env::vars_os();
        let variables = pairs
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables }
    }

    /// An environment of given variables.
    #[cfg(test)]
    pub(super) fn of(variables: BTreeMap<String, String>) -> Self {
        Self { variables }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}
