//! Bind mounts of a container, made below its root before libcontainer mounts the rest.
//!
//! libcontainer checks the path of each mount anew, with about 80 system calls for one; a package's build
//! has seven bind mounts, and five calls are enough for each.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::sandbox::Bind;
use super::sys;

/// A bind mount failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {} at {}", origin.display(), target.display())]
pub(super) struct BindError {
    origin: PathBuf,
    target: PathBuf,
    #[source]
    source: io::Error,
}

/// Mounts files and folders below a container's root, in order, in the mount namespace of the
/// calling process, which the container copies; the mounts end with the mount of the root. Targets
/// are absolute paths without symbolic links; a link put there since is not followed.
pub(super) fn mount_binds(root: &Path, binds: &[Bind]) -> Result<(), BindError> {
    for bind in binds {
        mount_bind(root, bind).map_err(|errno| BindError {
            origin: bind.source.clone(),
            target: bind.target.clone(),
            source: errno.into(),
        })?;
    }
    Ok(())
}

fn mount_bind(root: &Path, bind: &Bind) -> rustix::io::Result<()> {
    // Recursive: a mount with locked mounts below it cannot be bound without them.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    // Detached until `move_mount` (open_tree(2)): nobody sees the mount before its rights are taken
    // away.
    let tree = open_tree(CWD, &bind.source, flags)?;
    // Recursive as well: a remount would leave mounts below the first one writable.
    sys::restrict_mounts(tree.as_fd(), !bind.writable)
        .map_err(|errno| Errno::from_raw_os_error(errno as i32))?;
    let root =
        openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let target = bind.target.strip_prefix("/").unwrap_or(&bind.target);
    let point = match open_beneath(root.as_fd(), target) {
        Err(Errno::NOENT) => {
            // A folder can be mounted on a folder alone, any other file on any other (ENOTDIR,
            // mount(2)).
            let is_folder = FileType::from_raw_mode(fstat(&tree)?.st_mode) == FileType::Directory;
            make_point(root.as_fd(), target, is_folder)?
        }
        opened => opened?,
    };
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&tree, c"", &point, c"", flags)
}

fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    // The image made what is below the root: a link of its would lead a mount over files of the
    // helper.
    openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// Makes a mount point and its missing parent folders.
fn make_point(root: BorrowedFd<'_>, path: &Path, is_folder: bool) -> rustix::io::Result<OwnedFd> {
    let name = path.file_name().ok_or(Errno::INVAL)?;
    let parent = match path.parent().filter(|parent| *parent != Path::new("")) {
        None => root.try_clone_to_owned().map_err(|_full| Errno::MFILE)?,
        Some(parent) => match open_beneath(root, parent) {
            Err(Errno::NOENT) => make_point(root, parent, true)?,
            opened => opened?,
        },
    };
    make_entry(parent.as_fd(), name, is_folder)?;
    open_beneath(root, path)
}

fn make_entry(parent: BorrowedFd<'_>, name: &OsStr, is_folder: bool) -> rustix::io::Result<()> {
    if is_folder {
        return mkdirat(parent, name, Mode::from_raw_mode(0o755));
    }
    // Exclusive: whatever appears there meanwhile is not opened, be it a link or a FIFO.
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::from_raw_mode(0o644)).map(drop)
}
