//! The index as JSON (docs/format.md, "Index of a cache").

use serde_json::{Value, json};

use super::contents::{PackageVersion, StoreIndex};
use crate::package::paths::{bootstrap_path, package_path};

/// Version of the form.
const VERSION: u32 = 1;

/// Text of the index for programs.
pub(super) fn document(index: &StoreIndex) -> String {
    let packages: Vec<Value> = index
        .packages
        .iter()
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions.iter().map(version).collect();
            json!({ "name": name, "versions": versions })
        })
        .collect();
    let bootstraps = index.bootstraps.iter().map(|bootstrap| {
        json!({
            "id": bootstrap.id,
            "path": bootstrap_path(&bootstrap.id),
            "size": bootstrap.size,
            "signed": bootstrap.is_signed,
            "packages": bootstrap.packages,
        })
    });
    let (sources, bytes) = index.sources;
    let document = json!({
        "version": VERSION,
        "packages": packages,
        "bootstraps": bootstraps.collect::<Vec<_>>(),
        "sources": { "count": sources, "size": bytes },
    });
    format!("{document:#}\n")
}

fn version(version: &PackageVersion) -> Value {
    let recorded = version.recorded.as_ref();
    json!({
        "id": version.id,
        "version": version.id.version(),
        "path": package_path(&version.id),
        "size": version.size,
        "signed": version.is_signed,
        "sha256": recorded.map(|recorded| &recorded.sha256),
        "variant": recorded.and_then(|recorded| recorded.variant.as_ref()),
        "requires": recorded.map(|recorded| &recorded.requires),
        "bootstraps": version.bootstraps,
    })
}
