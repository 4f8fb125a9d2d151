//! `build_ids`, and the two descriptions in a package (docs/format.md, "Descriptions in a package").

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{FORMAT_VERSION, Identities, Inputs, PackageIdentity, source_id};
use crate::base::digest::Sha1Sum;
use crate::package::PackageId;
use crate::package::hash::{HashError, hash_entries, hash_object, hash_value};
use crate::package::json::canonical;
use crate::tree::Package;

/// Files of a package before its build script runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Documents {
    /// The text of `buildinfo.full.json`, which `/pkg/src` has too.
    pub buildinfo_full: String,
    /// The text of `pkginfo.json`.
    pub pkginfo: String,
}

impl Identities {
    /// Returns the hashed input of a package's id.
    pub fn build_ids(&self, package: &Package, identity: &PackageIdentity) -> Value {
        let requires = self.dependencies(identity).map(|needed| needed.text.as_str());
        build_ids(package, &identity.inputs, requires)
    }

    /// Returns the files that describe a package.
    pub fn documents(&self, package: &Package, identity: &PackageIdentity) -> Documents {
        let ids = self.build_ids(package, identity);
        documents(package, &identity.inputs, &identity.id, ids)
    }
}

/// The hashed input of a package's id, given the ids of all that it requires in their order.
pub(super) fn build_ids<'a>(
    package: &Package,
    inputs: &Inputs,
    requires: impl Iterator<Item = &'a str>,
) -> Value {
    let mut ids = plain_build_ids(package, inputs);
    let requires: Vec<Value> = requires.map(Value::from).collect();
    ids.insert("requires".to_owned(), requires.into());
    ids.into()
}

/// The files that describe a package, given the hashed input of its id.
pub(super) fn documents(
    package: &Package,
    inputs: &Inputs,
    id: &PackageId,
    build_ids: Value,
) -> Documents {
    let info = &package.info;
    let sources = info.sources.iter().map(|(name, source)| {
        let mut entry = source.shown();
        entry.extend(source_id(name, &source.spec, inputs));
        (name.to_string(), Value::from(entry))
    });
    let mut full = Map::new();
    let mut add = |key: &str, value: Value| full.insert(key.to_owned(), value);
    add("sources", sources.collect::<Map<_, _>>().into());
    if let Some(extra) = &inputs.extra {
        add("extra_source", extra.as_str().into());
    }
    add("build_ids", build_ids);
    add("package_version", id.version().as_str().into());
    add("name", package.key.name.as_str().into());
    add("variant", package.key.variant.name().into());
    Documents {
        buildinfo_full: canonical(&full.into()),
        pkginfo: canonical(&package_info(package)),
    }
}

fn package_info(package: &Package) -> Value {
    let info = &package.info;
    let mut object = declared(package);
    // As written, in the order of the file: that is what the original's `pkginfo.json` has.
    object.insert("requires".to_owned(), info.requires_as_written.clone());
    object.into()
}

/// Keys of `buildinfo.json` that both the package's id and `pkginfo.json` contain.
fn declared(package: &Package) -> Map<String, Value> {
    let info = &package.info;
    let mut object = Map::new();
    let mut add = |key: &str, value: Value| object.insert(key.to_owned(), value);
    add("environment", info.environment.clone().into());
    add("state_directory", info.state_directory.to_value());
    if let Some(username) = &info.username {
        add("username", username.as_str().into());
    }
    if let Some(group) = &info.group {
        add("group", group.as_str().into());
    }
    if let Some(sysctl) = &info.sysctl {
        add("sysctl", sysctl.clone().into());
    }
    object
}

/// `build_ids` without `requires`, which can be long and is hashed separately.
fn plain_build_ids(package: &Package, inputs: &Inputs) -> Map<String, Value> {
    let info = &package.info;
    let sources = info.sources.iter().map(|(name, source)| {
        (name.to_string(), Value::from(source_id(name, &source.spec, inputs)))
    });
    let mut ids = declared(package);
    let mut add = |key: &str, value: Value| ids.insert(key.to_owned(), value);
    add("name", package.key.name.as_str().into());
    add("variant", package.key.variant.hashed().into());
    add("sources", sources.collect::<Map<_, _>>().into());
    add("build", inputs.build.as_str().into());
    add("pkgpanda_version", FORMAT_VERSION.into());
    // The key is the original's: it is hashed, and another one would change all ids.
    add("docker", inputs.image.prefixed().into());
    if let Some(extra) = &inputs.extra {
        add("extra_source", extra.as_str().into());
    }
    if let Some(extra) = &info.version_extra {
        add("version_extra", extra.as_str().into());
    }
    ids
}

/// The hash of `build_ids`, given that of `requires`.
pub(super) fn hash_build_ids(
    package: &Package,
    inputs: &Inputs,
    requires: Sha1Sum,
) -> Result<Sha1Sum, HashError> {
    let ids = plain_build_ids(package, inputs);
    let mut hashes = BTreeMap::from([("requires", requires)]);
    for (key, value) in &ids {
        let hash = match value {
            Value::Object(map) => hash_object(map, key)?,
            other => hash_value(other)?,
        };
        hashes.insert(key, hash);
    }
    Ok(hash_entries(&hashes))
}
