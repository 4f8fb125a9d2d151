//! Sorts the positions of a bucket: those whose data begins with the same two bytes.
//!
//! Large buckets are parted by the next byte, stably, into smaller ones. Those that fit into the
//! cache become lists, which are parted further without moving anything. Short lists are compared
//! pair by pair. What all positions have in common is passed over. Each position has the next eight bytes of its data beside it, so that the data
//! itself, which is everywhere in memory, is read once per eight bytes.

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
        let mut spare = std::mem::take(&mut self.positions);
        let (mut bucket, mut depth) = (bucket, PREFIX);
        while bucket.len() > MANY && (depth as usize) < COMPARED {
            let count = self.part_in_place(data, bucket, &mut spare, depth, table);
            bucket = &mut bucket[..count];
            depth += 1;
        }
        self.part_positions(data, bucket, &mut [], depth, table);
        self.positions = spare;
    }

    /// Parts a large bucket, sorts all parts but the largest, and leaves that at the beginning of the
    /// bucket; returns its size. The spare memory grows to the size of the others: large are buckets of
    /// zeros above all, most of which are followed by another zero.
    fn part_in_place(
        &mut self,
        data: &[u8],
        bucket: &mut [u32],
        spare: &mut Vec<u32>,
        depth: u32,
        table: &mut MatchTable,
    ) -> usize {
        let byte = |position: u32| usize::from(byte_at(data, position + depth));
        let mut counts = [0_u32; 256];
        for position in &*bucket {
            counts[byte(*position)] += 1;
        }
        let largest = (0..256).max_by_key(|byte| counts[*byte]).unwrap_or(0);
        let others = bucket.len() - counts[largest] as usize;
        if spare.len() < others {
            *spare = vec![0; others];
        }
        let mut begins = [0; 256];
        let mut sum = 0;
        for (value, begin) in begins.iter_mut().enumerate().filter(|(value, _)| *value != largest) {
            *begin = sum;
            sum += counts[value];
        }
        let mut ends = begins;
        let mut before = None;
        for at in 0..bucket.len() {
            let position = bucket[at];
            let value = byte(position);
            if let Some(before) = before.replace(position)
                && ends[value] == begins[value]
            {
                table.enter(position, before, depth);
            }
            let place = ends[value] as usize;
            if value == largest {
                bucket[place] = position;
            } else {
                spare[place] = position;
            }
            ends[value] += 1;
        }
        let count = ends[largest] as usize;
        let room = &mut bucket[count..];
        for value in (0..256).filter(|value| *value != largest) {
            let part = begins[value] as usize..ends[value] as usize;
            if part.len() > 1 {
                let (part, room) = (&mut spare[part.clone()], &mut room[part]);
                self.part_positions(data, part, room, depth + 1, table);
            }
        }
        count
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
        let parts = part(
            bucket,
            spare,
            |position| byte_at(data, position + depth),
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

/// Number of bytes that all items have in common, at most [`COMPARED`]. Their keys are those of a depth, and
/// become those of the result.
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

/// A byte of the data; zero behind its end.
#[inline]
fn byte_at(data: &[u8], at: u32) -> u8 {
    data.get(at as usize).copied().unwrap_or(0)
}
