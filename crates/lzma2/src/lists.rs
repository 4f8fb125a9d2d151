//! Items that fit into the cache, parted as lists without moving them.

use crate::item::{Item, KEY, base, byte_of, key};
use crate::match_table::{COMPARED, Link, common};
use crate::narrow;

/// Number of items up to which all are compared with each other.
const FEW: usize = 10;

/// Items that are alike up to a depth, from the last to the first by their links.
#[derive(Debug, Clone, Copy)]
struct List {
    last: u32,
    count: u32,
    depth: u32,
}

/// Finds the matches of items that are alike up to a depth, whose keys are those of that depth: each but the
/// first gets a link to its match. `lists` is memory.
pub(crate) fn match_items(data: &[u8], items: &mut [Item], depth: u32, lists: &mut Lists) {
    for (index, item) in items.iter_mut().enumerate().skip(1) {
        item.link = Link::new(narrow(index - 1), depth);
    }
    if (depth as usize) < COMPARED {
        let count = narrow(items.len());
        lists.0.push(List { last: count - 1, count, depth });
        lists.part(data, items, depth);
    }
}

/// Lists to be parted.
#[derive(Debug, Default)]
pub(crate) struct Lists(Vec<List>);

impl Lists {
    /// Parts lists until each has one item or the longest match. The keys at the start are those of
    /// the depth `keyed`.
    fn part(&mut self, data: &[u8], items: &mut [Item], keyed: u32) {
        let mut heads = [0_u32; 256];
        let mut lasts = [0_u32; 256];
        let mut counts = [0_u32; 256];
        let mut found = [0_u8; 256];
        while let Some(list) = self.0.pop() {
            let List { last, count, depth: known } = list;
            if known as usize >= COMPARED {
                continue;
            }
            if count as usize <= FEW {
                if base(known) == known && known > keyed {
                    key_list(data, items, list);
                }
                compare_all(data, items, last, count as usize, base(known));
                continue;
            }
            let depth = common_depth(data, items, list, keyed);
            if depth > known {
                lengthen(items, list, depth);
            }
            if depth as usize >= COMPARED {
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
                    self.0.push(List { last, count, depth: depth + 1 });
                }
                counts[slot] = 0;
            }
        }
    }
}

/// Gives the items of a list the keys of its depth; returns the bits in which some differ.
fn key_list(data: &[u8], items: &mut [Item], list: List) -> u64 {
    let first = key(data, items[list.last as usize].position + list.depth);
    let mut different = 0;
    let mut at = list.last;
    for _ in 0..list.count {
        let item = &mut items[at as usize];
        item.key = key(data, item.position + list.depth);
        different |= item.key ^ first;
        at = item.link.position();
    }
    different
}

/// Number of bytes that all items of a list have in common, at most [`COMPARED`]; keys become those of
/// that depth. Two of three lists would be parted into a single one otherwise.
fn common_depth(data: &[u8], items: &mut [Item], mut list: List, keyed: u32) -> u32 {
    loop {
        let base = base(list.depth);
        let different = if base == list.depth && list.depth > keyed {
            key_list(data, items, list)
        } else {
            let first = items[list.last as usize].key;
            let mut different = 0;
            let mut at = list.last;
            for _ in 0..list.count {
                let item = items[at as usize];
                different |= item.key ^ first;
                at = item.link.position();
            }
            different
        };
        list.depth = base + different.leading_zeros() / 8;
        if different != 0 || list.depth as usize >= COMPARED {
            return list.depth.min(narrow(COMPARED));
        }
    }
}

/// Sets the length of a list's matches with each other.
fn lengthen(items: &mut [Item], list: List, length: u32) {
    let mut at = list.last;
    for _ in 1..list.count {
        let link = &mut items[at as usize].link;
        at = link.position();
        *link = Link::new(at, length);
    }
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
