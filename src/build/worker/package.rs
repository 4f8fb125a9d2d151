//! The package's folder as a build sees it: a copy with fixed times and modes.
//!
//! A checkout gives files the current time and modes of the caller's umask; a build that writes
//! these into its result would not be reproducible. On a filesystem with reflinks (btrfs, xfs), no
//! data is copied. Small folders are copied into memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::base::confinement::open_listed;
use crate::base::remedy::RAISE_UNPACKED;
use crate::base::times::set_times;
use crate::container::within_root::locate;
use crate::runner::job::JobFailure;
use crate::runner::workspace::Workspace;

/// Largest folder that is copied into memory, in bytes.
const LARGEST_IN_MEMORY: u64 = 1 << 20;

/// Copies the folder of a package; returns the path of the copy.
pub(super) fn copy(
    workspace: &Workspace<'_>,
    folder: &Path,
    source_date_epoch: u64,
) -> Result<PathBuf, JobFailure> {
    let from = workspace.in_view(folder);
    let failed = |error: io::Error| {
        JobFailure::new(format!("the package's folder cannot be copied: {error}"))
    };
    let entries = list(&from).map_err(failed)?;
    let bytes = entries.iter().fold(0, |sum: u64, entry| sum.saturating_add(entry.bytes));
    let most = workspace.folders().limits.max_bytes;
    if bytes > most {
        // A hole of a terabyte takes no space in a tree, and much in a copy.
        let largest = entries.iter().max_by_key(|entry| entry.bytes).map(|entry| &entry.path);
        let message = format!(
            "the files of the package's folder have {bytes} bytes, {most} at most are copied; the largest one is {}",
            largest.map(|path| path.display().to_string()).unwrap_or_default()
        );
        return Err(JobFailure::new(message).with_hint(RAISE_UNPACKED.to_owned()));
    }
    let to = if bytes <= LARGEST_IN_MEMORY {
        workspace.view().path().join("package")
    } else {
        workspace.scratch("package")
    };
    copy_entries(&from, &entries, &to)
        .and_then(|()| set_times(&to, source_date_epoch))
        .map_err(failed)?;
    Ok(to)
}

/// Path of an entry of the copy, resolved below it.
pub(super) fn entry(copy: &Path, name: &str) -> Result<PathBuf, JobFailure> {
    let place = locate(copy, Path::new(name), false).map_err(JobFailure::of)?;
    if fs_err::symlink_metadata(&place).is_err() {
        return Err(JobFailure::new(format!(
            "{name} of the package is a symbolic link that leads out of the package's folder, or to nothing"
        )));
    }
    Ok(place)
}

/// An entry of a package's folder.
struct PackedEntry {
    path: PathBuf,
    kind: PackedKind,
    bytes: u64,
}

enum PackedKind {
    Folder,
    File,
    Link,
}

fn list(from: &Path) -> io::Result<Vec<PackedEntry>> {
    let mut entries = Vec::new();
    // The package's folder itself may be a link; the view contains its target.
    for entry in WalkDir::new(from).min_depth(1) {
        let entry = entry?;
        let path = entry.path().strip_prefix(from).map_err(io::Error::other)?.to_owned();
        let found = entry.file_type();
        let (kind, bytes) = if found.is_dir() {
            (PackedKind::Folder, 0)
        } else if found.is_symlink() {
            (PackedKind::Link, 0)
        } else if found.is_file() {
            (PackedKind::File, entry.metadata()?.len())
        } else {
            let message = format!("{} is neither a file nor a folder", path.display());
            return Err(io::Error::other(message));
        };
        entries.push(PackedEntry { path, kind, bytes });
    }
    Ok(entries)
}

fn copy_entries(from: &Path, entries: &[PackedEntry], to: &Path) -> io::Result<()> {
    fs_err::create_dir(to)?;
    let top = fs_err::File::open(from)?.into_parts().0;
    for PackedEntry { path, kind, .. } in entries {
        let place = to.join(path);
        match kind {
            PackedKind::Folder => fs_err::create_dir(&place)?,
            PackedKind::Link => {
                fs_err::os::unix::fs::symlink(fs_err::read_link(from.join(path))?, &place)?;
            }
            // Without following links of the folder, which someone may change between listing and
            // copying.
            PackedKind::File => copy_file(open_listed(&top, path)?, &place)?,
        }
    }
    Ok(())
}

fn copy_file(mut from: File, to: &Path) -> io::Result<()> {
    // Git keeps this bit of a file's mode and no other.
    let executable = if from.metadata()?.permissions().mode() & 0o111 == 0 { 0 } else { 0o111 };
    let mut copy = fs_err::OpenOptions::new().write(true).create_new(true).open(to)?;
    // Within the kernel, and without copying where the filesystem shares blocks.
    io::copy(&mut from, copy.file_mut())?;
    copy.set_permissions(std::fs::Permissions::from_mode(0o644 | executable))
}
