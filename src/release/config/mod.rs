//! `dcos-release.config.yaml`: the storages of a release, in the form of the original, and options.
//!
//! ```text
//! storage:   name -> kind and its keys, in the order in which storages are written
//! options:   preferred, cloudformation_s3_url; of mkpanda: version, pkgpanda, providers
//! anything else at the top is of other programs, and passes
//! ```
//!
//! A value that begins with `$` is that of an environment variable, `$$` stands for `$`. No message
//! quotes a value or a line of the file: any of them may be a secret.

mod error;
mod fields;
mod storage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use error::ReleaseConfigError;
pub use storage::{StorageConfig, StorageKind};

use crate::package::yaml::{Yaml, YamlEntry, YamlNode};
use fields::{ConfigFields, FieldReader};

/// Name of the file in a checkout.
pub const FILE: &str = "dcos-release.config.yaml";
/// Upper limit of the file's length in bytes.
pub const LONGEST: u64 = 1 << 20;

/// Configuration of releases.
#[derive(Debug, Clone)]
pub struct ReleaseConfig {
    /// The file.
    pub path: PathBuf,
    /// Storages in the order of the file; no name occurs twice.
    pub storages: Vec<StorageConfig>,
    /// Position of the preferred storage, from which releases are read.
    pub preferred: usize,
    /// URL below which AWS finds the templates, without a `/` at the end.
    pub cloudformation_s3_url: Option<String>,
    /// Text of the object `version`; the tag of the release by default.
    pub version: Option<String>,
    /// Static pkgpanda to be released.
    pub pkgpanda: Option<PathBuf>,
    /// Folders of further providers.
    pub providers: Vec<PathBuf>,
}

impl ReleaseConfig {
    /// Reads the text of a file. `variable` gives the value of an environment variable.
    pub fn parse(
        path: &Path,
        text: &str,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ReleaseConfigError> {
        let reader = FieldReader { path, text, variable };
        let top = YamlNode::parse(text)
            .map_err(|problem| reader.error(problem.offset, problem.message))?;
        let Yaml::Map(entries) = &top.value else {
            return Err(reader.error(None, "this is not a mapping with the key storage"));
        };
        let section = |name: &str| entries.iter().find(|entry| entry.key == name);
        let storages = section("storage")
            .ok_or_else(|| reader.error(None, "the key storage is missing"))
            .and_then(|entry| storages(&reader, entry))?;
        let options = section("options").ok_or_else(|| {
            reader.error(None, "the key options is missing: it names the preferred storage")
        })?;
        Self::with_options(&reader, storages, options)
    }

    fn with_options(
        reader: &FieldReader<'_>,
        storages: Vec<StorageConfig>,
        options: &YamlEntry,
    ) -> Result<Self, ReleaseConfigError> {
        let mut fields = ConfigFields::read(reader, "options", options)?;
        let folder = reader.path.parent().unwrap_or(Path::new(""));
        let preferred = fields.required("preferred")?;
        let position = storages.iter().position(|storage| storage.name == preferred.text);
        let position = position.ok_or_else(|| {
            let known: Vec<&str> = storages.iter().map(|storage| storage.name.as_str()).collect();
            let message = format!("it is not one of the storages: {}", known.join(", "));
            fields.wrong(&preferred, &message)
        })?;
        let url = fields.optional("cloudformation_s3_url")?;
        if let Some(url) = &url {
            fields.check_url(url)?;
            if url.text.ends_with('/') {
                return Err(fields.wrong(url, "it ends with a /, which it must not"));
            }
        }
        let version = fields.optional("version")?;
        if let Some(version) = &version
            && (version.text.is_empty() || version.text.chars().any(char::is_control))
        {
            return Err(fields.wrong(version, "it is empty, or has more than one line"));
        }
        let pkgpanda = fields.optional("pkgpanda")?.map(|field| folder.join(field.text));
        let providers = fields.list("providers")?;
        let providers = providers.into_iter().map(|field| folder.join(field.text)).collect();
        fields.end()?;
        Ok(Self {
            path: reader.path.to_owned(),
            storages,
            preferred: position,
            cloudformation_s3_url: url.map(|field| field.text),
            version: version.map(|field| field.text),
            pkgpanda,
            providers,
        })
    }

    /// The storage from which releases are read.
    pub fn preferred(&self) -> &StorageConfig {
        &self.storages[self.preferred]
    }
}

fn storages(
    reader: &FieldReader<'_>,
    section: &YamlEntry,
) -> Result<Vec<StorageConfig>, ReleaseConfigError> {
    let Yaml::Map(entries) = &section.node.value else {
        return Err(reader.error(Some(section.key_offset), "storage is not a mapping of names"));
    };
    let mut names = BTreeSet::new();
    let mut found = Vec::new();
    for entry in entries {
        let is_name = !entry.key.is_empty()
            // A mapping in `metadata.json` has such a key for nothing at all.
            && entry.key != "null"
            && !entry.key.chars().any(|letter| letter.is_control() || letter == '/');
        if !is_name || !names.insert(&entry.key) {
            let message = "a storage cannot have this name";
            return Err(reader.error(Some(entry.key_offset), message));
        }
        found.push(StorageConfig::read(reader, entry)?);
    }
    if found.is_empty() {
        return Err(
            reader.error(Some(section.key_offset), "storage is empty: nothing would be stored")
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
