//! Known operations for data that was encoded before, in a block where other data stands between.

use crate::lengths::SHORTEST;
use crate::match_table::{MatchTable, common};
use crate::model::Model;
use crate::narrow;
use crate::operations::{Copied, Operations};
use crate::source::{Operation, Source};

/// Logarithm of the size of a page in the index of pieces.
const PAGE_BITS: u32 = 12;

/// Distance from which a match of two bytes costs more than two literals.
const FAR: u32 = 4096;

/// Data in common of two blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Position in the block that was encoded.
    pub from: usize,
    /// Position in the block to be encoded.
    pub to: usize,
    /// Number of bytes.
    pub length: usize,
}

impl Piece {
    /// True if all pieces are within blocks of the given sizes, and ascend in both.
    pub(crate) fn are_sound(pieces: &[Self], old: usize, new: usize) -> bool {
        let mut ends = (0, 0);
        pieces.iter().all(|piece| {
            let begins = (piece.from, piece.to);
            let is_behind = begins.0 >= ends.0 && begins.1 >= ends.1;
            let end =
                |begin: usize, size| begin.checked_add(piece.length).filter(|end| *end <= size);
            let (Some(from), Some(to)) = (end(piece.from, old), end(piece.to, new)) else {
                return false;
            };
            ends = (from, to);
            is_behind
        })
    }
}

/// Data between pieces.
#[derive(Debug, Clone, Copy)]
struct Gap {
    begin: usize,
    end: usize,
    /// Position in the table of matches.
    first: usize,
}

/// Position of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Data between pieces, to be parsed up to `end`. The table's entries begin with that of position `base`.
    Gap {
        end: usize,
        base: Base,
    },
    Piece,
}

/// Difference between a position and the place of its entry in a table.
pub(crate) type Base = usize;

/// Operations for the pieces of a block, and matches for the data between them.
#[derive(Debug)]
pub(crate) struct Guide<'a> {
    pieces: &'a [Piece],
    /// For each page of the old block the first piece that ends behind the page's start.
    pages: Vec<u32>,
    /// Number of the current or next piece.
    piece: usize,
    gaps: Vec<Gap>,
    /// Number of the current or next gap.
    gap: usize,
    operations: std::slice::Iter<'a, Copied>,
    /// The current operation, and its position in the old block.
    current: Copied,
    at: usize,
}

