//! Unpacking of packages.

use std::io::Read;
use std::path::Path;

use super::destination::{EntryMetadata, UnpackFolder};
use super::error::UnpackError;
use super::folders::UnpackRules;
use super::limits::ArchiveLimits;
use super::package_entry::{EntryKind, PackageEntry};
use super::pax::CAPABILITY;
use super::read::PackageReader;
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::tap::Tap;

/// Summary of an unpacked archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnpackSummary {
    /// Number of unpacked entries.
    pub entries: u64,
    /// Number of bytes in all files; hard links count once.
    pub file_bytes: u64,
    /// Number of file capabilities (the only attributes of packages) that could not be set: the filesystem
    /// does not support them, or the caller lacks the privilege.
    pub attributes_lost: u64,
}

/// Unpacks a package's `tar.xz` into a folder, which is made if missing and must otherwise be
/// empty. Everything belongs to uid and gid 0 if the caller may change owners, else to the caller.
/// After an error the folder has a part of the package, which the caller must remove.
pub fn unpack_package(
    package: impl Read,
    folder: &Path,
    limits: &ArchiveLimits,
) -> Result<UnpackSummary, UnpackError> {
    unpack(package, folder, limits, None)
}

/// Callback for each unpacked entry, with the digest of a file's content.
pub type Watcher<'a> = dyn FnMut(PackageEntry, Option<Sha256Sum>) + 'a;

/// Unpacks as [`unpack_package`] does, with a callback for each entry.
pub fn unpack_package_watched(
    package: impl Read,
    folder: &Path,
    limits: &ArchiveLimits,
    watcher: &mut Watcher<'_>,
) -> Result<UnpackSummary, UnpackError> {
    unpack(package, folder, limits, Some(watcher))
}

fn unpack(
    package: impl Read,
    folder: &Path,
    limits: &ArchiveLimits,
    mut watcher: Option<&mut Watcher<'_>>,
) -> Result<UnpackSummary, UnpackError> {
    let mut reader = PackageReader::new(package, limits)?;
    let mut destination = UnpackFolder::open(folder, UnpackRules::Strict, limits)?;
    let owner = destination.can_give_to_root()?.then_some((0, 0));
    let mut summary = UnpackSummary::default();
    while let Some(entry) = reader.next_entry()? {
        let path = &entry.path;
        let capability = entry.attributes.capability.clone();
        let attributes = capability.map(|value| (CAPABILITY.to_vec(), value));
        let with = EntryMetadata {
            mode: entry.attributes.mode,
            mtime: entry.attributes.mtime,
            owner,
            attributes: attributes.as_slice(),
        };
        let mut sum = None;
        match &entry.kind {
            EntryKind::Directory => destination.directory(path, &with)?,
            EntryKind::Symlink { target } => destination.symlink(path, target, &with)?,
            EntryKind::HardLink { target } => destination.hard_link(path, target, &with)?,
            EntryKind::Fifo => destination.fifo(path, &with)?,
            EntryKind::File { size } => {
                if watcher.is_some() {
                    let mut hasher = Sha256::new();
                    let summed = Tap::new(&mut reader, |bytes: &[u8]| hasher.update(bytes));
                    destination.file(path, *size, summed, &with)?;
                    sum = Some(Sha256Sum::from_hasher(hasher));
                } else {
                    destination.file(path, *size, &mut reader, &with)?;
                }
                summary.file_bytes += size;
            }
        }
        summary.entries += 1;
        if let Some(watcher) = &mut watcher {
            watcher(entry, sum);
        }
    }
    summary.attributes_lost = destination.attributes_lost;
    destination.finish()?;
    Ok(summary)
}
