//! For each position of a block the nearest of its longest matches.
//!
//! All positions are sorted by the data that begins at them, as far as there are others that begin
//! alike. Those that begin with the same bytes stay in the order of their positions, so that the
//! one before in a group is the nearest match of that length.

use std::ops::Range;

use crate::bucket::Sorter;
use crate::narrow;

/// Bits of an entry that hold a position; the upper ones hold the length.
const POSITION_BITS: u32 = 25;
const POSITION_MASK: u32 = (1 << POSITION_BITS) - 1;

/// Upper limit of a block's size.
pub(crate) const LARGEST: usize = 1 << POSITION_BITS;

/// Length up to which matches are compared; at most 127.
pub(crate) const COMPARED: usize = 96;

/// Number of possible beginnings of two bytes.
const PREFIXES: usize = 1 << 16;

/// Parts of a block's positions that are sorted at a time: bounds the memory.
const SHARES: usize = 8;

/// Distances of runs that are recognised before sorting: those of bytes and of small numbers.
const RUNS: [usize; 5] = [1, 2, 3, 4, 8];

/// Length from which on a run is long.
const LONG_RUN: usize = 128;

/// Number of positions before the end of a long run that are sorted. Sorting all of those from which a run
/// has fewer than [`COMPARED`] bytes left took programs with many gaps of zeros 9 % more time, and made
/// them 0.02 % smaller.
pub(crate) const RUN_END: usize = 48;

/// An earlier position, and the number of bytes in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Link(u32);

impl Link {
    #[inline]
    pub(crate) const fn new(position: u32, length: u32) -> Self {
        Self(position | length << POSITION_BITS)
    }

    #[inline]
    pub(crate) const fn position(self) -> u32 {
        self.0 & POSITION_MASK
    }

    /// The length; zero if there is no match.
    #[inline]
    pub(crate) const fn length(self) -> u32 {
        self.0 >> POSITION_BITS
    }

    #[inline]
    pub(crate) const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// The longest match of each position.
#[derive(Debug)]
pub(crate) struct MatchTable(Vec<Link>);

impl MatchTable {
    /// Finds the matches; `None` if they are not wanted any more.
    pub(crate) fn new(data: &[u8], is_wanted: &impl Fn() -> bool) -> Option<Self> {
        Self::of_parts(data, &[], is_wanted)
    }

    /// Finds the matches in some parts of the data, each by itself, and those in the rest. A match of the
    /// rest may end in a part.
    pub(crate) fn of_parts(
        data: &[u8],
        parts: &[Range<usize>],
        is_wanted: &impl Fn() -> bool,
    ) -> Option<Self> {
        let mut table = Self(vec![Link::default(); data.len()]);
        let mut rest = Vec::new();
        let mut begin = 0;
        for part in parts {
            rest.push(begin..part.start);
            begin = part.end;
            if !table.find(data, std::slice::from_ref(part), is_wanted) {
                return None;
            }
        }
        rest.push(begin..data.len());
        table.find(data, &rest, is_wanted).then_some(table)
    }

    /// Finds matches of some ranges, among each other; returns false if cancelled.
    fn find(
        &mut self,
        data: &[u8],
        ranges: &[Range<usize>],
        is_wanted: &impl Fn() -> bool,
    ) -> bool {
        for range in ranges {
            self.find_runs(data, range);
        }
        self.sort(data, ranges, is_wanted)
    }

    #[inline]
    pub(crate) fn at(&self, position: usize) -> Link {
        self.0[position]
    }

    /// Enters a match, cut at the end of the data.
    #[inline]
    pub(crate) fn enter(&mut self, position: u32, other: u32, length: u32) {
        let rest = narrow(self.0.len()) - position;
        self.0[position as usize] = Link::new(other, length.min(rest));
    }

    /// Replaces an entry by a match at any position.
    pub(crate) fn replace(&mut self, place: usize, other: u32, length: u32) {
        self.0[place] = Link::new(other, length);
    }

