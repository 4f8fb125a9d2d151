//! A block: its header, LZMA2 data, and the checksum of its content.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mkpanda_lzma2::{EncodeError, Operations, Piece};
use xz2::stream::{Action, Filters, LzmaOptions, Status, Stream};

use super::crc64::Crc64;
use super::level::CompressionLevel;
use super::machine_code;

/// The length of all headers: enough for both sizes below 256 MiB.
pub(super) const HEADER: usize = 20;

/// Limit below which both sizes must stay.
const TOO_LARGE: usize = 1 << 28;

/// Preset of liblzma for [`CompressionLevel::Fast`], and its dictionary.
const FAST_PRESET: u32 = 1;
const FAST_DICTIONARY: usize = 1 << 20;

/// Preset of liblzma for [`CompressionLevel::Small`]: 9, extreme.
const SMALL_PRESET: u32 = 9 | 1 << 31;

/// Number of bytes that liblzma compresses between two checks for cancellation: some 30 ms.
const STEP: usize = 64 << 10;

/// Number of bytes that are decoded at a time, to compare them.
const COMPARED: usize = 64 << 10;

/// Upper limit of an LZMA2 chunk's stored data.
const CHUNK: usize = 64 << 10;

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

/// Makes a block of data, compressed at a level; fails if it is `cancelled`.
pub(super) fn encode(
    data: &[u8],
    method: Method,
    level: CompressionLevel,
    cancelled: &AtomicBool,
) -> io::Result<Block> {
    let mut bytes = vec![0; HEADER];
    let mut coding = Coding::of(0);
    match method {
        Method::Compressed => {
            coding = compress(data, level, &mut bytes, cancelled)?;
            compare(data, &bytes[HEADER..], coding)?;
        }
        Method::Stored => store(data, &mut bytes),
    }
    finish(data, bytes, coding)
}

/// Makes a block of data whose pieces were in a block with known operations; fails if it is
/// `cancelled`.
pub(super) fn compress_again(
    data: &[u8],
    operations: &Operations,
    pieces: &[Piece],
    cancelled: &AtomicBool,
) -> io::Result<Block> {
    let mut bytes = vec![0; HEADER];
    let is_wanted = || !cancelled.load(Ordering::Relaxed);
    mkpanda_lzma2::encode_again(data, operations, pieces, &mut bytes, is_wanted)
        .map_err(unencoded)?;
    let coding = Coding::of(data.len());
    compare(data, &bytes[HEADER..], coding)?;
    finish(data, bytes, coding)
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

/// Filters of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    dictionary: Dictionary,
    /// True if x86 code is filtered before LZMA2.
    is_filtered: bool,
}

impl Coding {
    /// Coding of a block of this size, all of which is its dictionary.
    pub(super) fn of(size: usize) -> Self {
        Self { dictionary: Dictionary::of(size), is_filtered: false }
    }

    /// The filters, for liblzma.
    fn filters(self, options: &mut LzmaOptions) -> Filters {
        options.dict_size(self.dictionary.bytes());
        let mut filters = Filters::new();
        if self.is_filtered {
            filters.x86();
        }
        filters.lzma2(options);
        filters
    }
}

fn compress(
    data: &[u8],
    level: CompressionLevel,
    out: &mut Vec<u8>,
    cancelled: &AtomicBool,
) -> io::Result<Coding> {
    let mut coding = Coding::of(data.len());
    let preset = match level {
        CompressionLevel::Default => {
            mkpanda_lzma2::encode(data, out, || !cancelled.load(Ordering::Relaxed))
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
        EncodeError::Pieces => io::Error::other("the pieces of a block are not in order"),
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
    let mut options = LzmaOptions::new_preset(0)?;
    let mut decoder = Stream::new_raw_decoder(&coding.filters(&mut options))?;
    let mut piece = Vec::with_capacity(COMPARED);
    let mut rest = data;
    loop {
        piece.clear();
        let taken = usize::try_from(decoder.total_in()).unwrap_or(usize::MAX);
        let input = encoded.get(taken..).unwrap_or_default();
        let Ok(status) = decoder.process_vec(input, &mut piece, Action::Run) else {
            return Err(differs());
        };
        rest = rest.strip_prefix(&piece[..]).ok_or_else(differs)?;
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(()),
            Status::Ok if !piece.is_empty() => {}
            _ => return Err(differs()),
        }
    }
}

fn store(data: &[u8], out: &mut Vec<u8>) {
    const FIRST: u8 = 1;
    const NEXT: u8 = 2;
    out.reserve_exact(data.len() + data.len().div_ceil(CHUNK) * 3 + 16);
    for (number, chunk) in data.chunks(CHUNK).enumerate() {
        out.push(if number == 0 { FIRST } else { NEXT });
        let length = u16::try_from(chunk.len() - 1).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(chunk);
    }
    out.push(0);
}

/// Size of a dictionary, as a block's header has it: 0 is 4 KiB, 1 is 6 KiB, 2 is 8 KiB, 3 is 12 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dictionary(u8);

impl Dictionary {
    /// The smallest dictionary that holds as many bytes.
    fn of(data: usize) -> Self {
        let enough = (0..40).find(|code| Self(*code).bytes() as usize >= data);
        Self(enough.unwrap_or(40))
    }

    fn bytes(self) -> u32 {
        match self.0 {
            0..40 => (2 | u32::from(self.0 & 1)) << (self.0 / 2 + 11),
            _ => u32::MAX,
        }
    }
}

pub(super) fn header(compressed: usize, uncompressed: usize, coding: Coding) -> [u8; HEADER] {
    const BOTH_SIZES: u8 = 0xc0;
    const X86: u8 = 4;
    const LZMA2: u8 = 0x21;
    // The number of filters less one, too.
    let flags = BOTH_SIZES | u8::from(coding.is_filtered);
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&[(HEADER / 4 - 1).to_le_bytes()[0], flags]);
    number(compressed as u64, &mut header);
    number(uncompressed as u64, &mut header);
    if coding.is_filtered {
        header.extend_from_slice(&[X86, 0]);
    }
    header.extend_from_slice(&[LZMA2, 1, coding.dictionary.0]);
    header.resize(HEADER - 4, 0);
    let mut whole = [0; HEADER];
    whole[..HEADER - 4].copy_from_slice(&header);
    whole[HEADER - 4..].copy_from_slice(&crc32(&header));
    whole
}

/// Appends a number as the format writes it: seven bits a byte, the lowest first.
pub(super) fn number(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The CRC-32 of bytes, as the format writes it.
pub(super) fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_no_larger_than_the_data_needs() {
        for (size, wanted) in [
            (0, 4 << 10),
            ((4 << 10) + 1, 6 << 10),
            ((6 << 10) + 1, 8 << 10),
            (1 << 20, 1 << 20),
            (20 << 20, 24 << 20),
            (1 << 32, u32::MAX),
        ] {
            assert_eq!(Dictionary::of(size).bytes(), wanted, "{size}");
        }
    }

    #[test]
    fn a_block_that_differs_from_its_data_is_refused() {
        let mut chunks = Vec::new();
        let data = b"which differs".repeat(9000);
        mkpanda_lzma2::encode(&data, &mut chunks, || true).unwrap();
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
            assert!(encode(&[0; 100], Method::Compressed, level, &cancelled).is_err());
        }
    }
}
