//! Packages of a tree with ids and places of archives.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;

use crate::artifact::repository::Repository;
use crate::artifact::shared_cache::SharedCaches;
use crate::base::event::Observer;
use crate::build::project::{Project, ProjectError};
use crate::package::{PackageId, PackageName, Requirement, Variant};
use crate::tree::PackageKey;

/// Packages of a tree, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeListing {
    /// The packages folder.
    pub tree: PathBuf,
    /// The packages.
    pub packages: Vec<ListedPackage>,
    /// The `upstream.json` of an upstream that is not expanded; the listing lacks the upstream's packages.
    pub missing_upstream: Option<PathBuf>,
}

/// One variant of a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedPackage {
    /// Name.
    pub name: PackageName,
    /// Variant; null for the default one.
    pub variant: Variant,
    /// Tree variants with the package; null if not known.
    pub trees: Option<Vec<Variant>>,
    /// Folder.
    pub folder: Option<PathBuf>,
    /// Id, if known without a network and without a build.
    pub id: Option<PackageId>,
    /// Reason of a missing id.
    pub why_no_id: Option<String>,
    /// True if the tree's cache has the package; null without an id.
    pub built: Option<bool>,
    /// Shared caches on this machine with the package.
    pub in_caches: Vec<String>,
    /// Direct requirements.
    pub requires: Vec<Requirement>,
    /// First fault of the package's description.
    pub fault: Option<String>,
}

/// Lists all packages of a tree, or the packages of a tree variant.
pub fn list(
    project: &Project,
    variant: Option<&Variant>,
    caches: &SharedCaches,
    observer: &dyn Observer,
) -> Result<Vec<ListedPackage>, ProjectError> {
    let keys: BTreeSet<PackageKey> = match variant {
        None => project.tree.all_keys().collect(),
        Some(variant) => project.tree.resolve(variant)?.packages.into_iter().collect(),
    };
    // Ids are made of all that is required, and that is part of any tree.
    let whole: BTreeSet<PackageKey> =
        keys.iter().filter(|key| project.tree.package(key).is_some()).cloned().collect();
    let at_hand = project.identify_at_hand(&whole, observer)?;
    let trees = project.tree.memberships();
    // Only those on this machine: a listing needs no network, and must be quick.
    let local = caches.local();
    let caches: Vec<(String, Repository)> = local
        .iter()
        .filter(|cache| cache.reads())
        .map(|cache| (cache.name(), cache.sole_repository()))
        .collect();
    let listed = keys.into_iter().map(|key| {
        let package = project.tree.package(&key);
        let id = at_hand.identities.get(&key).map(|identity| identity.id.clone());
        let in_caches =
            caches.iter().filter(|(_, cache)| id.as_ref().is_some_and(|id| cache.has_locally(id)));
        let fault =
            project.tree.faults_of_package(&key).first().map(|report| report.message().to_owned());
        ListedPackage {
            trees: trees.as_ref().map(|trees| trees.get(&key).cloned().unwrap_or_default()),
            folder: package.map(|package| package.folder.clone()),
            why_no_id: match (&fault, at_hand.without.get(&key)) {
                // The fault has its own field; the reason for the id is only that there is one.
                (Some(_), _) => Some("its description is wrong".to_owned()),
                (None, why) => why.map(|without| without.why.clone()),
            },
            built: id.as_ref().map(|id| project.cache.has(id)),
            in_caches: in_caches.map(|(name, _)| name.clone()).collect(),
            requires: project.tree.requires(&key),
            name: key.name,
            variant: key.variant,
            id,
            fault,
        }
    });
    Ok(listed.collect())
}
