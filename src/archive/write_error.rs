//! Errors of the system calls that unpack an entry.

use nix::errno::Errno;

use super::error::UnpackError;
use super::path::EntryPath;

/// An owner and a group.
pub(super) type OwnerIds = (u32, u32);

/// Makes the error of a failed system call for an entry.
pub(super) fn fail(path: &EntryPath, action: &'static str) -> impl FnOnce(Errno) -> UnpackError {
    move |error| UnpackError::Write { path: path.clone(), action, source: error.into() }
}

pub(super) fn owner_error(path: &EntryPath, (uid, gid): OwnerIds, error: Errno) -> UnpackError {
    match error {
        Errno::EINVAL => {
            UnpackError::OwnerNotMapped { path: path.clone(), uid: uid.into(), gid: gid.into() }
        }
        error => fail(path, "changing its owner")(error),
    }
}

pub(super) fn walk_error(path: &EntryPath, error: Errno) -> UnpackError {
    match error {
        Errno::ENOTDIR | Errno::ELOOP => UnpackError::ThroughSymlink { path: path.clone() },
        error => fail(path, "opening its folder")(error),
    }
}
