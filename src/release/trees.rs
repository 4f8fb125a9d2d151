//! Artifacts of built trees, in the order of the original.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::artifact::{ArtifactContent, ExistingObject, ReleaseArtifact};
use super::error::ReleaseError;
use super::layout::LayoutError;
use super::metadata::{Complete, Metadata, sorted};
use crate::base::digest::Sha256Sum;
use crate::bootstrap::{BootstrapId, TreePackages, complete_json};
use crate::build::cache::Cache;
use crate::package::paths::{
    active_name, active_path, bootstrap_name, bootstrap_path, package_path,
};
use crate::package::{PackageId, Variant};

/// Packages of trees with bootstraps, by variant.
pub type Completes = BTreeMap<Variant, Complete>;

/// SHA-256 of bootstraps, by variant.
pub type BootstrapSums = BTreeMap<Variant, Sha256Sum>;

/// Describes built trees. A bootstrap has only packages of its tree.
pub fn completes(trees: &[TreePackages]) -> Result<Completes, ReleaseError> {
    let mut found = BTreeMap::new();
    for tree in trees {
        let variant = tree.variant.clone();
        // JSON has the default variant under this key (metadata.json of the original).
        if variant.name() == Some("null") {
            return Err(ReleaseError::VariantName(variant));
        }
        let packages: BTreeSet<&PackageId> = tree.packages.iter().collect();
        if let Some(package) = tree.bootstrap.iter().find(|id| !packages.contains(id)) {
            let package = package.clone();
            return Err(ReleaseError::NotInTree { variant, package });
        }
        let bootstrap = BootstrapId::of(&tree.bootstrap).sum().clone();
        found.insert(variant, Complete { bootstrap, packages: sorted(&tree.packages) });
    }
    Ok(found)
}

/// Ids of the packages of all trees, sorted.
pub fn all_packages(completes: &Completes) -> Vec<PackageId> {
    sorted(completes.values().flat_map(|complete| &complete.packages))
}

/// Artifacts of trees: for each variant the bootstrap, the list of its packages, the two `latest` files, and
/// the packages that no variant before has.
pub fn core_artifacts(
    completes: &Completes,
    cache: &Cache,
) -> Result<Vec<ReleaseArtifact>, ReleaseError> {
    let (mut artifacts, mut seen) = (Vec::new(), BTreeSet::new());
    let key = |path: String| path.parse().map_err(LayoutError::from);
    for (variant, complete) in completes {
        let id = &complete.bootstrap;
        for (name, path) in
            [(bootstrap_name(id), bootstrap_path(id)), (active_name(id), active_path(id))]
        {
            let source = ArtifactContent::File(cache.bootstraps().join(name));
            let existing = ExistingObject::HasToBeEqual;
            artifacts.push(ReleaseArtifact::reproducible(key(path)?, source, existing));
        }
        let bootstrap = BootstrapId::from(id.clone());
        for (name, text) in [
            ("bootstrap.latest", id.to_string()),
            ("complete.latest.json", complete_json(Some(&bootstrap), &complete.packages)),
        ] {
            let source = ArtifactContent::Bytes(text.into_bytes());
            artifacts.push(ReleaseArtifact::of_channel(key(variant.file(name))?, None, source));
        }
        for package in &complete.packages {
            if seen.insert(package) {
                let source = ArtifactContent::File(cache.archive(package));
                let path = key(package_path(package))?;
                // Packages of one id may have been built twice, and hosts check them by the id; the
                // sums of bootstraps stand in templates.
                artifacts.push(ReleaseArtifact::reproducible(path, source, ExistingObject::Serves));
            }
        }
    }
    Ok(artifacts)
}

/// The archive of a tree's bootstrap in the cache.
fn bootstrap_archive(complete: &Complete, cache: &Cache) -> std::path::PathBuf {
    cache.bootstraps().join(bootstrap_name(&complete.bootstrap))
}

/// SHA-256 of the bootstraps of all deployed variants.
pub fn bootstrap_sums(metadata: &Metadata, cache: &Cache) -> Result<BootstrapSums, ReleaseError> {
    let sum = |(variant, complete): (&Variant, &Complete)| {
        let path = bootstrap_archive(complete, cache);
        let sum = Sha256Sum::of_file(&path);
        let sum = sum.map_err(|source| ReleaseError::File { operation: "read", path, source })?;
        Ok((variant.clone(), sum))
    };
    metadata.deployed().map(sum).collect()
}

/// Makes bootstraps copies of those of another release, within each storage: they are compared before, and
/// templates state their sums. All else goes out from this machine, where it was checked: others may write to the
/// release that is promoted, also between a comparison and a copy.
pub fn copied(
    artifacts: Vec<ReleaseArtifact>,
    repository: &str,
) -> Result<Vec<ReleaseArtifact>, ReleaseError> {
    let copy = |artifact: ReleaseArtifact| {
        let path = artifact.reproducible_path.as_ref();
        let Some(path) = path.filter(|_| artifact.existing == ExistingObject::HasToBeEqual) else {
            return Ok(artifact);
        };
        let from = format!("{repository}/{path}").parse().map_err(LayoutError::from)?;
        let otherwise = Box::new(artifact.source);
        Ok(ReleaseArtifact { source: ArtifactContent::Stored { from, otherwise }, ..artifact })
    };
    artifacts.into_iter().map(copy).collect()
}

/// Folder of a checkout: the parent of the packages folder, or the packages folder itself.
pub fn checkout(packages: &Path) -> &Path {
    packages.parent().unwrap_or(packages)
}
