//! The active set, as the links in `active/` say.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use nix::dir::Dir;
use nix::fcntl::readlinkat;

use super::paths::{Host, with_suffix};
use super::progress::{self, OLD};
use crate::package::PackageId;

/// The active set can't be told.
#[derive(Debug, thiserror::Error)]
pub enum ActiveError {
    /// There is no active set.
    #[error("the install root {} has no folder active: has it been bootstrapped?", .0.display())]
    None(PathBuf),
    /// A swap was cut off.
    #[error("an activation in {} was cut off", .0.display())]
    CutOff(PathBuf),
    /// The links can't be read.
    #[error("can't tell what is active")]
    Unreadable(#[source] io::Error),
    /// The active set is missing, but the previous one exists.
    #[error("the install root {} has no folder active; the set before is there", .0.display())]
    Gone(PathBuf),
}

impl ActiveError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::None(_) => Some(
                "unpack a bootstrap there, or activate packages: pkgpanda activate ID…".to_owned(),
            ),
            Self::CutOff(_) => Some("finish it: pkgpanda setup".to_owned()),
            Self::Gone(_) => Some(
                "go back to it: pkgpanda rollback; or activate packages: pkgpanda activate ID…"
                    .to_owned(),
            ),
            Self::Unreadable(_) => None,
        }
    }
}

impl Host {
    /// True if an activation was interrupted; the next command with changes completes it.
    pub fn is_cut_off(&self) -> bool {
        progress::place(self).symlink_metadata().is_ok()
    }

    /// Entries of `active/` that are not links to packages.
    pub fn odd_active_entries(&self) -> Vec<PathBuf> {
        odd_entries(&self.root().join("active")).unwrap_or_default()
    }

    /// The ids of the active packages, sorted as text.
    pub fn active(&self) -> Result<Vec<PackageId>, ActiveError> {
        let folder = self.root().join("active");
        match linked(&folder)? {
            Some(ids) => Ok(ids),
            None if self.is_cut_off() => Err(ActiveError::CutOff(self.root().to_owned())),
            None if with_suffix(&folder, OLD).exists() => {
                Err(ActiveError::Gone(self.root().to_owned()))
            }
            None => Err(ActiveError::None(self.root().to_owned())),
        }
    }
}

/// The packages to which the links in a folder lead; nothing if there is no such folder. Entries that are not
/// links to packages of their names, such as an editor's backup or `a.bak`, are passed over.
pub(super) fn linked(folder: &Path) -> Result<Option<Vec<PackageId>>, ActiveError> {
    Ok(look(folder)?.map(|(ids, _)| ids))
}

/// The entries of a folder that are passed over.
pub(super) fn odd_entries(folder: &Path) -> Result<Vec<PathBuf>, ActiveError> {
    Ok(look(folder)?.map(|(_, odd)| odd).unwrap_or_default())
}

/// Ids of linked packages, and other entries.
type ActiveEntries = (Vec<PackageId>, Vec<PathBuf>);

fn look(folder: &Path) -> Result<Option<ActiveEntries>, ActiveError> {
    // Without the flag, opening a FIFO of that name would block.
    let file = fs_err::OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(folder);
    let file = match file {
        // A file of that name is not a set.
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            return Ok(None);
        }
        other => other.map_err(ActiveError::Unreadable)?,
    };
    let unreadable = |error: io::Error| {
        let message = format!("failed to read `{}`: {error}", folder.display());
        ActiveError::Unreadable(io::Error::new(error.kind(), message))
    };
    let read = || Ok(Dir::from_fd(file.as_fd().try_clone_to_owned()?)?);
    let (mut ids, mut odd) = (Vec::new(), Vec::new());
    for entry in read().map_err(unreadable)? {
        let entry = entry.map_err(|error| unreadable(error.into()))?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        // By descriptor: a path to each of a thousand links is what would take longest. By name: a
        // bootstrap's links lead to where it will be.
        let target = readlinkat(&file, name).ok();
        let id = target.as_ref().and_then(|target| Path::new(target).file_name()?.to_str());
        let id = id.and_then(|id| id.parse::<PackageId>().ok());
        match id.filter(|id| id.name().as_str().as_bytes() == name.to_bytes()) {
            Some(id) => ids.push(id),
            None => odd.push(folder.join(OsStr::from_bytes(name.to_bytes()))),
        }
    }
    ids.sort_unstable_by(PackageId::cmp_as_text);
    odd.sort_unstable();
    Ok(Some((ids, odd)))
}
