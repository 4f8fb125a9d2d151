//! A block: its header, LZMA2 data, and the checksum of its content.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use mkpanda_lzma2::{Decoded, EncodeError, Piece};
use xz2::stream::{Action, LzmaOptions, Status, Stream};

use super::coding::{Coding, Dictionary, HEADER, header};
use super::crc64::Crc64;
use super::decoding::Decoding;
use super::level::CompressionLevel;
use super::machine_code;

/// Limit below which both sizes must stay.
const TOO_LARGE: usize = 1 << 28;

/// Preset of liblzma for [`CompressionLevel::Fast`], and its dictionary.
const FAST_PRESET: u32 = 1;
const FAST_DICTIONARY: usize = 1 << 20;

/// Preset of liblzma for [`CompressionLevel::Small`]: 9, extreme.
const SMALL_PRESET: u32 = 9 | 1 << 31;

/// Number of bytes that liblzma compresses between two checks for cancellation: some 30 ms.
const STEP: usize = 64 << 10;

/// Encoding of a block's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// Compressed, with all of the block as dictionary.
    Compressed,
    /// Uncompressed, in chunks.
    Stored,
}

/// Record of a block in a stream's index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRecord {
    /// Size of the block without the padding before its checksum, in bytes.
    pub unpadded: u64,
    /// Size of the content in bytes.
    pub uncompressed: u64,
}

impl BlockRecord {
    /// Size of the block in bytes.
    pub fn padded(&self) -> u64 {
        self.unpadded.next_multiple_of(4)
    }
}

/// A block as it stands in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// All bytes of the block.
    pub bytes: Vec<u8>,
    /// Record for the index.
    pub record: BlockRecord,
}

/// Makes a block of data, compressed at a level; fails if it is `cancelled`. Regions are of use at the
/// default level.
pub(super) fn encode(
    data: &[u8],
    regions: &[Range<usize>],
    method: Method,
    level: CompressionLevel,
    cancelled: &AtomicBool,
) -> io::Result<Block> {
    let mut bytes = vec![0; HEADER];
    let mut coding = Coding::of(0);
    match method {
        Method::Compressed => {
            coding = compress(data, regions, level, &mut bytes, cancelled)?;
            compare(data, &bytes[HEADER..], coding)?;
        }
        Method::Stored => mkpanda_lzma2::store(data, &mut bytes),
    }
    finish(data, bytes, coding)
}

/// Makes a block of data whose pieces are in a block that was decoded from `chunks`; fails if it is
/// `cancelled`. `None` if regions of the old block can't be copied.
pub(super) fn compress_again(
    data: &[u8],
    old: &Decoded,
    chunks: &[u8],
    pieces: &[Piece],
    cancelled: &AtomicBool,
) -> io::Result<Option<Block>> {
    let mut bytes = vec![0; HEADER];
    let is_wanted = || !cancelled.load(Ordering::Relaxed);
    let copied = match mkpanda_lzma2::encode_again(data, old, chunks, pieces, &mut bytes, is_wanted)
    {
        Ok(copied) => copied,
        Err(EncodeError::Region) => return Ok(None),
        Err(error) => return Err(unencoded(error)),
    };
    let coding = Coding::of(data.len());
    if copied.is_empty() {
        compare(data, &bytes[HEADER..], coding)?;
    } else {
        // Regions were decoded where they stood alone: what is around them is left to compare.
        let stored = mkpanda_lzma2::with_stored_regions(data, &bytes[HEADER..], &copied);
        compare(data, &stored, coding)?;
    }
    finish(data, bytes, coding).map(Some)
}

/// Completes the bytes of a block, which have room for the header.
fn finish(data: &[u8], mut bytes: Vec<u8>, coding: Coding) -> io::Result<Block> {
    let compressed = bytes.len() - HEADER;
    if data.len().max(compressed) >= TOO_LARGE {
        return Err(io::Error::other("too much data for one block"));
    }
    bytes[..HEADER].copy_from_slice(&header(compressed, data.len(), coding));
    let unpadded = (bytes.len() + size_of::<u64>()) as u64;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&Crc64::of(data).to_le_bytes());
    Ok(Block { bytes, record: BlockRecord { unpadded, uncompressed: data.len() as u64 } })
}

