//! Sorts the positions of a bucket: those whose data begins with the same two bytes.
//!
//! Large buckets are parted by the next byte, stably, into smaller ones. Those that fit into the
//! cache become lists, which are parted further without moving anything. Short lists are compared
//! pair by pair. Each position has the next eight bytes of its data beside it, so that the data
//! itself, which is everywhere in memory, is read once per eight bytes.

use crate::match_table::{COMPARED, Link, MatchTable, common};
use crate::narrow;

/// Number of bytes that all positions of a bucket have in common.
const PREFIX: u32 = 2;

/// Number of bytes in a key.
const KEY: u32 = 8;

/// Number of positions up to which a bucket's items are made at once: bounds the memory.
const MANY: usize = 128 << 10;

/// Number of items up to which they are parted as lists: 32 KiB, which a first-level cache holds.
const LISTED: usize = 2048;

/// Number of items up to which all are compared with each other.
const FEW: usize = 10;

/// A position under sorting.
#[derive(Debug, Clone, Copy, Default)]
struct Item {
    /// Some bytes of the data, the first in the highest bits.
    key: u64,
    position: u32,
    /// Index of the nearest earlier item with the longest match so far.
    link: Link,
}

/// Items that are alike up to a depth, from the last to the first by their links.
#[derive(Debug, Clone, Copy)]
struct List {
    last: u32,
    count: u32,
    depth: u32,
}

/// Sorter of buckets, with the memory for it.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    positions: Vec<u32>,
    items: Vec<Item>,
    spare: Vec<Item>,
    lists: Vec<List>,
}

impl Sorter {
    /// Finds the matches of a bucket, whose positions ascend.
    pub(crate) fn sort(&mut self, data: &[u8], bucket: &mut [u32], table: &mut MatchTable) {
        let mut spare = std::mem::take(&mut self.positions);
        if bucket.len() > MANY && spare.len() < bucket.len() {
            spare.resize(bucket.len(), 0);
        }
        let count = bucket.len().min(spare.len());
        self.part_positions(data, bucket, &mut spare[..count], PREFIX, table);
        self.positions = spare;
    }

    fn part_positions(
        &mut self,
        data: &[u8],
        bucket: &mut [u32],
        spare: &mut [u32],
        depth: u32,
        table: &mut MatchTable,
    ) {
        if depth as usize >= COMPARED {
            for pair in bucket.windows(2) {
                table.enter(pair[1], pair[0], depth);
            }
            return;
        }
        if bucket.len() <= MANY {
            let mut items = std::mem::take(&mut self.items);
            items.clear();
            let base = base(depth);
            items.extend(bucket.iter().map(|&position| Item {
                key: key(data, position + base),
                position,
                link: Link::default(),
            }));
            let mut others = std::mem::take(&mut self.spare);
            if items.len() > LISTED {
                others.clear();
                others.resize(items.len(), Item::default());
            }
            self.part_items(data, &mut items, &mut others, depth, table);
            (self.items, self.spare) = (items, others);
            return;
        }
        let byte = |position: u32| data.get((position + depth) as usize).copied().unwrap_or(0);
        let parts = part(
            bucket,
            spare,
            |position| byte(*position),
            |first, before| {
                table.enter(*first, *before, depth);
            },
        );
        for range in parts.ranges() {
            if range.len() > 1 {
                let (part, room) = (&mut spare[range.clone()], &mut bucket[range]);
                self.part_positions(data, part, room, depth + 1, table);
            }
        }
    }

    fn part_items(
        &mut self,
        data: &[u8],
        items: &mut [Item],
        spare: &mut [Item],
        depth: u32,
        table: &mut MatchTable,
    ) {
        let is_end = depth as usize >= COMPARED;
        if is_end || items.len() <= LISTED {
            for (index, item) in items.iter_mut().enumerate().skip(1) {
                item.link = Link::new(narrow(index - 1), depth);
            }
            if !is_end {
                let count = narrow(items.len());
                self.lists.push(List { last: count - 1, count, depth });
                self.part_lists(data, items, depth);
            }
            for item in &items[1..] {
                let other = items[item.link.position() as usize].position;
                table.enter(item.position, other, item.link.length());
            }
            return;
        }
        let byte = |item: &Item| byte_of(item.key, depth);
        let parts = part(items, spare, byte, |first, before| {
            table.enter(first.position, before.position, depth);
        });
        let depth = depth + 1;
        for range in parts.ranges() {
            if range.len() > 1 {
                let (part, room) = (&mut spare[range.clone()], &mut items[range]);
                if base(depth) == depth {
                    for item in &mut *part {
                        item.key = key(data, item.position + depth);
                    }
                }
                self.part_items(data, part, room, depth, table);
            }
        }
    }