impl<'a> Guide<'a> {
    /// Prepares for data with pieces of an encoded block, which are sound; returns the table of
    /// matches of what is between, too. `None` if they are not wanted any more.
    pub(crate) fn new(
        data: &[u8],
        operations: &'a Operations,
        pieces: &'a [Piece],
        is_wanted: &impl Fn() -> bool,
    ) -> Option<(Self, MatchTable)> {
        let mut pages = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            pages.resize(((piece.from + piece.length) >> PAGE_BITS) + 1, narrow(number));
        }
        let gaps = gaps(pieces, data.len());
        let table = find_between(data, &gaps, is_wanted)?;
        let operations = operations.as_slice().iter();
        let current = Copied { distance: 0, length: 0 };
        Some((Self { pieces, pages, piece: 0, gaps, gap: 0, operations, current, at: 0 }, table))
    }

    /// Place of a position; positions ascend.
    #[inline]
    pub(crate) fn place(&mut self, at: usize) -> Place {
        while let Some(piece) = self.pieces.get(self.piece)
            && at >= piece.to + piece.length
        {
            self.piece += 1;
        }
        if self.pieces.get(self.piece).is_some_and(|piece| at >= piece.to) {
            return Place::Piece;
        }
        while let Some(gap) = self.gaps.get(self.gap)
            && at >= gap.end
        {
            self.gap += 1;
        }
        let gap = self.gaps.get(self.gap).copied().unwrap_or(Gap { begin: at, end: at, first: at });
        Place::Gap { end: gap.end, base: gap.begin - gap.first }
    }

    /// Next operation at a position within a piece.
    #[inline]
    pub(crate) fn operation(&mut self, model: &Model, data: &[u8], at: usize) -> Operation {
        let Some((distance, length)) = self.copied(data, at) else { return Operation::LITERAL };
        let distance = narrow(distance - 1);
        let known = model.distances.iter().position(|known| *known == distance);
        match known {
            Some(0) if length < SHORTEST => Operation::new(Source::repetition(0), 1),
            _ if length < SHORTEST => Operation::LITERAL,
            Some(number) => Operation::new(Source::repetition(number), length),
            None if length == SHORTEST && distance >= FAR => Operation::LITERAL,
            None => Operation::new(Source::distance(distance), length),
        }
    }

    /// Distance and length of the match at a position within a piece; `None` for a literal.
    #[inline]
    fn copied(&mut self, data: &[u8], at: usize) -> Option<(usize, usize)> {
        let piece = self.pieces.get(self.piece)?;
        let old = piece.from + (at - piece.to);
        // Passes over what was between the pieces, too.
        while self.at + self.current.length as usize <= old {
            self.at += self.current.length as usize;
            self.current = *self.operations.next()?;
        }
        let Copied { distance, length } = self.current;
        if distance == 0 {
            return None;
        }
        // An operation may begin before the piece, and end behind it.
        let end = (self.at + length as usize).min(piece.from + piece.length);
        let source = old.checked_sub(distance as usize)?;
        if source >= piece.from {
            return Some((distance as usize, end - old));
        }
        let (source, length) = self.source(data, source, at, end - old)?;
        Some((at - source, length))
    }

    /// Position in the new block of the old one's, and the number of bytes there that are equal to
    /// those at `at`, of `length`.
    #[inline]
    fn source(&self, data: &[u8], old: usize, at: usize, length: usize) -> Option<(usize, usize)> {
        let mut number = *self.pages.get(old >> PAGE_BITS)? as usize;
        let piece = loop {
            let piece = self.pieces.get(number)?;
            if piece.from + piece.length > old {
                break piece;
            }
            number += 1;
        };
        // What stands before a piece is taken to be of the same kind in both blocks: headers, most
        // of whose bytes are the same.
        let new = (old + piece.to).checked_sub(piece.from)?;
        if old >= piece.from && old + length <= piece.from + piece.length {
            return Some((new, length));
        }
        let equal = if new < at { common(data, at, new, 0, length) } else { 0 };
        (equal > 0).then_some((new, equal))
    }
}

fn gaps(pieces: &[Piece], size: usize) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let (mut begin, mut first) = (0, 0);
    let ends = pieces.iter().map(|piece| (piece.to, piece.length)).chain([(size, 0)]);
    for (end, length) in ends {
        if end > begin {
            gaps.push(Gap { begin, end, first });
            first += end - begin;
        }
        begin = end + length;
    }
    gaps
}

/// Finds matches of the data in gaps, among that data. The table has entries for gaps alone.
fn find_between(data: &[u8], gaps: &[Gap], is_wanted: &impl Fn() -> bool) -> Option<MatchTable> {
    let mut between = Vec::new();
    for gap in gaps {
        between.extend_from_slice(&data[gap.begin..gap.end]);
    }
    let mut table = MatchTable::new(&between, is_wanted)?;
    for gap in gaps {
        for at in gap.begin..gap.end {
            let place = gap.first + (at - gap.begin);
            let link = table.at(place);
            let other = link.position() as usize;
            let source = gaps.partition_point(|gap| gap.first <= other).saturating_sub(1);
            let Some(source) = gaps.get(source).filter(|_| !link.is_none()) else { continue };
            let other = source.begin + (other - source.first);
            // A match ends with its gap, and with that of its source.
            let length = (link.length() as usize).min(gap.end - at).min(source.end - other);
            table.replace(place, narrow(other), narrow(length));
        }
    }
    Some(table)
}
