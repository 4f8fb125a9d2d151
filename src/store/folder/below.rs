//! Finding what is below a store's folder, by descriptors and through no symlink.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat, mkdirat};

use crate::base::confinement::{find_listed, open_folder};
use crate::store::key::ObjectKey;

/// Finds what is at a path below the folder, without opening it.
pub(super) fn find(folder: &Path, path: &str) -> io::Result<OwnedFd> {
    find_listed(open_folder(folder)?, Path::new(path))
}

/// Finds an object, which has a size then.
pub(super) fn object(folder: &Path, key: &ObjectKey) -> io::Result<(OwnedFd, u64)> {
    let found = find(folder, key.as_str())?;
    let data = fstat(&found)?;
    if kind(data.st_mode) != SFlag::S_IFREG {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((found, u64::try_from(data.st_size).unwrap_or(0)))
}

/// Opens the folder of an object that is to be written or removed, through no symlink.
pub(super) fn parent(store: &Path, key: &ObjectKey, make: bool) -> io::Result<OwnedFd> {
    if make {
        fs_err::create_dir_all(store)?;
    }
    let mut folder = open_folder(store)?;
    let mut place = store.to_owned();
    let above = key.as_str().rsplit_once('/').map_or("", |(above, _)| above);
    for part in above.split('/').filter(|part| !part.is_empty()) {
        place.push(part);
        let named = |error: Errno| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("`{}`: {error}", place.display()))
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut opened = openat(&folder, part, flags, Mode::empty());
        if make && matches!(opened, Err(Errno::ENOENT)) {
            // As the umask has it: the folder may be shared by a group.
            match mkdirat(&folder, part, Mode::from_bits_truncate(0o777)) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(named(error)),
            }
            opened = openat(&folder, part, flags, Mode::empty());
        }
        if matches!(opened, Err(Errno::ENOTDIR)) && is_symlink(&folder, part) {
            let message = format!("`{}` is a symbolic link, and is not followed", place.display());
            return Err(io::Error::other(message));
        }
        folder = opened.map_err(named)?;
    }
    Ok(folder)
}

/// Last part of an object's name.
pub(super) fn name_of(key: &ObjectKey) -> &str {
    key.as_str().rsplit_once('/').map_or(key.as_str(), |(_, name)| name)
}

pub(super) fn kind(mode: libc::mode_t) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

pub(super) fn is_symlink(folder: &OwnedFd, name: &str) -> bool {
    fstatat(folder, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|data| kind(data.st_mode) == SFlag::S_IFLNK)
}

/// True if an error says that a symlink is not followed.
pub(super) fn is_link(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

/// True if an error says that there is no such file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
