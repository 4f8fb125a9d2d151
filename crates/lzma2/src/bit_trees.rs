//! Numbers coded bit by bit, each bit with a probability that depends on the bits before.

use crate::range_coder::{Probability, RangeCoder, price};

/// Encodes the `bits` lowest bits of a number, the highest first.
#[inline]
pub(crate) fn encode(coder: &mut RangeCoder, tree: &mut [Probability], bits: u32, number: usize) {
    let mut node = 1;
    for at in (0..bits).rev() {
        let bit = number >> at & 1;
        coder.bit(&mut tree[node], bit == 1);
        node = node << 1 | bit;
    }
}

/// Price of a number that [`encode`] encodes.
#[inline]
pub(crate) fn price_of(tree: &[Probability], bits: u32, number: usize) -> u32 {
    let mut node = number | 1 << bits;
    let mut sum = 0;
    while node > 1 {
        let bit = node & 1;
        node >>= 1;
        sum += price(tree[node], bit == 1);
    }
    sum
}

/// Encodes the `bits` lowest bits of a number, the lowest first.
pub(crate) fn encode_reversed(
    coder: &mut RangeCoder,
    tree: &mut [Probability],
    bits: u32,
    number: usize,
) {
    let mut node = 1;
    for at in 0..bits {
        let bit = number >> at & 1;
        coder.bit(&mut tree[node], bit == 1);
        node = node << 1 | bit;
    }
}

/// Price of a number that [`encode_reversed`] encodes.
pub(crate) fn price_of_reversed(tree: &[Probability], bits: u32, number: usize) -> u32 {
    let mut node = 1;
    let mut sum = 0;
    for at in 0..bits {
        let bit = number >> at & 1;
        sum += price(tree[node], bit == 1);
        node = node << 1 | bit;
    }
    sum
}
