//! Removal of all installed files. Users and services' state stay.

use std::io;
use std::path::PathBuf;

use super::activate::{ActivateError, Actor};
use super::fileless::InUse;
use super::lock::LOCK_FILE;
use super::paths::with_suffix;
use super::progress::{NEW, OLD};
use super::record;
use super::systemd::{SystemdError, TARGET, target_file};
use crate::base::removal::remove_all;

/// Not all can be removed.
#[derive(Debug, thiserror::Error)]
pub enum UninstallError {
    /// The folder doesn't look like an install root.
    #[error("{} is not an install root: it has neither a folder active nor a file bootstrap", .0.display())]
    NoRoot(PathBuf),
    /// The set can't be made inactive.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// Something can't be removed.
    #[error("can't remove all that is installed")]
    Remove(#[source] io::Error),
}

impl UninstallError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRoot(_) => Some("name another folder: --root DIR".to_owned()),
            Self::Activate(error) => error.hint(),
            Self::Remove(_) => Some("remove the cause, and repeat: pkgpanda uninstall".to_owned()),
        }
    }
}

impl Actor<'_> {
    /// Stops all services and removes units and the install root. Cut off, it can be done again.
    pub fn uninstall(&self) -> Result<(), UninstallError> {
        let host = self.host;
        let root = host.root();
        let is_root = ["active", "bootstrap", "active.new", "active.old"]
            .iter()
            .any(|name| root.join(name).symlink_metadata().is_ok());
        // Another filesystem below the root, such as one with services' data, is not ours to empty.
        let mounts = InUse::mounts();
        // What a run leaves that was cut off at its very end.
        let is_left = |entry: io::Result<fs_err::DirEntry>| {
            entry.is_ok_and(|entry| {
                entry.file_name() == LOCK_FILE || mounts.is_mount_point(&entry.path())
            })
        };
        let is_empty = || fs_err::read_dir(root).is_ok_and(|mut entries| entries.all(is_left));
        // A mistyped `--root` would remove whatever folder that is, as root.
        if root.parent().is_none() || (root.exists() && !is_root && !is_empty()) {
            return Err(UninstallError::NoRoot(root.to_owned()));
        }
        if !root.exists() {
            self.note(format!("nothing is installed in {}", root.display()));
            return Ok(());
        }
        let lock = self.begin()?;
        let target = target_file(host.units());
        if target.exists() {
            self.note("removing dcos.target".to_owned());
            // While the file is there: systemctl disables no unit without one.
            self.systemd.disable().map_err(ActivateError::from)?;
        }
        if root.join("active").exists() {
            self.note("deactivating all packages".to_owned());
            self.deactivate()?;
        }
        let remove_all = || {
            // As systemctl links it, which wasn't asked to take it back if services are left alone.
            remove_all(&host.units().join("multi-user.target.wants").join(TARGET))?;
            remove_all(&target)?;
            for name in host.swapped() {
                for suffix in [NEW, OLD] {
                    remove_all(&with_suffix(&name, suffix))?;
                }
            }
            remove_all(&host.wants())?;
            // The mark by which a root is known goes last, so that a second run takes up the work.
            for entry in fs_err::read_dir(root)? {
                let path = entry?.path();
                if mounts.is_mount_point(&path) {
                    self.note(format!("{} is a mount, and stays as it is", path.display()));
                } else if !path.ends_with("active") && !path.ends_with(LOCK_FILE) {
                    remove_all(&path)?;
                }
            }
            remove_all(&root.join("active"))?;
            record::forget_previous(host)?;
            // The folder must be empty to be removed; the lock on the folder itself stays.
            lock.remove_file()?;
            match fs_err::remove_dir(root) {
                // A disk of its own perhaps, or a link to a folder on one, or there is a mount in it.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ResourceBusy
                            | io::ErrorKind::NotADirectory
                            | io::ErrorKind::DirectoryNotEmpty
                    ) =>
                {
                    Ok(())
                }
                other => other,
            }
        };
        self.note(format!("removing {}", root.display()));
        remove_all().map_err(UninstallError::Remove)?;
        self.systemd.forget().map_err(|error: SystemdError| ActivateError::from(error).into())
    }
}
