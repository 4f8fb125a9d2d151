//! Packages and bootstraps that a repository has, without their contents.

use super::Repository;
use crate::base::event::Observer;
use crate::package::PackageId;
use crate::package::paths::{active_path, bootstrap_path, package_path};
use crate::store::signature::SUFFIX;
use crate::store::{ObjectKey, Store, StoreError, StoreTransfer};

impl Repository {
    /// The repository's store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// True if a folder of this machine has a package.
    pub fn has_locally(&self, id: &PackageId) -> bool {
        let folder = self.store.local_folder();
        let place = folder.map(|folder| folder.join(package_path(id)));
        // A link does not count: a folder of packages has files, and a link may lead anywhere.
        place.and_then(|place| fs_err::symlink_metadata(place).ok()).is_some_and(|it| it.is_file())
    }

    /// True if the repository has a package and, where signatures are required, a signature of it. Neither is fetched
    /// or checked. All attempts are made, and every failure is an error.
    pub fn has(&self, id: &PackageId, observer: &dyn Observer) -> Result<bool, StoreError> {
        self.has_archive(&package_path(id), observer)
    }

    /// True if the repository has a bootstrap with its list, as [`Repository::has`] says of a package.
    pub fn has_bootstrap(&self, id: &str, observer: &dyn Observer) -> Result<bool, StoreError> {
        Ok(self.has_archive(&bootstrap_path(id), observer)?
            && self.has_object(&active_path(id), observer)?)
    }

    fn has_archive(&self, what: &str, observer: &dyn Observer) -> Result<bool, StoreError> {
        let is_signed = || self.has_object(&format!("{what}{SUFFIX}"), observer);
        Ok(self.has_object(what, observer)? && (self.signers.is_none() || is_signed()?))
    }

    fn has_object(&self, name: &str, observer: &dyn Observer) -> Result<bool, StoreError> {
        let Ok(key) = name.parse::<ObjectKey>() else { return Ok(false) };
        match self.store.backend().head(&key, &StoreTransfer { subject: name, observer }) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
