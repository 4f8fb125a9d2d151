//! Packs a folder: the same tree gives the same bytes (docs/format.md, "Package archives").

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;

use super::error::PackError;
use super::limits::ArchiveLimits;
use super::scan::{FolderEntry, FolderEntryKind, Inode, scan};
use super::tar_write::{PackSummary, TarWriter};
use super::xz::{CompressionLevel, XzWriter};
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::tap::Tap;

/// Options for packing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackOptions {
    /// The latest time that an entry may have, in seconds since 1970.
    pub source_date_epoch: u64,
    /// Number of compressing threads, without effect on the bytes.
    pub threads: u32,
    /// Level of compression, without effect on the contents.
    pub level: CompressionLevel,
    /// Limits when the archive is unpacked. Holes of sparse files count.
    pub limits: ArchiveLimits,
}

/// Writes a folder as tar: entries `./…` in byte order of their paths, of hard links the first as
/// the file, sparse files whole. Symlinks aren't followed. Of extended attributes only file
/// capabilities are kept. Sockets and devices are an error, and so is a file that changes meanwhile.
pub fn pack_directory(
    folder: &Path,
    out: impl Write,
    options: &PackOptions,
) -> Result<PackSummary, PackError> {
    let (found, _) = scan(folder, &options.limits)?;
    let (_, summary) = write_all(folder, &found, out, options)?;
    Ok(summary)
}

/// Writes a folder as a package: [`pack_directory`]'s tar, compressed by [`XzWriter`]. Returns the digest
/// of the tar as well, which stays the same if another version compresses differently.
pub fn pack_package(
    folder: &Path,
    out: impl Write,
    options: &PackOptions,
) -> Result<(PackSummary, Sha256Sum), PackError> {
    let (found, outline) = scan(folder, &options.limits)?;
    let bytes = outline.bytes;
    let max_bytes = options.limits.max_bytes;
    if bytes > max_bytes {
        return Err(PackError::TooLarge { bytes, max_bytes });
    }
    // The size decides how the last blocks are cut, so it is known beforehand in every run.
    let out = XzWriter::new(out, options.threads, Some(bytes)).map_err(PackError::Output)?;
    let out = out.at_level(options.level).with_regions(outline.large);
    let mut sum = Sha256::new();
    let out = Tap::new(out, |bytes: &[u8]| sum.update(bytes));
    let (out, summary) = write_all(folder, &found, out, options)?;
    debug_assert_eq!(summary.uncompressed_bytes, bytes, "the dictionary depends on the size");
    out.into_inner().finish().and_then(|mut out| out.flush()).map_err(PackError::Output)?;
    Ok((summary, Sha256Sum::from_hasher(sum)))
}

fn write_all<W: Write>(
    folder: &Path,
    found: &[FolderEntry],
    out: W,
    options: &PackOptions,
) -> Result<(W, PackSummary), PackError> {
    let mut tar = TarWriter::new(out, options.source_date_epoch);
    for FolderEntry { path, kind, attributes } in found {
        match kind {
            FolderEntryKind::Directory => tar.directory(path, attributes)?,
            FolderEntryKind::Symlink(target) => tar.symlink(path, target, attributes)?,
            FolderEntryKind::HardLink(file) => tar.hard_link(path, file, attributes)?,
            FolderEntryKind::Fifo => tar.fifo(path, attributes)?,
            FolderEntryKind::File { size, inode } => {
                let changed = || PackError::Changed { path: path.clone(), size: *size };
                let opened =
                    open(&folder.join(path.as_path()), *inode).map_err(PackError::Input)?;
                tar.file(path, *size, opened.ok_or_else(changed)?, attributes)?;
            }
        }
    }
    tar.finish()
}

/// Opens the file found by the scan; `None` if another file has replaced the first.
pub(super) fn open(path: &Path, inode: Inode) -> io::Result<Option<fs_err::File>> {
    let file = fs_err::OpenOptions::new()
        .read(true)
        // A FIFO that took the file's place must not block.
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    Ok((metadata.is_file() && (metadata.dev(), metadata.ino()) == inode).then_some(file))
}
