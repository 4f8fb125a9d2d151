//! Folders that contain files of a layer without an entry of their own.
//!
//! An implied folder keeps the mode and owner of the layers below. Overlayfs shows the attributes
//! of the highest layer with the folder, and unpacking has just invented those. So implied folders
//! are noted beside the layer, and their attributes are corrected on the mounted root for each
//! build anew, since the result depends on the layers below.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fchmod, futimens};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown};

use super::error::LayerError;
use super::look::look;
use crate::archive::EntryPath;
use crate::base::regular::read_own;
use crate::base::removal::remove_all;

/// Path of the list of a layer's implied folders, separated by NUL; missing if the layer implies
/// none.
pub(super) fn file(layer: &Path) -> PathBuf {
    layer.with_extension("implied")
}

pub(super) fn write(layer: &Path, folders: &[EntryPath]) -> io::Result<()> {
    if folders.is_empty() {
        return remove_all(&file(layer));
    }
    let names: Vec<&[u8]> = folders.iter().map(EntryPath::as_bytes).collect();
    fs_err::write(file(layer), names.join(&0))
}

/// Restores the attributes of implied folders on a mounted root: mode and owner from the layers
/// further below, and for the root itself, which shows the upper directory's attributes, mode,
/// owner and time of the image's. `layers` are the unpacked ones, lowest first.
pub fn restore_implied_folders(root: &Path, layers: &[PathBuf]) -> Result<(), LayerError> {
    let fail = |source| LayerError::Folder { folder: root.to_owned(), source };
    let mut implied = BTreeMap::new();
    for layer in layers {
        let folders = read(layer).map_err(fail)?;
        if !folders.is_empty() {
            implied.insert(layer.as_path(), folders);
        }
    }
    let mut all: BTreeSet<PathBuf> = implied.values().flatten().cloned().collect();
    all.insert(PathBuf::new());
    for folder in &all {
        if let Some(described) = description(folder, layers, &implied).map_err(fail)? {
            set(root, folder, &described).map_err(fail)?;
        }
    }
    Ok(())
}

pub(super) fn read(layer: &Path) -> io::Result<BTreeSet<PathBuf>> {
    let bytes = match read_own(&file(layer)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        read => read?,
    };
    let path = |name: &[u8]| PathBuf::from(OsString::from_vec(name.to_vec()));
    Ok(bytes.split(|byte| *byte == 0).map(path).collect())
}

/// Returns the attributes from the highest layer with an entry for a folder; `None` if overlayfs
/// shows those already.
fn description(
    folder: &Path,
    layers: &[PathBuf],
    implied: &BTreeMap<&Path, BTreeSet<PathBuf>>,
) -> io::Result<Option<std::fs::Metadata>> {
    // Of the root itself, the upper directory shows.
    let mut only_implied = folder.as_os_str().is_empty();
    for layer in layers.iter().rev() {
        let look = look(layer, folder)?;
        match look.found {
            Some((_, data)) if data.is_dir() => {
                if !implied.get(layer.as_path()).is_some_and(|folders| folders.contains(folder)) {
                    return Ok(Some(data).filter(|_| only_implied));
                }
                only_implied = true;
            }
            // A file: what lies below doesn't show.
            Some(_) => return Ok(None),
            None => {}
        }
        if look.hides {
            return Ok(None);
        }
    }
    Ok(None)
}

/// Sets mode and owner of a folder below a root, never through a symlink: those of the root mean
/// the container's paths, not the helper's.
fn set(root: &Path, folder: &Path, described: &std::fs::Metadata) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut fd: OwnedFd = open(root, flags, Mode::empty())?;
    for part in folder.components().filter(|part| *part != Component::CurDir) {
        let part: &OsStr = OsStr::from_bytes(part.as_os_str().as_bytes());
        fd = match openat(&fd, part, flags, Mode::empty()) {
            Err(Errno::ELOOP | Errno::ENOTDIR | Errno::ENOENT) => return Ok(()),
            opened => opened?,
        };
    }
    let (owner, group) = (Uid::from_raw(described.uid()), Gid::from_raw(described.gid()));
    // Before the mode: a change of owner clears the set-user-id bits (chown(2)).
    fchown(&fd, Some(owner), Some(group))?;
    fchmod(&fd, Mode::from_bits_truncate(described.mode() & 0o7777))?;
    if folder.as_os_str().is_empty() {
        let time = TimeSpec::new(described.mtime(), described.mtime_nsec());
        futimens(&fd, &time, &time)?;
    }
    Ok(())
}