    /// Enters positions within runs. They needn't be sorted: only a run's end can be a better match
    /// than its beginning, and the last positions of a run are left to be sorted.
    fn find_runs(&mut self, data: &[u8], range: &Range<usize>) {
        for distance in RUNS {
            let mut length = 0;
            for position in (range.start + distance..range.end).rev() {
                let is_equal = data[position] == data[position - distance];
                length = if is_equal { length + 1 } else { 0 };
                if length == LONG_RUN {
                    for rest in RUN_END..COMPARED {
                        self.enter_run(position + LONG_RUN - rest, distance, rest);
                    }
                }
                if length >= COMPARED {
                    self.enter_run(position, distance, COMPARED);
                }
            }
        }
    }

    /// Enters a match of a position with the same run, unless one of a smaller distance is there.
    fn enter_run(&mut self, position: usize, distance: usize, length: usize) {
        let entry = &mut self.0[position];
        if entry.is_none() {
            *entry = Link::new(narrow(position - distance), narrow(length));
        }
    }

    /// Sorts what isn't in a run; returns false if cancelled.
    fn sort(
        &mut self,
        data: &[u8],
        ranges: &[Range<usize>],
        is_wanted: &impl Fn() -> bool,
    ) -> bool {
        let pairs = || {
            ranges.iter().flat_map(|range| {
                // The last position has no pair, or one that ends behind the range.
                let end = (range.end + 1).min(data.len());
                data[range.start.min(end)..end].windows(2).zip(range.start..)
            })
        };
        let mut counts = vec![0_u32; PREFIXES];
        let mut total = 0;
        for (pair, position) in pairs() {
            if self.0[position].is_none() {
                counts[prefix(pair)] += 1;
                total += 1;
            }
        }
        let mut places = vec![0_u32; PREFIXES];
        let mut positions: Vec<u32> = Vec::new();
        let mut sorter = Sorter::default();
        for prefixes in shares(&counts, total / narrow(SHARES)) {
            let mut total = 0;
            for (place, count) in places[prefixes.clone()].iter_mut().zip(&counts[prefixes.clone()])
            {
                *place = total;
                total += count;
            }
            positions.clear();
            positions.resize(total as usize, 0);
            for (pair, position) in pairs() {
                let prefix = prefix(pair);
                if prefixes.contains(&prefix) && self.0[position].is_none() {
                    let place = &mut places[prefix];
                    positions[*place as usize] = narrow(position);
                    *place += 1;
                }
            }
            let mut rest = &mut positions[..];
            for count in &counts[prefixes] {
                let (bucket, others) = rest.split_at_mut(*count as usize);
                rest = others;
                if bucket.len() > 1 {
                    if !is_wanted() {
                        return false;
                    }
                    sorter.sort(data, bucket, self);
                }
            }
        }
        true
    }
}

#[inline]
fn prefix(pair: &[u8]) -> usize {
    usize::from(pair[0]) << 8 | usize::from(pair[1])
}

/// Ranges of prefixes, each with about `size` positions, or with one prefix that has more.
fn shares(counts: &[u32], size: u32) -> Vec<Range<usize>> {
    let mut shares = Vec::new();
    let (mut begin, mut sum) = (0, 0);
    for (prefix, count) in counts.iter().enumerate() {
        if sum > 0 && sum + count > size.max(narrow(PREFIXES)) {
            shares.push(begin..prefix);
            (begin, sum) = (prefix, 0);
        }
        sum += count;
    }
    shares.push(begin..counts.len());
    shares
}

/// Number of equal bytes at two positions, the second of them earlier, up to a limit within the data;
/// `from` bytes are known to be equal.
#[inline]
pub(crate) fn common(data: &[u8], one: usize, other: usize, from: usize, limit: usize) -> usize {
    let ones = &data[one..(one + limit).min(data.len())];
    let others = &data[other..(other + limit).min(data.len())];
    let mut length = from;
    while let (Some(these), Some(those)) = (
        ones.get(length..).and_then(<[u8]>::first_chunk::<8>),
        others.get(length..).and_then(<[u8]>::first_chunk::<8>),
    ) {
        let difference = u64::from_le_bytes(*these) ^ u64::from_le_bytes(*those);
        if difference != 0 {
            return length + (difference.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    while length < ones.len() && length < others.len() && ones[length] == others[length] {
        length += 1;
    }
    length
}
