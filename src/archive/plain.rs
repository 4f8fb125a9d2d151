//! Unpacks any tar with all that it says, as `ADD` in a Dockerfile does: plain or compressed by gzip,
//! bzip2, xz or zstd, told by its content alone; and a build context that comes as one.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::error::{ReadError, UnpackError};
use super::layer::{LayerOptions, Owners, unpack_layer};
use super::limits::Limits;
use super::overlay_form::Whiteouts;
use super::tar_block::{BLOCK, is_header};
use super::xz::XzReader;

const BUFFER: usize = 256 * 1024;

/// How many bytes of its beginning say whether something is an archive.
pub const ARCHIVE_START: usize = BLOCK;

/// Whether something that begins so is a tar or compressed.
pub fn begins_as_archive(start: &[u8]) -> bool {
    let is_tar = |block: &[u8; BLOCK]| is_header(block) || *block == [0; BLOCK];
    is_compressed(start) || start.first_chunk().is_some_and(is_tar)
}

/// Unpacks a tar into a folder, which is made if it is missing and must else be empty, for the caller,
/// to whom all its files belong: devices are left out. `start` is what the stream begins with. On an
/// error the folder holds a part, and is the caller's to remove.
pub fn unpack_plain(
    start: &[u8],
    stream: impl Read,
    folder: &Path,
    limits: &Limits,
) -> Result<(), UnpackError> {
    let content = decoder(start, BufReader::with_capacity(BUFFER, stream));
    let content = content.map_err(|error| UnpackError::from(ReadError::Stream(error)))?;
    unpack_layer(content, folder, options(Owners::Caller, limits)).map(drop)
}

/// Whether a file is a tar, be it compressed.
pub fn is_tar(path: &Path) -> io::Result<bool> {
    let Ok(mut content) = open(path)? else { return Ok(false) };
    let mut start = [0; BLOCK];
    // What doesn't decompress is a file like any other.
    Ok(content.read_exact(&mut start).is_ok() && is_header(&start))
}

/// Unpacks a tar into a folder, which is made if it is missing and must else be empty. Its files get
/// the owners that it says; with one id, these are written beside the folder, at `<folder>.owners`, as
/// [`Owners::Single`] has them. On an error the folder holds a part, and is the caller's to remove.
pub fn unpack_tar(
    path: &Path,
    folder: &Path,
    limits: &Limits,
    single_id: bool,
) -> Result<(), UnpackError> {
    let stream = |error| UnpackError::from(ReadError::Stream(error));
    let content = open(path).and_then(|opened| opened).map_err(stream)?;
    if !single_id {
        return unpack_layer(content, folder, options(Owners::Mapped, limits)).map(drop);
    }
    let file =
        fs_err::File::create(folder.with_extension("owners")).map_err(UnpackError::Record)?;
    let mut record = BufWriter::new(file);
    unpack_layer(content, folder, options(Owners::Single(&mut record), limits))?;
    record.flush().map_err(UnpackError::Record)
}

fn options<'o>(owners: Owners<'o>, limits: &Limits) -> LayerOptions<'o> {
    // A plain archive has none.
    let whiteouts = Whiteouts::Devices;
    LayerOptions { is_plain: true, limits: *limits, owners, whiteouts }
}

/// A file's content, decompressed. The inner error is that of a decoder that takes none of it.
fn open(path: &Path) -> io::Result<io::Result<Box<dyn Read>>> {
    let mut file: File = fs_err::File::open(path)?.into_parts().0;
    let mut start = Vec::with_capacity(8);
    (&mut file).take(8).read_to_end(&mut start)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(decoder(&start, BufReader::with_capacity(BUFFER, file)))
}

fn is_compressed(start: &[u8]) -> bool {
    let magics: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    magics.iter().any(|magic| start.starts_with(magic))
}

fn decoder<'i>(start: &[u8], input: impl BufRead + 'i) -> io::Result<Box<dyn Read + 'i>> {
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
        [b'B', b'Z', b'h', ..] => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(XzReader::new(input)?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => Box::new(input),
    })
}
