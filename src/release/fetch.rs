//! Brings the artifacts of a release from a storage into the cache of the tree.

use super::error::ReleaseError;
use super::layout::LayoutError;
use super::metadata::Metadata;
use super::parallel::each;
use super::storage::Storage;
use super::survey::read;
use super::trees::all_packages;
use crate::archive::ArchiveLimits;
use crate::artifact::repository::Repository;
use crate::base::digest::Sha1Sum;
use crate::base::event::Observer;
use crate::bootstrap::{BootstrapId, active_json};
use crate::build::cache::{Cache, is_file};
use crate::package::paths::{
    active_name, active_path, bootstrap_name, bootstrap_path, package_path,
};
use crate::package::{PackageId, contents};
use crate::store::ObjectKey;
use crate::store::signature::TrustedKeys;

/// Fetches missing bootstraps and packages of a release into the cache. The content is checked as
/// from any repository: digests, names, the hashes in ids, and signatures if required.
pub fn fetch_core(
    storage: &Storage,
    metadata: &Metadata,
    cache: &Cache,
    limits: &ArchiveLimits,
    required: Option<&TrustedKeys>,
    observer: &dyn Observer,
) -> Result<(), ReleaseError> {
    let folder: ObjectKey = metadata.repository_path.parse().map_err(LayoutError::from)?;
    let repository = repository(storage, folder.as_str(), required);
    let lost = |what: String| ReleaseError::Lost {
        storage: storage.name.clone(),
        what,
        release: metadata.reproducible_artifact_path.clone(),
    };
    let failed =
        |source| ReleaseError::Fetch { storage: storage.name.clone(), source: Box::new(source) };
    let bootstraps: Vec<&Sha1Sum> =
        metadata.all_completes.values().map(|complete| &complete.bootstrap).collect();
    each(&bootstraps, |id| {
        let folder = cache.bootstraps();
        let has = |name: String| is_file(&folder.join(name));
        if has(bootstrap_name(id)) && has(active_name(id)) {
            return Ok(());
        }
        // Before the bootstrap, which is long: a list of other packages is refused at once.
        let active = active(storage, metadata, id, observer)?;
        match repository.fetch_bootstrap(id.as_str(), &folder, &active, limits, observer) {
            Ok(true) => Ok(()),
            Ok(false) => Err(lost(bootstrap_path(id))),
            Err(error) => Err(failed(error)),
        }
    })?;
    // Those of the trees, which are used: `packages` is a list beside them, and may lack some.
    let mut packages = all_packages(&metadata.all_completes);
    packages.retain(|id| !cache.has(id));
    each(&packages, |id| {
        let target = cache.archive(id);
        match repository.fetch_package(id, &target, limits, &contents::check, observer) {
            Ok(true) => Ok(()),
            Ok(false) => Err(lost(package_path(id))),
            Err(error) => Err(failed(error)),
        }
    })?;
    Ok(())
}

/// The repository of a release: there is no other place for what it lacks.
pub(super) fn repository(
    storage: &Storage,
    folder: &str,
    required: Option<&TrustedKeys>,
) -> Repository {
    let repository = Repository::new(storage.store.folder(folder)).sole();
    match required {
        Some(keys) => repository.requiring(keys.clone()),
        None => repository,
    }
}

/// Reads the list of a bootstrap's packages, which have to give the bootstrap's id.
fn active(
    storage: &Storage,
    metadata: &Metadata,
    id: &Sha1Sum,
    observer: &dyn Observer,
) -> Result<String, ReleaseError> {
    let path = format!("{}/{}", metadata.repository_path, active_path(id));
    let key: ObjectKey = path.parse().map_err(LayoutError::from)?;
    let text = read(storage, &key, observer)?.ok_or_else(|| ReleaseError::Lost {
        storage: storage.name.clone(),
        what: key.to_string(),
        release: metadata.reproducible_artifact_path.clone(),
    })?;
    let packages: Option<Vec<PackageId>> = serde_json::from_slice(&text).ok();
    let is_of_id = |packages: &Vec<PackageId>| BootstrapId::of(packages).as_str() == id.as_str();
    packages.filter(is_of_id).map(|packages| active_json(&packages)).ok_or_else(|| {
        let reason = "it does not list the packages of the bootstrap of that id".to_owned();
        ReleaseError::Metadata { storage: storage.name.clone(), key, reason }
    })
}
