//! Sorts the positions of a bucket: those whose data begins with the same two bytes.
//!
//! Large buckets are parted by the next byte, stably, into smaller ones. Those that fit into the
//! cache become lists, which are parted further without moving anything. Short lists are compared
//! pair by pair. What all positions of a bucket or list have in common is passed over. Each position
//! has the next eight bytes of its data beside it, so that the data itself, which is everywhere in
//! memory, is read once per eight bytes.

use crate::item::{Item, PREFIX, base, byte_of, key};
use crate::lists::{Lists, match_items};
use crate::match_table::{COMPARED, Link, MatchTable};
use crate::narrow;

/// Number of positions up to which a bucket's items are made at once: bounds the memory.
const MANY: usize = 128 << 10;

/// Number of items up to which they are parted as lists: 32 KiB, which a first-level cache holds.
const LISTED: usize = 2048;

/// Sorter of buckets, with the memory for it.
#[derive(Debug, Default)]
pub(crate) struct Sorter {
    positions: Vec<u32>,
    items: Vec<Item>,
    spare: Vec<Item>,
    lists: Lists,
}

impl Sorter {
    /// Finds the matches of a bucket, whose positions ascend.
    pub(crate) fn sort(&mut self, data: &[u8], bucket: &mut [u32], table: &mut MatchTable) {
        self.part_positions(data, bucket, PREFIX, table);
    }

    fn part_positions(
        &mut self,
        data: &[u8],
        mut bucket: &mut [u32],
        mut depth: u32,
        table: &mut MatchTable,
    ) {
        while bucket.len() > MANY && (depth as usize) < COMPARED {
            let count = self.part_large(data, bucket, depth, table);
            bucket = &mut bucket[..count];
            depth += 1;
        }
        if depth as usize >= COMPARED {
            for pair in bucket.windows(2) {
                table.enter(pair[1], pair[0], depth);
            }
            return;
        }
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
    }

    /// Parts a large bucket, sorts all parts but the largest, and leaves that at the beginning of the
    /// bucket; returns its size. Only the other parts take memory: large are buckets of zeros above
    /// all, most of which are followed by another zero.
    fn part_large(
        &mut self,
        data: &[u8],
        bucket: &mut [u32],
        depth: u32,
        table: &mut MatchTable,
    ) -> usize {
        let byte = |position: u32| {
            usize::from(data.get((position + depth) as usize).copied().unwrap_or(0))
        };
        let mut counts = [0_u32; 256];
        for position in &*bucket {
            counts[byte(*position)] += 1;
        }
        let largest = (0..256).max_by_key(|byte| counts[*byte]).unwrap_or(0);
        let size = std::mem::take(&mut counts[largest]) as usize;
        let begins = begins(&counts);
        let mut ends = begins;
        ends[largest] = 0;
        let mut others = std::mem::take(&mut self.positions);
        others.resize(others.len().max(bucket.len() - size), 0);
        let mut is_met = [false; 256];
        let mut before = None;
        for at in 0..bucket.len() {
            let position = bucket[at];
            let value = byte(position);
            let is_first = !std::mem::replace(&mut is_met[value], true);
            if let Some(before) = before.replace(position)
                && is_first
            {
                table.enter(position, before, depth);
            }
            let place = ends[value] as usize;
            if value == largest {
                bucket[place] = position;
            } else {
                others[place] = position;
            }
            ends[value] += 1;
        }
        for (value, begin) in begins.into_iter().enumerate() {
            if value != largest && ends[value] > begin + 1 {
                let part = &mut others[begin as usize..ends[value] as usize];
                self.part_positions(data, part, depth + 1, table);
            }
        }
        self.positions = others;
        size
    }

    fn part_items(
        &mut self,
        data: &[u8],
        items: &mut [Item],
        spare: &mut [Item],
        mut depth: u32,
        table: &mut MatchTable,
    ) {
        if items.len() > LISTED {
            depth = common_depth(data, items, depth);
        }
        if depth as usize >= COMPARED || items.len() <= LISTED {
            match_items(data, items, depth, &mut self.lists);
            for item in &items[1..] {
                let other = items[item.link.position() as usize].position;
                table.enter(item.position, other, item.link.length());
            }
            return;
        }
        let parts = part(items, spare, depth, table);
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
}

/// Ends of parts, by byte.
struct Parts([u32; 256]);

impl Parts {
    fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        let mut begin = 0;
        self.0.iter().map(move |end| std::mem::replace(&mut begin, *end as usize)..*end as usize)
    }
}

/// Parts items by the byte at a depth into another place, stably. The first of each part has its match
/// with the item that comes before it among all.
fn part(items: &[Item], to: &mut [Item], depth: u32, table: &mut MatchTable) -> Parts {
    let slot = |item: &Item| usize::from(byte_of(item.key, depth));
    let mut counts = [0_u32; 256];
    for item in items {
        counts[slot(item)] += 1;
    }
    let begins = begins(&counts);
    let mut ends = begins;
    let mut before: Option<&Item> = None;
    for item in items {
        let slot = slot(item);
        if let Some(before) = before.replace(item)
            && ends[slot] == begins[slot]
        {
            table.enter(item.position, before.position, depth);
        }
        to[ends[slot] as usize] = *item;
        ends[slot] += 1;
    }
    Parts(ends)
}

/// Beginnings of parts that follow each other.
fn begins(counts: &[u32; 256]) -> [u32; 256] {
    let mut end = 0;
    counts.map(|count| {
        end += count;
        end - count
    })
}

/// Number of bytes that all items have in common, at most [`COMPARED`]. Their keys are those of a depth,
/// and become those of the result.
fn common_depth(data: &[u8], items: &mut [Item], mut depth: u32) -> u32 {
    loop {
        let first = items[0].key;
        let different = items.iter().fold(0, |bits, item| bits | item.key ^ first);
        let base = base(depth);
        depth = base + different.leading_zeros() / 8;
        if different != 0 || depth as usize >= COMPARED {
            return depth.min(narrow(COMPARED));
        }
        for item in &mut *items {
            item.key = key(data, item.position + depth);
        }
    }
}