    /// Parts lists until each has one item or the longest match. The keys at the start are those of
    /// the depth `keyed`.
    fn part_lists(&mut self, data: &[u8], items: &mut [Item], keyed: u32) {
        let mut heads = [0_u32; 256];
        let mut lasts = [0_u32; 256];
        let mut counts = [0_u32; 256];
        let mut found = [0_u8; 256];
        while let Some(List { last, count, depth }) = self.lists.pop() {
            if depth as usize >= COMPARED {
                continue;
            }
            if base(depth) == depth && depth > keyed {
                let mut at = last;
                for _ in 0..count {
                    let item = &mut items[at as usize];
                    item.key = key(data, item.position + depth);
                    at = item.link.position();
                }
            }
            if count as usize <= FEW {
                compare_all(data, items, last, count as usize, base(depth));
                continue;
            }
            let mut different = 0;
            let mut at = last;
            for _ in 0..count {
                let item = items[at as usize];
                let byte = byte_of(item.key, depth);
                let slot = usize::from(byte);
                if counts[slot] == 0 {
                    found[different & 255] = byte;
                    different += 1;
                    heads[slot] = at;
                } else {
                    items[lasts[slot] as usize].link = Link::new(at, depth + 1);
                }
                lasts[slot] = at;
                counts[slot] += 1;
                at = item.link.position();
            }
            for byte in &found[..different] {
                let slot = usize::from(*byte);
                if counts[slot] > 1 {
                    let (last, count) = (heads[slot], counts[slot]);
                    self.lists.push(List { last, count, depth: depth + 1 });
                }
                counts[slot] = 0;
            }
        }
    }
}

/// Ends of parts, by byte.
struct Parts([u32; 256]);

impl Parts {
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut begin = 0;
        self.0.iter().map(move |end| std::mem::replace(&mut begin, *end as usize)..*end as usize)
    }
}

/// Parts items by a byte into another place, stably. The first of each part is reported with the
/// item that comes before it among all.
fn part<T: Copy>(
    items: &[T],
    to: &mut [T],
    byte: impl Fn(&T) -> u8,
    mut first: impl FnMut(&T, &T),
) -> Parts {
    let mut counts = [0_u32; 256];
    for item in items {
        counts[usize::from(byte(item))] += 1;
    }
    let mut begins = [0_u32; 256];
    let mut sum = 0;
    for (begin, count) in begins.iter_mut().zip(counts) {
        *begin = sum;
        sum += count;
    }
    let mut ends = begins;
    let mut before: Option<&T> = None;
    for item in items {
        let slot = usize::from(byte(item));
        if let Some(before) = before
            && ends[slot] == begins[slot]
        {
            first(item, before);
        }
        to[ends[slot] as usize] = *item;
        ends[slot] += 1;
        before = Some(item);
    }
    Parts(ends)
}

/// Compares all items of a short list. Their keys begin at `base`; before, they are alike.
fn compare_all(data: &[u8], items: &mut [Item], last: u32, count: usize, base: u32) {
    let mut all = [(0, Item::default()); FEW];
    let mut at = last;
    for slot in &mut all[..count] {
        let item = items[at as usize];
        *slot = (at, item);
        at = item.link.position();
    }
    let all = &all[..count];
    for (number, (index, item)) in all.iter().enumerate() {
        let mut best = Link::default();
        for (at, other) in &all[number + 1..] {
            let difference = item.key ^ other.key;
            let length = if difference == 0 {
                longer(data, item.position, other.position, base + KEY)
            } else {
                (base + difference.leading_zeros() / 8).min(narrow(COMPARED))
            };
            if length > best.length() {
                best = Link::new(*at, length);
            }
        }
        if !best.is_none() {
            items[*index as usize].link = best;
        }
    }
}

/// Length in common of two positions, from a known length on.
fn longer(data: &[u8], one: u32, other: u32, known: u32) -> u32 {
    let rest = data.len() - one as usize;
    let limit = rest.min(COMPARED);
    if known as usize >= limit {
        return narrow(limit);
    }
    narrow(common(data, one as usize, other as usize, known as usize, limit))
}

/// Depth at which the key of a depth begins.
const fn base(depth: u32) -> u32 {
    PREFIX + (depth - PREFIX) / KEY * KEY
}

/// The byte of a key at a depth.
#[inline]
fn byte_of(key: u64, depth: u32) -> u8 {
    // By a shift: an index into the bytes would go through memory.
    (key >> (8 * (KEY - 1 - (depth - PREFIX) % KEY))).to_le_bytes()[0]
}

/// Bytes of the data; zeros behind its end.
#[inline]
fn key(data: &[u8], at: u32) -> u64 {
    let rest = data.get(at as usize..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}
