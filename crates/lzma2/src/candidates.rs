//! Matches at a position: the longest, and nearer ones that are shorter.

use crate::guide::Base;
use crate::match_table::{MatchTable, common};
use crate::narrow;

/// Upper limit of the distance of a match of two bytes: those of a larger one cost more than two
/// literals.
const NEAR: usize = 4096;

/// Number of candidates: of two, three and five bytes, and the longest.
const MOST: usize = 4;

/// Places in an index: their logarithm.
const INDEX_BITS: u32 = 16;

/// A match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Candidate {
    pub(crate) length: u32,
    /// Distance, less one.
    pub(crate) distance: u32,
}

/// Matches of a position; lengths and distances both increase.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Found {
    all: [Candidate; MOST],
    count: usize,
}

impl Found {
    #[inline]
    fn push(&mut self, length: usize, distance: usize) {
        if let Some(slot) = self.all.get_mut(self.count) {
            *slot = Candidate { length: narrow(length), distance: narrow(distance - 1) };
            self.count += 1;
        }
    }

    /// True if there is a candidate of this distance, less one.
    #[inline]
    pub(crate) fn has(&self, distance: u32) -> bool {
        self.as_slice().iter().any(|candidate| candidate.distance == distance)
    }

    #[inline]
    pub(crate) fn as_slice(&self) -> &[Candidate] {
        self.all.get(..self.count).unwrap_or_default()
    }
}

/// Finder of matches, for ascending positions.
#[derive(Debug)]
pub(crate) struct Candidates<'a> {
    data: &'a [u8],
    table: &'a MatchTable,
    /// The last positions at which some bytes were, by their hash: of two, three and five bytes.
    last: [Vec<u32>; 3],
    /// Position up to which all are in the indexes.
    entered: usize,
    base: Base,
}

impl<'a> Candidates<'a> {
    pub(crate) fn new(data: &'a [u8], table: &'a MatchTable) -> Self {
        let index = || vec![u32::MAX; 1 << INDEX_BITS];
        Self { data, table, last: [index(), index(), index()], entered: 0, base: 0 }
    }

    /// Passes over the positions up to one, whose entry in the table is `base` before: earlier ones
    /// are found by the table only.
    pub(crate) fn pass(&mut self, position: usize, base: Base) {
        self.entered = self.entered.max(position);
        self.base = base;
    }

    /// Forgets all positions in the indexes.
    pub(crate) fn forget(&mut self) {
        for index in &mut self.last {
            index.fill(u32::MAX);
        }
    }

    /// Finds matches of at least two bytes, and of at most `limit`.
    #[inline]
    pub(crate) fn find(&mut self, at: usize, limit: usize) -> Found {
        while self.entered < at {
            self.enter(self.entered);
            self.entered += 1;
        }
        let mut found = Found::default();
        let Some(hashes) = self.hashes(at) else { return found };
        let link = self.table.at(at - self.base);
        let (longest, farthest) = ((link.length() as usize).min(limit), link.position() as usize);
        if longest >= 2 {
            self.find_nearer(at, hashes, (longest, farthest), &mut found);
        }
        if self.entered == at {
            self.enter(at);
            self.entered += 1;
        }
        found
    }

    #[inline]
    fn find_nearer(
        &self,
        at: usize,
        hashes: [usize; 3],
        (longest, farthest): (usize, usize),
        found: &mut Found,
    ) {
        let mut length = 1;
        let mut last = usize::MAX;
        for ((index, hash), least) in self.last.iter().zip(hashes).zip([2, 3, 5]) {
            let other = index[hash & ((1 << INDEX_BITS) - 1)] as usize;
            // A place may hold a later position if the parser was sent back.
            if other >= at || other <= farthest || other == last || longest <= length.max(least - 1)
            {
                continue;
            }
            last = other;
            if least == 2 && at - other >= NEAR {
                continue;
            }
            let common = common(self.data, at, other, 0, longest);
            if common > length {
                length = common;
                found.push(common, at - other);
            }
        }
        if longest > length {
            found.push(longest, at - farthest);
        }
    }

    #[inline]
    fn enter(&mut self, at: usize) {
        let Some(hashes) = self.hashes(at) else { return };
        for (index, hash) in self.last.iter_mut().zip(hashes) {
            index[hash & ((1 << INDEX_BITS) - 1)] = narrow(at);
        }
    }

    /// Places of a position in the indexes; `None` for the last positions of the data.
    #[inline]
    fn hashes(&self, at: usize) -> Option<[usize; 3]> {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        let bytes = u64::from_le_bytes(*self.data.get(at..)?.first_chunk()?);
        let hash = |bits: u32| {
            usize::try_from((bytes << (64 - bits)).wrapping_mul(FACTOR) >> 48).unwrap_or(0)
        };
        Some([
            usize::from(bytes.to_le_bytes()[0]) | usize::from(bytes.to_le_bytes()[1]) << 8,
            hash(24),
            hash(40),
        ])
    }
}
