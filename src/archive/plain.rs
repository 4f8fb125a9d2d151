//! Unpacking of any tar with all its attributes, as `ADD` in a Dockerfile does: plain or compressed
//! by gzip, bzip2, xz or zstd, detected by content; and of build contexts in this form.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::compression::{Compression, decompressed_with, read_start, resumed};
use super::error::{ReadError, UnpackError};
use super::layer::{LayerOptions, UnpackedOwners, unpack_layer};
use super::limits::ArchiveLimits;
use super::overlay_form::Whiteouts;
use super::path::EntryPath;
use super::tar_block::{BLOCK, begins_tar, is_header};

const BUFFER: usize = 256 * 1024;

/// Number of bytes needed to detect an archive.
pub const ARCHIVE_START: usize = BLOCK;

/// True if something that begins so is a tar or compressed.
pub fn begins_as_archive(start: &[u8]) -> bool {
    Compression::of(start) != Compression::None || begins_tar(start)
}

/// Unpacks a tar into a folder, which is made if missing and must otherwise be empty. All files
/// belong to the caller, and devices are left out. `start` is the beginning of the stream. After an
/// error the folder has partial content, which the caller must remove.
pub fn unpack_plain(
    start: &[u8],
    stream: impl Read,
    folder: &Path,
    limits: &ArchiveLimits,
) -> Result<(), UnpackError> {
    let content = Compression::of(start)
        .reader_with(BufReader::with_capacity(BUFFER, stream), limits.max_threads);
    let content = content.map_err(|error| UnpackError::from(ReadError::Stream(error)))?;
    unpack_layer(content, folder, options(UnpackedOwners::Caller, limits)).map(drop)
}

/// True if a file is a tar, be it compressed.
pub fn is_tar(path: &Path) -> io::Result<bool> {
    let mut file = fs_err::File::open(path)?;
    let beginning = read_start(&mut file)?;
    // One thread: a block is all that is read.
    let content = Compression::of(&beginning).reader_with(resumed(beginning, file), 1);
    let Ok(mut content) = content else { return Ok(false) };
    let mut start = [0; BLOCK];
    // Data that cannot be decompressed is a plain file.
    Ok(content.read_exact(&mut start).is_ok() && is_header(&start))
}

/// Unpacks a tar into a folder, which is made if missing and must otherwise be empty. Files get the
/// archive's owners; with a single id, owners are written beside the folder, at `<folder>.owners`,
/// in the format of [`UnpackedOwners::Single`]. Returns the folders without an entry. After an error the
/// folder has partial content, which the caller must remove.
pub fn unpack_tar(
    path: &Path,
    folder: &Path,
    limits: &ArchiveLimits,
    single_id: bool,
) -> Result<Vec<EntryPath>, UnpackError> {
    let stream = |error| UnpackError::from(ReadError::Stream(error));
    let open = |file| decompressed_with(file, limits.max_threads);
    let content = fs_err::File::open(path).and_then(open).map_err(stream)?;
    if !single_id {
        let summary = unpack_layer(content, folder, options(UnpackedOwners::Mapped, limits))?;
        return Ok(summary.implied_folders);
    }
    let file =
        fs_err::File::create(folder.with_extension("owners")).map_err(UnpackError::Record)?;
    let mut record = BufWriter::new(file);
    let summary =
        unpack_layer(content, folder, options(UnpackedOwners::Single(&mut record), limits))?;
    record.flush().map_err(UnpackError::Record)?;
    Ok(summary.implied_folders)
}

fn options<'o>(owners: UnpackedOwners<'o>, limits: &ArchiveLimits) -> LayerOptions<'o> {
    // A plain archive has none.
    let whiteouts = Whiteouts::Devices;
    LayerOptions { is_plain: true, limits: *limits, owners, whiteouts }
}
