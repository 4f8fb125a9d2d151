//! Compressions of archives and layers: detected by content alone, and decompressed in the same way for
//! sources, `ADD`, build contexts, images and their layers.
//!
//! | compression | what is read |
//! | --- | --- |
//! | gzip | all members, and zeros behind them, as `gzip(1)` does (RFC 1952 2.2) |
//! | bzip2 | all streams; anything else behind them is passed over, as `bzip2(1)` does |
//! | xz | all streams and their padding, as [`XzReader`] does |
//! | zstd | all frames; skippable ones anywhere are skipped (RFC 8878 3.1.2), `pzstd` begins with one |
//!
//! A stream that ends within a member is an error, and so is any other data behind the last member.
//! A decoder holds 512 MiB at the most (xz), and 128 MiB for zstd; the caller limits the output.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;

use super::members::{ArchiveMembers, DecoderState, Peeked};
use super::xz::XzReader;

const BUFFER: usize = 256 * 1024;

/// Length of a bzip2 stream's magic number, in bytes.
const BZIP2_MAGIC: usize = 4;

/// A compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Nothing is compressed.
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// bzip2, possibly of several streams.
    Bzip2,
    /// XZ, possibly of several streams.
    Xz,
    /// Zstandard, possibly of several frames.
    Zstd,
}

impl Compression {
    /// Number of bytes at the beginning of a stream that suffice to detect any compression.
    pub const START: usize = 10;

    /// Detects the compression of a stream by its first bytes.
    pub fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            // A header, and a block or the end: a tar may well begin with the name `BZh1`.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59, ..]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90, ..] => {
                Self::Bzip2
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // A frame, or a skippable one.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// The compression in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "not compressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// Returns a reader of the decompressed stream that reads the input to its end, with a thread
    /// on each core where the compression allows several.
    pub fn reader<'r>(self, input: impl BufRead + 'r) -> io::Result<Box<dyn Read + 'r>> {
        self.reader_with(input, u32::MAX)
    }

    /// Like [`Compression::reader`], with a limit of threads.
    pub fn reader_with<'r>(
        self,
        input: impl BufRead + 'r,
        threads: u32,
    ) -> io::Result<Box<dyn Read + 'r>> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(ArchiveMembers::new(GzDecoder::new(input), next_gzip)),
            Self::Bzip2 => {
                // An empty start, so that the first stream has the type of the following ones.
                let input = Cursor::new(Vec::new()).chain(input);
                Box::new(ArchiveMembers::new(BzDecoder::new(input), next_bzip2))
            }
            Self::Xz => Box::new(XzReader::new(input, threads)?),
            // libzstd refuses a window above 128 MiB by itself (`ZSTD_WINDOWLOG_LIMIT_DEFAULT`).
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        })
    }
}

/// Reads the bytes needed to detect the compression of a stream; fewer only at the end of the
/// stream.
pub fn read_start(input: impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(Compression::START);
    input.take(Compression::START as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Decompresses a stream, detected by its first bytes, to its end.
pub fn decompressed<'r>(input: impl Read + 'r) -> io::Result<Box<dyn Read + 'r>> {
    decompressed_with(input, u32::MAX)
}

/// Like [`decompressed`], with a limit of threads.
pub fn decompressed_with<'r>(
    mut input: impl Read + 'r,
    threads: u32,
) -> io::Result<Box<dyn Read + 'r>> {
    let start = read_start(&mut input)?;
    Compression::of(&start).reader_with(resumed(start, input), threads)
}

/// A stream of which the beginning has been read.
pub(super) fn resumed<R: Read>(start: Vec<u8>, input: R) -> impl BufRead {
    BufReader::with_capacity(BUFFER, Cursor::new(start).chain(input))
}

fn next_gzip<R: BufRead>(member: GzDecoder<R>) -> io::Result<DecoderState<GzDecoder<R>>> {
    let mut input = member.into_inner();
    loop {
        let rest = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            rest => rest?,
        };
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        if rest.is_empty() {
            return Ok(DecoderState::Ended);
        }
        let is_padding = zeros == rest.len();
        input.consume(zeros);
        if !is_padding {
            return Ok(DecoderState::Within(GzDecoder::new(input)));
        }
    }
}

fn next_bzip2<R: BufRead>(
    stream: BzDecoder<Peeked<R>>,
) -> io::Result<DecoderState<BzDecoder<Peeked<R>>>> {
    let mut input = stream.into_inner();
    let mut start = Vec::with_capacity(BZIP2_MAGIC);
    input.by_ref().take(BZIP2_MAGIC as u64).read_to_end(&mut start)?;
    // The peeked start is used up: the stream was longer.
    let (_, mut input) = input.into_inner();
    if matches!(start.as_slice(), [b'B', b'Z', b'h', b'1'..=b'9']) {
        return Ok(DecoderState::Within(BzDecoder::new(Cursor::new(start).chain(input))));
    }
    // Read to the end, so that a digest of the stream covers all of it.
    io::copy(&mut input, &mut io::sink())?;
    Ok(DecoderState::Ended)
}
