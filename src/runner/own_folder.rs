//! Folder of the caller, closed to others, below a folder that others may write to:
//! `DIR/mkpanda-scratch-<user id>` of `--scratch DIR`, and the home of a job that is carried out without an
//! environment.
//!
//! An empty folder can be removed at any time: the last run to leave removes the folder, and
//! another user may make one of the same name. So the folder is checked by descriptor, and is valid
//! only once a lock of the caller is inside.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;
use nix::fcntl::AtFlags;

use crate::base::lock::FileLock;

/// Mode of the folder.
const CLOSED: u32 = 0o700;

/// Makes the folder without access for others; fails if another user has made the folder, or if the
/// path is not a folder.
pub fn make(folder: &Path) -> io::Result<()> {
    if let Some(parent) = folder.parent() {
        fs_err::create_dir_all(parent)?;
    }
    loop {
        match std::fs::DirBuilder::new().mode(CLOSED).create(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", folder.display())));
            }
        }
        let found = match open(folder) {
            Ok(found) => found,
            // The last of other runs has removed the folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // A link, a file, or a folder closed by another user.
            Err(_) => return Err(foreign(folder)),
        };
        if !is_callers(&found.metadata()?) {
            return Err(foreign(folder));
        }
        // By the descriptor: the name may be that of another folder by now.
        return found.set_permissions(std::fs::Permissions::from_mode(CLOSED));
    }
}

/// True if the folder is the caller's and closed.
pub(super) fn is_closed(folder: &Path) -> bool {
    open(folder).is_ok_and(|found| is_closed_folder(&found))
}

/// True if the folder belongs to the caller and is closed, and if a lock held by the caller is the
/// file of this name inside: then no other process removes the folder.
pub(super) fn has_lock(folder: &Path, name: &str, lock: &FileLock) -> bool {
    open(folder).is_ok_and(|found| {
        is_closed_folder(&found)
            && nix::sys::stat::fstatat(&found, name, AtFlags::AT_SYMLINK_NOFOLLOW)
                .is_ok_and(|there| lock.is_file(there.st_dev, there.st_ino))
    })
}

fn open(folder: &Path) -> io::Result<std::fs::File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let found = fs_err::OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    Ok(found.into_parts().0)
}

fn is_closed_folder(found: &std::fs::File) -> bool {
    found.metadata().is_ok_and(|data| is_callers(&data) && data.mode() & 0o7777 == CLOSED)
}

fn is_callers(data: &std::fs::Metadata) -> bool {
    data.uid() == nix::unistd::geteuid().as_raw()
}

fn foreign(folder: &Path) -> io::Error {
    io::Error::other(format!("{} is not a folder of this user's", folder.display()))
}
