//! Removing packages, and going back to the set before.

use super::activate::{ActivateError, Actor};
use super::active::linked;
use super::record;
use super::repository::{HostRepositoryError, PackageRepository};
use crate::package::PackageId;

/// A package can't be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The package is active.
    #[error("package {0} is active, so it can't be removed")]
    Active(PackageId),
    /// The active set can't be told.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// The package cannot be removed.
    #[error(transparent)]
    Repository(#[from] HostRepositoryError),
}

impl RemoveError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Active(_) => Some("activate a set without it first".to_owned()),
            Self::Activate(error) => error.hint(),
            Self::Repository(error) => error.hint(),
        }
    }
}

impl Actor<'_> {
    /// Removes packages from the machine; tells each that was there. None is removed if any of them
    /// is active.
    pub fn remove(
        &self,
        ids: &[PackageId],
        tell: &mut dyn FnMut(&PackageId),
    ) -> Result<(), RemoveError> {
        let _root = self.begin()?;
        let active = self.host.active().map_err(ActivateError::from)?;
        if let Some(id) = ids.iter().find(|id| active.contains(id)) {
            return Err(RemoveError::Active(id.clone()));
        }
        let repository = PackageRepository::new(self.host, self.observer);
        // After the root's lock, as everywhere: two commands that took them in both orders could
        // wait for each other.
        let _lock = repository.lock()?;
        for id in ids {
            self.go_on()?;
            if repository.remove(id)? {
                tell(id);
            }
        }
        Ok(())
    }

    /// Activates the previous set; returns its packages.
    pub fn rollback(&self) -> Result<Vec<PackageId>, ActivateError> {
        let _lock = self.begin()?;
        let ids = self.archived()?;
        self.activate_locked(&ids)?;
        Ok(ids)
    }

    /// The set before.
    pub fn archived(&self) -> Result<Vec<PackageId>, ActivateError> {
        let root = self.host.root();
        let old = linked(&root.join("active.old"))?;
        // The same set may have been activated again; a rollback to the same set makes no sense.
        let is_same = old.is_some() && old == linked(&root.join("active"))?;
        if let Some(ids) = old.as_ref().filter(|_| !is_same) {
            return Ok(ids.clone());
        }
        let previous = record::read_previous(self.host).map_err(ActivateError::Archive)?;
        // At this point `active.old` is missing, or is the active set itself.
        previous.or(old).ok_or(ActivateError::NoArchive)
    }
}