fn compress(
    data: &[u8],
    regions: &[Range<usize>],
    level: CompressionLevel,
    out: &mut Vec<u8>,
    cancelled: &AtomicBool,
) -> io::Result<Coding> {
    let mut coding = Coding::of(data.len());
    let preset = match level {
        CompressionLevel::Default => {
            mkpanda_lzma2::encode(data, regions, out, || !cancelled.load(Ordering::Relaxed))
                .map_err(unencoded)?;
            return Ok(coding);
        }
        CompressionLevel::Fast => {
            coding.dictionary = Dictionary::of(data.len().min(FAST_DICTIONARY));
            FAST_PRESET
        }
        CompressionLevel::Small => {
            coding.is_filtered = machine_code::is_mostly_x86(data);
            SMALL_PRESET
        }
    };
    let mut options = LzmaOptions::new_preset(preset)?;
    let mut stream = Stream::new_raw_encoder(&coding.filters(&mut options))?;
    for mut step in data.chunks(STEP) {
        if cancelled.load(Ordering::Relaxed) {
            return Err(unencoded(EncodeError::Cancelled));
        }
        while !step.is_empty() {
            out.reserve(STEP);
            let before = stream.total_in();
            stream.process_vec(step, out, Action::Run)?;
            let taken = usize::try_from(stream.total_in() - before).unwrap_or(usize::MAX);
            step = &step[taken.min(step.len())..];
        }
    }
    loop {
        out.reserve(STEP);
        if matches!(stream.process_vec(&[], out, Action::Finish)?, Status::StreamEnd) {
            return Ok(coding);
        }
    }
}

fn unencoded(error: EncodeError) -> io::Error {
    match error {
        EncodeError::Cancelled => io::Error::other("not wanted any more"),
        EncodeError::TooLarge => io::Error::other("too much data for one block"),
        EncodeError::Pieces | EncodeError::Region => {
            io::Error::other("the pieces of a block are not in order")
        }
    }
}

/// Decodes an unfiltered block by liblzma.
pub(super) fn decompress(chunks: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(0)?;
    let mut decoder = Stream::new_raw_decoder(&Coding::of(size).filters(&mut options))?;
    // A byte more shows a block that is longer than its record says.
    let mut data = Vec::with_capacity(size + 1);
    decoder.process_vec(chunks, &mut data, Action::Finish)?;
    Ok(data)
}

/// Decodes a block by liblzma and compares it with its data, before anybody relies on the encoder: 7 %
/// of the time.
fn compare(data: &[u8], encoded: &[u8], coding: Coding) -> io::Result<()> {
    let differs = || {
        let problem = "compressed data is not the same when decompressed: this is a bug of mkpanda, or \
                       a fault of the machine's memory";
        io::Error::new(io::ErrorKind::InvalidData, problem)
    };
    let mut decoding = Decoding::new(encoded, coding)?;
    let mut rest = data;
    while !rest.is_empty() {
        let behind = decoding.next(rest.len()).and_then(|bytes| rest.strip_prefix(bytes));
        rest = behind.ok_or_else(differs)?;
    }
    if decoding.is_ended() { Ok(()) } else { Err(differs()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_that_differs_from_its_data_is_refused() {
        let mut chunks = Vec::new();
        let data = b"which differs".repeat(9000);
        mkpanda_lzma2::encode(&data, &[], &mut chunks, || true).unwrap();
        let dictionary = Dictionary::of(data.len());
        let coding = Coding { dictionary, is_filtered: false };
        compare(&data, &chunks, coding).unwrap();
        let longer = [&data[..], b"."].concat();
        for other in [&b"Which differs".repeat(9000)[..], &data[1..], &data[..9], &longer, b""] {
            assert!(compare(other, &chunks, coding).is_err());
        }
        assert!(compare(&data, &chunks[..chunks.len() - 1], coding).is_err());
        assert!(compare(&data, b"\xff", coding).is_err());
    }

    #[test]
    fn what_is_not_wanted_ends_soon() {
        let cancelled = AtomicBool::new(true);
        for level in [CompressionLevel::Fast, CompressionLevel::Default] {
            assert!(encode(&[0; 100], &[], Method::Compressed, level, &cancelled).is_err());
        }
    }
}
