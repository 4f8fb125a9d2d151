//! Whiteouts and opaque folders in the form of overlayfs mounted with `userxattr`.
//!
//! - An opaque folder has the attribute `user.overlay.opaque`, which is `y`.
//! - A whiteout is a character device 0:0. Where devices cannot be made, as on an overlay, a
//!   whiteout is a file without content with the attribute `user.overlay.whiteout`, in a folder
//!   whose `user.overlay.opaque` is `x`: Linux supports those since 6.8, in lower layers only.
//! - Below an opaque folder there are no whiteouts: they have nothing to hide there, and the folder,
//!   which comes from one layer alone, would list their names.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mknodat};
use xattr::FileExt as _;

/// The attribute of folders.
pub(super) const OPAQUE: &str = "user.overlay.opaque";
/// The attribute of files.
pub(super) const WHITEOUT: &str = "user.overlay.whiteout";
/// The folder hides all entries below.
pub(super) const HIDES_ALL: &[u8] = b"y";
/// The folder may have whiteouts that are files.
const HAS_WHITEOUTS: &[u8] = b"x";

/// Form of whiteouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whiteouts {
    /// As devices, which every kernel with overlayfs knows.
    #[default]
    Devices,
    /// As files with an attribute.
    Attributes,
}

impl Whiteouts {
    /// Makes a whiteout in a folder under a free name.
    pub fn make_at(self, folder: &Path, name: &OsStr) -> io::Result<()> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        self.make(&nix::fcntl::open(folder, flags, Mode::empty())?, name)
    }

    pub(super) fn make(self, above: &OwnedFd, name: &OsStr) -> io::Result<()> {
        if self == Self::Devices {
            return Ok(mknodat(above, name, SFlag::S_IFCHR, Mode::empty(), 0)?);
        }
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = File::from(openat(above, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        file.set_xattr(WHITEOUT, b"y")?;
        let folder = File::from(reopened(above)?);
        // An opaque folder stays one: with `x` instead, lower layers would show through.
        if folder.get_xattr(OPAQUE)?.as_deref() == Some(HIDES_ALL) {
            return Ok(());
        }
        folder.set_xattr(OPAQUE, HAS_WHITEOUTS)
    }
}

/// True if something in a layer is a whiteout, be it a device or a file.
pub fn is_whiteout_at(path: &Path, data: &Metadata) -> io::Result<bool> {
    let kind = data.file_type();
    if kind.is_file() && data.len() == 0 {
        return Ok(attribute(path, WHITEOUT)?.is_some());
    }
    Ok(kind.is_char_device() && data.rdev() == 0)
}

/// True if a folder of a layer is opaque.
pub fn is_opaque_at(folder: &Path) -> io::Result<bool> {
    Ok(attribute(folder, OPAQUE)?.is_some_and(|value| value == HIDES_ALL))
}

/// An attribute, which nothing has where the filesystem knows none.
fn attribute(path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match xattr::get(path, name) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => Ok(None),
        got => got,
    }
}

/// True if an entry is a whiteout, be it a device or a file.
pub(super) fn is_whiteout(above: impl AsFd, name: &OsStr, there: &FileStat) -> nix::Result<bool> {
    match kind(there) {
        SFlag::S_IFCHR => Ok(there.st_rdev == 0),
        SFlag::S_IFREG if there.st_size == 0 => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match openat(above, name, flags, Mode::empty()) {
                // A whiteout could be read.
                Err(Errno::EACCES) => Ok(false),
                opened => {
                    let value = File::from(opened?).get_xattr(WHITEOUT);
                    Ok(value.is_ok_and(|value| value.is_some()))
                }
            }
        }
        _ => Ok(false),
    }
}

/// Reopens a folder for reading, for calls that fail on an `O_PATH` descriptor.
pub(super) fn reopened(folder: &OwnedFd) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(folder, c".", flags, Mode::empty())
}

pub(super) fn stat(above: impl AsFd, name: &OsStr) -> nix::Result<FileStat> {
    fstatat(above, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

pub(super) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}
