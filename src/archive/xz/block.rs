//! A block: its header, LZMA2 data, and the checksum of its content.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use mkpanda_lzma2::EncodeError;
use xz2::stream::{Action, Filters, LzmaOptions, Status, Stream};

use super::crc64::Crc64;

/// The length of all headers: enough for both sizes below 256 MiB.
const HEADER: usize = 20;

/// Limit below which both sizes must stay.
const TOO_LARGE: usize = 1 << 28;

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

/// Makes a block of data; fails if it is `cancelled`.
pub(super) fn encode(data: &[u8], method: Method, cancelled: &AtomicBool) -> io::Result<Block> {
    let mut bytes = vec![0; HEADER];
    let dictionary = match method {
        Method::Compressed => Dictionary::of(data.len()),
        Method::Stored => Dictionary::of(0),
    };
    match method {
        Method::Compressed => {
            mkpanda_lzma2::encode(data, &mut bytes, || !cancelled.load(Ordering::Relaxed))
                .map_err(unencoded)?;
            compare(data, &bytes[HEADER..], dictionary)?;
        }
        Method::Stored => store(data, &mut bytes),
    }
    let compressed = bytes.len() - HEADER;
    if data.len().max(compressed) >= TOO_LARGE {
        return Err(io::Error::other("too much data for one block"));
    }
    bytes[..HEADER].copy_from_slice(&header(compressed, data.len(), dictionary));
    let unpadded = (bytes.len() + size_of::<u64>()) as u64;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(&Crc64::of(data).to_le_bytes());
    Ok(Block { bytes, record: BlockRecord { unpadded, uncompressed: data.len() as u64 } })
}

fn unencoded(error: EncodeError) -> io::Error {
    match error {
        EncodeError::Cancelled => io::Error::other("not wanted any more"),
        EncodeError::TooLarge => io::Error::other("too much data for one block"),
    }
}

/// Decodes a block by liblzma and compares it with its data, before anybody relies on the encoder: 7 %
/// of the time.
fn compare(data: &[u8], encoded: &[u8], dictionary: Dictionary) -> io::Result<()> {
    let differs = || {
        let problem = "compressed data is not the same when decompressed: this is a bug of mkpanda, or \
                       a fault of the machine's memory";
        io::Error::new(io::ErrorKind::InvalidData, problem)
    };
    let mut options = LzmaOptions::new_preset(0)?;
    options.dict_size(dictionary.bytes());
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut decoder = Stream::new_raw_decoder(&filters)?;
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

fn header(compressed: usize, uncompressed: usize, dictionary: Dictionary) -> [u8; HEADER] {
    const BOTH_SIZES: u8 = 0xc0;
    const LZMA2: u8 = 0x21;
    let mut header = Vec::with_capacity(HEADER);
    header.extend_from_slice(&[(HEADER / 4 - 1).to_le_bytes()[0], BOTH_SIZES]);
    number(compressed as u64, &mut header);
    number(uncompressed as u64, &mut header);
    header.extend_from_slice(&[LZMA2, 1, dictionary.0]);
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
        compare(&data, &chunks, dictionary).unwrap();
        let longer = [&data[..], b"."].concat();
        for other in [&b"Which differs".repeat(9000)[..], &data[1..], &data[..9], &longer, b""] {
            assert!(compare(other, &chunks, dictionary).is_err());
        }
        assert!(compare(&data, &chunks[..chunks.len() - 1], dictionary).is_err());
        assert!(compare(&data, b"\xff", dictionary).is_err());
    }

    #[test]
    fn what_is_not_wanted_ends_soon() {
        let cancelled = AtomicBool::new(true);
        assert!(encode(&[0; 100], Method::Compressed, &cancelled).is_err());
    }
}
