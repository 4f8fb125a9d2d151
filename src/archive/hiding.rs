//! Whiteouts and opaque folders of a layer that is being unpacked, in the form of `overlay_form`.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use xattr::FileExt as _;

use super::error::{ReadError, UnpackError};
use super::folders::{FolderAttributes, Folders};
use super::overlay_form::{HIDES_ALL, OPAQUE, Whiteouts, is_whiteout, kind, reopened, stat};
use super::path::EntryPath;
use super::write_error::fail;

/// Paths hidden by the unpacked part of a layer.
#[derive(Debug, Default)]
pub(super) struct Hiding {
    /// Form of whiteouts.
    pub(super) whiteouts: Whiteouts,
    /// Whiteouts made so far.
    made: Vec<EntryPath>,
}

impl Hiding {
    /// Hides a path in the layers below.
    pub(super) fn whiteout(
        &mut self,
        folders: &mut Folders,
        path: &EntryPath,
        like: &FolderAttributes,
    ) -> Result<(), UnpackError> {
        let place = folders.place(path, like)?;
        let kind_error = || ReadError::Kind { path: path.clone(), kind: "a whiteout" };
        let (above, name) = place.ok_or_else(kind_error)?;
        match stat(&above, name) {
            // The layer's own entry stays; of a folder, only the content below is hidden.
            Ok(there) if kind(&there) == SFlag::S_IFDIR => folders.opaque(path, like),
            Ok(_) => Ok(()),
            Err(Errno::ENOENT) => {
                self.made.push(path.clone());
                self.whiteouts
                    .make(&above, name)
                    .map_err(|source| UnpackError::Whiteout { path: path.clone(), source })
            }
            Err(error) => Err(fail(path, "looking at it")(error)),
        }
    }

    /// Removes whiteouts in opaque folders and below, where nothing is left to hide; returns the folders that
    /// have other whiteouts.
    pub(super) fn drop_needless(&self, folders: &Folders) -> Result<Vec<EntryPath>, UnpackError> {
        let mut last: Option<(&[u8], bool)> = None;
        let mut kept: Vec<EntryPath> = Vec::new();
        for path in &self.made {
            let Some((above, name)) = path.split() else { continue };
            let folder = match folders.find(above) {
                // A later entry has replaced the folder.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                found => found.map_err(fail(path, "opening its folder"))?,
            };
            let is_hidden = match last {
                Some((known, is_hidden)) if known == above => is_hidden,
                _ if !folders.has_opaque => false,
                _ => {
                    is_in_opaque(folders, &folder).map_err(fail(path, "looking at its folders"))?
                }
            };
            last = Some((above, is_hidden));
            let name = OsStr::from_bytes(name);
            let is_there = match stat(&folder, name) {
                Ok(there) => is_whiteout(&folder, name, &there),
                Err(Errno::ENOENT) => Ok(false),
                Err(error) => Err(error),
            };
            if !is_there.map_err(fail(path, "looking at it"))? {
                continue;
            }
            if is_hidden {
                unlinkat(&folder, name, UnlinkatFlags::NoRemoveDir)
                    .map_err(fail(path, "removing a whiteout of nothing"))?;
            } else if kept.last().is_none_or(|last| last.as_bytes() != above) {
                kept.push(EntryPath::trusted(above));
            }
        }
        kept.sort_unstable();
        kept.dedup();
        Ok(kept)
    }
}

/// True if a folder or one of its parents is opaque.
fn is_in_opaque(folders: &Folders, folder: &OwnedFd) -> nix::Result<bool> {
    let identity = |folder: &OwnedFd| fstat(folder).map(|data| (data.st_dev, data.st_ino));
    let root = identity(&folders.find(b"")?)?;
    let mut at = reopened(folder)?;
    loop {
        let here = identity(&at)?;
        // Upwards by descriptors, since a path of the layer may lead through its symlinks.
        let above = openat(&at, c"..", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
        let value = File::from(at).get_xattr(OPAQUE);
        if value.is_ok_and(|value| value.as_deref() == Some(HIDES_ALL)) {
            return Ok(true);
        }
        if here == root {
            return Ok(false);
        }
        at = reopened(&above)?;
    }
}
