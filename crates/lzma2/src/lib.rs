//! An LZMA2 encoder in safe Rust: one block of data at a time, the same bytes for the same data; and a
//! decoder of its blocks, whose matches another block can take over.
//!
//! ```text
//! lib            a block as LZMA2 chunks
//! match_table    for each position the longest match before it, by sorting
//! bucket         sorts the positions that begin with the same two bytes
//! lists          parts what of a bucket fits into the cache
//! item           a position under sorting
//! candidates     matches at a position: the table's, and nearer ones that are shorter
//! parser         the cheapest sequence of operations through them
//! model          the adaptive probabilities of LZMA, their prices, and the coding of operations
//! source         an operation, and the source of its bytes
//! lengths        the part of the model that codes lengths
//! bit_trees      numbers as bits with a probability each
//! range_coder    the arithmetic coder, and the price of a bit
//!
//! decoder        a block's content and its operations, from LZMA2 chunks of this encoder
//! decode_model   decoding of operations
//! range_decoder  the decoder of bits
//! operations     operations without their data
//! guide          operations for a block of which pieces are known, and matches of the rest
//! ```
//!
//! Matches are found by a radix sort of all positions of the block, an idea published with
//! fast-lzma2. A tree or chain of earlier positions, as in liblzma, is walked once
//! per position through memory that no cache holds; a sort reads the data in a few passes, and its
//! parts fit into the cache. The rest is as in other encoders: prices of all operations from the
//! current probabilities, and the cheapest path through the next 2,000 positions.
//!
//! The format is described in "The .xz File Format" (LZMA2), in the specification of LZMA by Igor
//! Pavlov, and by their decoders. The dictionary is the whole block.

#[cfg(test)]
mod again_tests;
mod bit_trees;
mod bucket;
mod candidates;
mod decode_model;
mod decoder;
mod guide;
mod item;
mod lengths;
mod lists;
mod match_table;
mod model;
mod operations;
mod parser;
mod range_coder;
mod range_decoder;
mod source;
#[cfg(test)]
mod tests;

pub use decoder::{Decoded, begins_own, decode};
pub use guide::Piece;
use guide::{Guide, Place};
use match_table::MatchTable;
use model::{Model, literal_properties};
pub use operations::Operations;
use parser::Parser;
use range_coder::RangeCoder;

/// Upper limit of a block's size in bytes.
pub const LARGEST_BLOCK: usize = match_table::LARGEST;

/// Upper limit of a chunk's compressed size in bytes, less what an operation takes.
const CHUNK_FULL: usize = (64 << 10) - 64;

/// Upper limit of the content of a compressed chunk, in bytes.
const CHUNK_CONTENT: usize = 2 << 20;

/// Upper limit of the content of a stored chunk, in bytes.
const STORED_CONTENT: usize = 64 << 10;

/// Failure of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// The caller doesn't want the result any more.
    Cancelled,
    /// The block is larger than [`LARGEST_BLOCK`].
    TooLarge,
    /// Pieces don't ascend, or reach beyond a block.
    Pieces,
}

/// Encodes a block, whose decoder needs a dictionary of the block's size; appends the chunks, and
/// the end marker. `is_wanted` is called every few milliseconds; if it returns false, the encoding
/// ends with an error.
///
/// Memory besides the data: 4 bytes per byte of it, and up to 1.5 more while matches are found (20 MiB of
/// text and programs: 98 to 110 MiB, with the output).
pub fn encode(
    data: &[u8],
    out: &mut Vec<u8>,
    is_wanted: impl Fn() -> bool,
) -> Result<(), EncodeError> {
    if data.len() > LARGEST_BLOCK {
        return Err(EncodeError::TooLarge);
    }
    let table = MatchTable::new(data, &is_wanted).ok_or(EncodeError::Cancelled)?;
    encode_with(data, &table, None, out, is_wanted)
}

/// Encodes a block of which pieces are known from a decoded block, at about a tenth of the
/// cost: operations of the pieces are taken over, and only what stands between is searched for matches.
/// Pieces must ascend in both blocks. With unequal pieces the result does not decode to `data`, which
/// the caller has to check.
///
/// Memory: 5 bytes per byte between pieces, what `operations` takes, and 1 MiB.
pub fn encode_again(
    data: &[u8],
    operations: &Operations,
    pieces: &[Piece],
    out: &mut Vec<u8>,
    is_wanted: impl Fn() -> bool,
) -> Result<(), EncodeError> {
    if data.len() > LARGEST_BLOCK {
        return Err(EncodeError::TooLarge);
    }
    if !Piece::are_sound(pieces, operations.size(), data.len()) {
        return Err(EncodeError::Pieces);
    }
    let (guide, table) =
        Guide::new(data, operations, pieces, &is_wanted).ok_or(EncodeError::Cancelled)?;
    encode_with(data, &table, Some(guide), out, is_wanted)
}

