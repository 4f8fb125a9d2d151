//! The decoder of what [`RangeCoder`](crate::range_coder::RangeCoder) codes.

use crate::range_coder::{ADAPTION, EVEN, LEAST_RANGE, Probability};

/// Decoder of bits. Behind the end of its input it reads zeros, which [`RangeDecoder::is_finished`]
/// reports.
#[derive(Debug)]
pub(crate) struct RangeDecoder<'a> {
    input: &'a [u8],
    /// Number of bytes taken so far.
    taken: usize,
    range: u32,
    code: u32,
}

impl<'a> RangeDecoder<'a> {
    /// Starts; `None` if the input has no start.
    pub(crate) fn new(input: &'a [u8]) -> Option<Self> {
        let [0, first @ ..] = input.first_chunk::<5>()? else { return None };
        Some(Self { input, taken: 5, range: u32::MAX, code: u32::from_be_bytes(*first) })
    }

    /// True if the input was used up, and ends as an encoder ends it.
    pub(crate) fn is_finished(&self) -> bool {
        self.taken == self.input.len() && self.code == 0
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most of the decoder's calls")]
    fn shift(&mut self) {
        if self.range < LEAST_RANGE {
            self.range <<= 8;
            let next = self.input.get(self.taken).copied().unwrap_or(0);
            self.code = self.code << 8 | u32::from(next);
            self.taken += 1;
        }
    }

    /// Decodes a bit and adapts its probability.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most of the decoder's calls")]
    pub(crate) fn bit(&mut self, probability: &mut Probability) -> bool {
        let bound = (self.range >> 11) * u32::from(*probability);
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
            *probability -= *probability >> ADAPTION;
        } else {
            self.range = bound;
            *probability += (2 * EVEN - *probability) >> ADAPTION;
        }
        self.shift();
        bit
    }

    /// Decodes bits that are as often one as zero.
    pub(crate) fn even_bits(&mut self, count: u32) -> u32 {
        let mut value = 0;
        for _ in 0..count {
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            self.shift();
            value = value << 1 | u32::from(bit);
        }
        value
    }

    /// Decodes a number that [`bit_trees::encode`](crate::bit_trees::encode) encodes.
    #[inline]
    pub(crate) fn tree(&mut self, tree: &mut [Probability], bits: u32) -> usize {
        let mut node = 1;
        for _ in 0..bits {
            node = node << 1 | usize::from(self.bit(&mut tree[node]));
        }
        node - (1 << bits)
    }

    /// Decodes a number that [`bit_trees::encode_reversed`](crate::bit_trees::encode_reversed) encodes.
    pub(crate) fn reversed_tree(&mut self, tree: &mut [Probability], bits: u32) -> u32 {
        let mut node = 1;
        let mut number = 0;
        for at in 0..bits {
            let bit = self.bit(&mut tree[node]);
            node = node << 1 | usize::from(bit);
            number |= u32::from(bit) << at;
        }
        number
    }
}
