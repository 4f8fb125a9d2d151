//! A position under sorting, with the next bytes of its data beside it.

use crate::match_table::Link;

/// Number of bytes that all positions of a bucket have in common.
pub(crate) const PREFIX: u32 = 2;

/// Number of bytes in a key.
pub(crate) const KEY: u32 = 8;

/// A position under sorting.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Item {
    /// Some bytes of the data, the first in the highest bits.
    pub(crate) key: u64,
    pub(crate) position: u32,
    /// Index of the nearest earlier item with the longest match so far.
    pub(crate) link: Link,
}

/// Depth at which the key of a depth begins.
pub(crate) const fn base(depth: u32) -> u32 {
    PREFIX + (depth - PREFIX) / KEY * KEY
}

/// The byte of a key at a depth.
#[inline]
pub(crate) fn byte_of(key: u64, depth: u32) -> u8 {
    // By a shift: an index into the bytes would go through memory.
    (key >> (8 * (KEY - 1 - (depth - PREFIX) % KEY))).to_le_bytes()[0]
}

/// Bytes of the data; zeros behind its end.
#[inline]
pub(crate) fn key(data: &[u8], at: u32) -> u64 {
    let rest = data.get(at as usize..).unwrap_or_default();
    if let Some(bytes) = rest.first_chunk() {
        return u64::from_be_bytes(*bytes);
    }
    let mut bytes = [0; 8];
    bytes[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(bytes)
}
