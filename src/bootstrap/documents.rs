//! The id of a bootstrap, and the files beside its archive (docs/format.md, "The cache folder").

use std::fmt;

use serde_json::{Value, json};

use crate::base::digest::Sha1Sum;
use crate::package::PackageId;
use crate::package::hash::hash_strings;
use crate::package::json::canonical;
use crate::package::paths::{active_name, bootstrap_name};

/// A bootstrap's id: the `H` of the list of its packages' ids.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootstrapId(Sha1Sum);

impl BootstrapId {
    /// The id of the bootstrap of packages, in any order.
    pub fn of<'a>(packages: impl IntoIterator<Item = &'a PackageId>) -> Self {
        Self(hash_strings(sorted(packages).iter().map(String::as_str)))
    }

    /// The hex digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The digest.
    pub fn sum(&self) -> &Sha1Sum {
        &self.0
    }

    /// Name of the archive.
    pub fn archive_name(&self) -> String {
        bootstrap_name(&self.0)
    }

    /// The name of the file with its packages' ids.
    pub fn active_name(&self) -> String {
        active_name(&self.0)
    }
}

impl From<Sha1Sum> for BootstrapId {
    fn from(sum: Sha1Sum) -> Self {
        Self(sum)
    }
}

impl fmt::Display for BootstrapId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The text of `<bootstrap id>.active.json`: the ids in the order of the paths `<name>/<id>`, as the original
/// has them.
pub fn active_json<'a>(packages: impl IntoIterator<Item = &'a PackageId>) -> String {
    let mut ids: Vec<&PackageId> = packages.into_iter().collect();
    ids.sort_by_cached_key(|id| format!("{}/{id}", id.name()));
    let ids: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    canonical(&Value::from(ids))
}

/// The text of `complete.latest.json`: the bootstrap, if one was made, and all packages of a tree.
pub fn complete_json<'a>(
    bootstrap: Option<&BootstrapId>,
    packages: impl IntoIterator<Item = &'a PackageId>,
) -> String {
    let bootstrap = bootstrap.map(BootstrapId::as_str);
    canonical(&json!({ "bootstrap": bootstrap, "packages": sorted(packages) }))
}

fn sorted<'a>(packages: impl IntoIterator<Item = &'a PackageId>) -> Vec<String> {
    let mut ids: Vec<String> = packages.into_iter().map(ToString::to_string).collect();
    ids.sort_unstable();
    ids
}
