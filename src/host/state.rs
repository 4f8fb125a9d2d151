//! State directories: what services keep, whichever version of their package is active.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{Uid, fchown, fchownat};

use super::paths::Host;
use crate::install::PackageContents;

/// A state directory can't be had.
#[derive(Debug, thiserror::Error)]
#[error("can't set up the state directory {}", path.display())]
pub struct StateError {
    /// The directory.
    path: PathBuf,
    /// Why.
    #[source]
    source: io::Error,
}

/// Makes the state directories that are missing, for their packages' users; adds those that it made
/// to `made`.
pub(super) fn make(
    host: &Host,
    packages: &[PackageContents],
    uid_of: impl Fn(&str) -> Option<u32>,
    made: &mut Vec<PathBuf>,
) -> Result<(), StateError> {
    for package in packages.iter().filter(|package| package.info.state_directory) {
        let path = place(host, package);
        let failed = |source| StateError { path: path.clone(), source };
        fs_err::create_dir_all(host.state()).map_err(failed)?;
        match fs_err::create_dir(&path) {
            Ok(()) => made.push(path.clone()),
            // An administrator may have put a link there, to another disk.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => continue,
            Err(source) => return Err(failed(source)),
        }
        let user = package.info.username.as_ref();
        if let Some(uid) = user.and_then(|user| uid_of(user.as_str())) {
            give_folder(&path, Uid::from_raw(uid)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Gives state directories, with all that is in them, to their packages' users.
pub(super) fn give(
    host: &Host,
    packages: &[PackageContents],
    uid_of: impl Fn(&str) -> Option<u32>,
) -> Result<(), StateError> {
    for package in packages.iter().filter(|package| package.info.state_directory) {
        let user = package.info.username.as_ref();
        let Some(uid) = user.and_then(|user| uid_of(user.as_str())) else { continue };
        let path = place(host, package);
        give_folder(&path, Uid::from_raw(uid))
            .map_err(|source| StateError { path: path.clone(), source })?;
    }
    Ok(())
}

fn place(host: &Host, package: &PackageContents) -> PathBuf {
    host.state().join(package.id.name().as_str())
}

/// Goes by descriptors: whoever may write in there could replace a folder by a link.
fn give_folder(path: &Path, to: Uid) -> io::Result<()> {
    let folder = fs_err::File::open(path)?.into_parts().0;
    give_content(folder.as_fd().try_clone_to_owned()?, to)?;
    if fstat(&folder)?.st_uid != to.as_raw() {
        fchown(&folder, Some(to), None)?;
    }
    Ok(())
}

/// One descriptor for each level: nobody nests folders as deep as there may be descriptors.
fn give_content(folder: OwnedFd, to: Uid) -> io::Result<()> {
    let mut folder = Dir::from_fd(folder)?;
    let mut names = Vec::new();
    for entry in folder.iter() {
        names.push(entry?.file_name().to_owned());
    }
    for name in names.iter().filter(|name| ![c".", c".."].contains(&name.as_c_str())) {
        if let Some(below) = give_entry(&folder, name, to)? {
            give_content(below, to)?;
        }
    }
    Ok(())
}

/// Gives one entry away; opens it if it is a folder.
fn give_entry(folder: impl AsFd, name: &CStr, to: Uid) -> io::Result<Option<OwnedFd>> {
    let there = fstatat(folder.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if there.st_uid != to.as_raw() {
        fchownat(folder.as_fd(), name, Some(to), None, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    if SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
        return Ok(None);
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    Ok(Some(openat(folder.as_fd(), name, flags, Mode::empty())?))
}
