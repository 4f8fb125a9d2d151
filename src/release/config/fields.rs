//! Keys and values of one mapping of the configuration.

use std::path::Path;

use super::error::ReleaseConfigError;
use crate::package::yaml::{Yaml, YamlEntry, YamlNode};

/// Text of the configuration, and the environment.
pub(super) struct FieldReader<'r> {
    pub(super) path: &'r Path,
    pub(super) text: &'r str,
    pub(super) variable: &'r dyn Fn(&str) -> Option<String>,
}

impl FieldReader<'_> {
    /// Makes the error of a place.
    pub(super) fn error(
        &self,
        offset: Option<usize>,
        message: impl Into<String>,
    ) -> ReleaseConfigError {
        let line = offset.map(|offset| {
            let before = self.text.get(..offset).unwrap_or(self.text);
            before.matches('\n').count() + 1
        });
        // Keys of the file are quoted in messages, and may have any characters.
        let message = message.into().replace(char::is_control, " ");
        ReleaseConfigError { path: self.path.to_owned(), line, message, hint: None }
    }
}

/// Value of a key.
#[derive(Debug, Clone)]
pub(super) struct ConfigField {
    key: String,
    offset: usize,
    /// The value, after the environment's has taken the place of `$NAME`.
    pub(super) text: String,
}

/// Keys of a mapping of which some have been read.
pub(super) struct ConfigFields<'r> {
    reader: &'r FieldReader<'r>,
    /// Name of the mapping in messages.
    name: String,
    offset: usize,
    entries: Vec<&'r YamlEntry>,
}

impl<'r> ConfigFields<'r> {
    pub(super) fn read(
        reader: &'r FieldReader<'r>,
        name: &str,
        entry: &'r YamlEntry,
    ) -> Result<Self, ReleaseConfigError> {
        let offset = entry.key_offset;
        match &entry.node.value {
            Yaml::Map(entries) => Ok(Self {
                reader,
                name: name.to_owned(),
                offset,
                entries: entries.iter().collect(),
            }),
            _ => Err(reader.error(Some(offset), format!("{name} is not a mapping of keys"))),
        }
    }

    /// Takes the value of a key.
    fn take(&mut self, key: &str) -> Option<&'r YamlEntry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes an optional key; `null` counts as missing.
    pub(super) fn optional(
        &mut self,
        key: &str,
    ) -> Result<Option<ConfigField>, ReleaseConfigError> {
        let Some(entry) = self.take(key) else { return Ok(None) };
        if entry.node.value == Yaml::Nothing {
            return Ok(None);
        }
        self.field(key, &entry.node, entry.key_offset).map(Some)
    }

    /// Takes a key that has to be there.
    pub(super) fn required(&mut self, key: &str) -> Result<ConfigField, ReleaseConfigError> {
        let missing = format!("{}: the key {key} is missing", self.name);
        match self.optional(key)? {
            Some(field) => Ok(field),
            None => Err(self.reader.error(Some(self.offset), missing)),
        }
    }

    /// Takes a key that has to be there, but may be `null`.
    pub(super) fn nullable(
        &mut self,
        key: &str,
    ) -> Result<Option<ConfigField>, ReleaseConfigError> {
        if self.entries.iter().any(|entry| entry.key == key) {
            self.optional(key)
        } else {
            self.required(key).map(Some)
        }
    }

    /// Takes a key with `true` or `false`; `false` if missing.
    pub(super) fn boolean(&mut self, key: &str) -> Result<bool, ReleaseConfigError> {
        match self.optional(key)? {
            None => Ok(false),
            Some(field) => match field.text.to_ascii_lowercase().as_str() {
                // The original read the file as YAML 1.1, where all of these are booleans.
                "true" | "yes" | "on" => Ok(true),
                "false" | "no" | "off" => Ok(false),
                _ => Err(self.wrong(&field, "it is neither true nor false")),
            },
        }
    }

    /// Takes a key with a list of texts; empty if missing.
    pub(super) fn list(&mut self, key: &str) -> Result<Vec<ConfigField>, ReleaseConfigError> {
        let Some(entry) = self.take(key) else { return Ok(Vec::new()) };
        match &entry.node.value {
            Yaml::Nothing => Ok(Vec::new()),
            Yaml::List(items) => {
                items.iter().map(|item| self.field(key, item, item.offset)).collect()
            }
            _ => Err(self.at(key, entry.key_offset, "it is not a list")),
        }
    }

    fn field(
        &self,
        key: &str,
        node: &YamlNode,
        offset: usize,
    ) -> Result<ConfigField, ReleaseConfigError> {
        let Yaml::Text(text) = &node.value else {
            return Err(self.at(key, offset, "it is not a text"));
        };
        let text = match text.strip_prefix('$') {
            None => text.clone(),
            Some(rest) if rest.starts_with('$') => rest.to_owned(),
            // The message has the variable's name, never a value: the value of a key may be a
            // secret.
            Some(name) => (self.reader.variable)(name).ok_or_else(|| {
                let error =
                    self.at(key, offset, &format!("the variable {name} is not set, or empty"));
                let hint = format!("export {name}=…; a value that begins with $ is written $$…");
                ReleaseConfigError { hint: Some(hint), ..error }
            })?,
        };
        Ok(ConfigField { key: key.to_owned(), offset, text })
    }

    fn at(&self, key: &str, offset: usize, message: &str) -> ReleaseConfigError {
        self.reader.error(Some(offset), format!("{}: {key}: {message}", self.name))
    }

    /// Makes the error of a value.
    pub(super) fn wrong(&self, field: &ConfigField, message: &str) -> ReleaseConfigError {
        self.at(&field.key, field.offset, message)
    }

    /// Makes the error of the mapping.
    pub(super) fn wrong_whole(&self, message: &str) -> ReleaseConfigError {
        self.reader.error(Some(self.offset), format!("{}: {message}", self.name))
    }

    /// Checks that a value is an http or https URL without credentials.
    pub(super) fn check_url(&self, field: &ConfigField) -> Result<(), ReleaseConfigError> {
        let url = reqwest::Url::parse(&field.text).ok();
        let is_plain = |url: &reqwest::Url| {
            ["http", "https"].contains(&url.scheme())
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
                // Paths are appended to it, and would become part of a query.
                && url.query().is_none()
                && url.fragment().is_none()
        };
        let has_plain_letters = !field.text.chars().any(|letter| {
            letter.is_control() || letter.is_whitespace() || "\"'<>\\`{}|^".contains(letter)
        });
        if url.is_some_and(|url| is_plain(&url)) && has_plain_letters {
            return Ok(());
        }
        Err(self.wrong(field, "it is not an http or https URL without credentials, ? and #"))
    }

    /// Checks that a value is such a URL with `/` at its end.
    pub(super) fn check_folder_url(&self, field: &ConfigField) -> Result<(), ReleaseConfigError> {
        self.check_url(field)?;
        if field.text.ends_with('/') {
            return Ok(());
        }
        Err(self.wrong(field, "it does not end with a /, as paths are appended to it"))
    }

    /// Refuses unread keys.
    pub(super) fn end(self) -> Result<(), ReleaseConfigError> {
        match self.entries.first() {
            None => Ok(()),
            Some(entry) => {
                let message = format!("{}: the key {} is not known here", self.name, entry.key);
                Err(self.reader.error(Some(entry.key_offset), message))
            }
        }
    }
}
