//! Keys of configuration files, with the lines that set them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};
use toml::de::{DeTable, DeValue};

use super::super::config::ConfigPath;
use crate::base::text::toml_string;

/// Place that a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum ValueOrigin {
    /// An option.
    Option {
        /// Option.
        name: &'static str,
    },
    /// A variable of the environment.
    Variable {
        /// Variable.
        name: String,
    },
    /// The user's own file.
    User {
        /// File.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// The tree's file.
    Tree {
        /// File.
        path: PathBuf,
        /// Line, counted from 1.
        line: usize,
    },
    /// No place says anything.
    Default,
}

impl std::fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Option { name } => f.write_str(name),
            Self::Variable { name } => f.write_str(name),
            Self::User { path, line } | Self::Tree { path, line } => {
                write!(f, "{}:{line}", path.display())
            }
            Self::Default => f.write_str("default"),
        }
    }
}

/// A line of a file, or another place, that says something on a setting.
pub(super) struct Assignment {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: ValueOrigin,
    /// Folder from which relative paths start.
    pub(super) base: PathBuf,
}

/// All keys of a file, with their lines.
pub(super) fn lines(file: &ConfigPath, text: &str) -> Vec<Assignment> {
    let mut found = Vec::new();
    // The file is valid: the settings were read from it before.
    if let Ok(table) = DeTable::parse(text) {
        collect(file, text, "", table.get_ref(), &mut found);
    }
    found
}

fn collect(
    file: &ConfigPath,
    text: &str,
    above: &str,
    table: &DeTable<'_>,
    found: &mut Vec<Assignment>,
) {
    for (name, value) in table {
        let is_bare = |name: &str| {
            !name.is_empty()
                && name
                    .chars()
                    .all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
        };
        let part: &str = name.get_ref();
        let part = if is_bare(part) { part.to_owned() } else { toml_string(part) };
        let key = if above.is_empty() { part } else { format!("{above}.{part}") };
        match value.get_ref() {
            DeValue::Table(table) => collect(file, text, &key, table, found),
            DeValue::Array(values) if values.iter().any(|value| value.get_ref().is_table()) => {
                for (index, value) in values.iter().enumerate() {
                    if let DeValue::Table(table) = value.get_ref() {
                        collect(file, text, &format!("{key}.{}", index + 1), table, found);
                    }
                }
            }
            value => {
                let line = text[..name.span().start].matches('\n').count() + 1;
                let path = file.path.clone();
                let origin = if file.is_trees {
                    ValueOrigin::Tree { path, line }
                } else {
                    ValueOrigin::User { path, line }
                };
                let base = file.path.parent().unwrap_or(Path::new("/")).to_owned();
                found.push(Assignment { key, value: json_of(value), origin, base });
            }
        }
    }
}

fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| json!(number.as_str()), Value::from)
        }
        DeValue::Float(number) => json!(number.as_str()),
        DeValue::Boolean(flag) => json!(flag),
        DeValue::Datetime(time) => json!(time.to_string()),
        DeValue::Array(values) => values.iter().map(|value| json_of(value.get_ref())).collect(),
        DeValue::Table(_) => Value::Null,
    }
}
