//! An LZMA2 encoder in safe Rust: one block of data at a time, the same bytes for the same data; and a
//! decoder of its blocks, whose matches another block can take over.
//!
//! ```text
//! chunks         a block as LZMA2 chunks
//! regions        parts of a block that are independent of the rest
//! stored         chunks that are not compressed
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
mod chunks;
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
#[cfg(test)]
mod region_tests;
mod regions;
mod source;
mod stored;
#[cfg(test)]
mod tests;

use std::ops::Range;

use chunks::Chunks;
pub use decoder::{Decoded, begins_own, decode, decode_around};
use guide::Guide;
pub use guide::Piece;
use match_table::MatchTable;
use model::literal_properties;
pub use operations::Operations;
use regions::Region;
pub use regions::{CopiedRegion, with_stored_regions};
pub use stored::store;

/// Upper limit of a block's size in bytes.
pub const LARGEST_BLOCK: usize = match_table::LARGEST;

/// Failure of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// The caller doesn't want the result any more.
    Cancelled,
    /// The block is larger than [`LARGEST_BLOCK`].
    TooLarge,
    /// Pieces don't ascend, or reach beyond a block.
    Pieces,
    /// A region left out can't be copied.
    Region,
}

/// Encodes a block, whose decoder needs a dictionary of the block's size; appends the chunks, and
/// the end marker. Of `regions`, in ascending order, those with little in common with the rest become
/// closed, and [`encode_again`] copies closed regions. `is_wanted` is called every few milliseconds; if it returns
/// false, the encoding ends with an error.
///
/// Memory besides the data: 4 bytes per byte of it, and up to 1.5 more while matches are found (20 MiB of
/// text and programs: 98 to 110 MiB, with the output).
pub fn encode(
    data: &[u8],
    regions: &[Range<usize>],
    out: &mut Vec<u8>,
    is_wanted: impl Fn() -> bool,
) -> Result<(), EncodeError> {
    if data.len() > LARGEST_BLOCK {
        return Err(EncodeError::TooLarge);
    }
    let closed = if regions.is_empty() { Vec::new() } else { regions::chosen(data, regions) };
    let table = MatchTable::of_parts(data, &closed, &is_wanted).ok_or(EncodeError::Cancelled)?;
    let region = |content| Region { content, copied: None };
    let regions: Vec<Region<'_>> = closed.into_iter().map(region).collect();
    Chunks::new(data, &table, None, &regions).encode(out, is_wanted).map(drop)
}

/// Encodes a block of which pieces are known from a decoded block, at about a tenth of the
/// cost: regions left out are copied from the block's chunks, elsewhere operations of the pieces are
/// taken over, and only what stands between is searched for matches. Returns the regions that were copied.
/// Pieces must ascend in both blocks. With unequal pieces, other chunks than the decoded ones, or what only
/// seems to be a region, the result does not decode to `data`, which the caller has to check.
///
/// Memory: 5 bytes per byte between pieces, what `old` takes, and 1 MiB.
pub fn encode_again(
    data: &[u8],
    old: &Decoded,
    chunks: &[u8],
    pieces: &[Piece],
    out: &mut Vec<u8>,
    is_wanted: impl Fn() -> bool,
) -> Result<Vec<CopiedRegion>, EncodeError> {
    if data.len() > LARGEST_BLOCK {
        return Err(EncodeError::TooLarge);
    }
    if !Piece::are_sound(pieces, old.operations.size(), data.len()) {
        return Err(EncodeError::Pieces);
    }
    let mut regions = Vec::with_capacity(old.regions.len());
    for region in &old.regions {
        if literal_properties(data.len()) != literal_properties(old.data.len()) {
            return Err(EncodeError::Region);
        }
        regions.push(region.in_block(chunks, pieces)?);
    }
    let (guide, table) =
        Guide::new(data, &old.operations, pieces, &is_wanted).ok_or(EncodeError::Cancelled)?;
    Chunks::new(data, &table, Some(guide), &regions).encode(out, is_wanted)
}

/// Narrows a small number: a position in a block, a length.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "blocks are limited to 2^25 bytes")]
const fn narrow(value: usize) -> u32 {
    value as u32
}