fn encode_with(
    data: &[u8],
    table: &MatchTable,
    guide: Option<Guide<'_>>,
    out: &mut Vec<u8>,
    is_wanted: impl Fn() -> bool,
) -> Result<(), EncodeError> {
    let mut chunks = Chunks {
        data,
        parser: Parser::new(data, table),
        guide,
        model: Model::new(data.len()),
        coder: RangeCoder::new(),
        next: 0,
        at: 0,
        reset: Reset::Dictionary,
    };
    while chunks.at < data.len() {
        if !is_wanted() {
            return Err(EncodeError::Cancelled);
        }
        chunks.chunk(out);
    }
    out.push(0);
    Ok(())
}

/// Resets in the header of the next chunk; each includes all earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reset {
    Nothing = 0,
    State = 1,
    Properties = 2,
    Dictionary = 3,
}

/// Encoder between two chunks.
struct Chunks<'a> {
    data: &'a [u8],
    parser: Parser<'a>,
    guide: Option<Guide<'a>>,
    model: Model,
    coder: RangeCoder,
    /// Index of the next of the parser's operations.
    next: usize,
    /// Position behind the last operation.
    at: usize,
    reset: Reset,
}

impl Chunks<'_> {
    /// Appends a compressed chunk, or stored ones if the data doesn't become smaller.
    fn chunk(&mut self, out: &mut Vec<u8>) {
        let begin = self.at;
        self.coder.reset();
        while self.coder.size() <= CHUNK_FULL {
            let Some(operation) = self.operation() else { break };
            let end = self.at + operation.length();
            if end - begin > CHUNK_CONTENT {
                break;
            }
            self.model.encode(&mut self.coder, self.data, self.at, operation);
            self.at = end;
            self.next += 1;
        }
        let packed = self.coder.finish();
        let content = &self.data[begin..self.at];
        if packed.len() < content.len() {
            let [.., high, middle, low] = (content.len() - 1).to_be_bytes();
            let [.., packed_high, packed_low] = (packed.len() - 1).to_be_bytes();
            let control = 0x80 | (self.reset as u8) << 5 | high;
            out.extend_from_slice(&[control, middle, low, packed_high, packed_low]);
            if self.reset as u8 >= Reset::Properties as u8 {
                out.push(literal_properties(self.data.len()));
            }
            out.extend_from_slice(packed);
            self.reset = Reset::Nothing;
        } else {
            self.store(begin, out);
        }
    }

    /// Appends stored chunks. The decoder doesn't learn from them: the model begins anew, and what
    /// the parser has planned is void.
    fn store(&mut self, begin: usize, out: &mut Vec<u8>) {
        const RESETS_DICTIONARY: u8 = 1;
        const RESETS_NOTHING: u8 = 2;
        for stored in self.data[begin..self.at].chunks(STORED_CONTENT) {
            let [.., high, low] = (stored.len() - 1).to_be_bytes();
            let is_first = self.reset == Reset::Dictionary;
            let control = if is_first { RESETS_DICTIONARY } else { RESETS_NOTHING };
            out.extend_from_slice(&[control, high, low]);
            out.extend_from_slice(stored);
            if is_first {
                self.reset = Reset::Properties;
            }
        }
        if self.reset == Reset::Nothing {
            self.reset = Reset::State;
        }
        self.model = Model::new(self.data.len());
        self.parser.forget();
        self.next = 0;
    }

    /// The next operation; `None` at the end of the data.
    #[inline]
    fn operation(&mut self) -> Option<source::Operation> {
        if self.next >= self.parser.operations().len() {
            if self.at == self.data.len() {
                return None;
            }
            let mut end = self.data.len();
            if let Some(guide) = &mut self.guide {
                match guide.place(self.at) {
                    Place::Piece => {
                        return Some(guide.operation(&self.model, self.data, self.at));
                    }
                    Place::Gap { end: gap, base } => {
                        end = gap;
                        self.parser.pass(self.at, base);
                    }
                }
            }
            self.model.refresh_prices();
            self.parser.parse(&self.model, self.at, end);
            self.next = 0;
        }
        self.parser.operations().get(self.next).copied()
    }
}

/// Narrows a small number: a position in a block, a length.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "blocks are limited to 2^25 bytes")]
const fn narrow(value: usize) -> u32 {
    value as u32
}
