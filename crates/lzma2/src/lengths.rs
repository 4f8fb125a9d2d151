//! The model of lengths: 2 to 9 in three bits, to 17 in three more, to 273 in eight.

use crate::bit_trees;
use crate::range_coder::{EVEN, Probability, RangeCoder, price};

/// Shortest and longest match of the format.
pub(crate) const SHORTEST: usize = 2;
/// Longest match of the format.
pub(crate) const LONGEST: usize = 273;

/// Upper limit of the lengths that have a price: longer matches are taken without comparison.
pub(crate) const PRICED: usize = 96;

/// Number of a length's encodings after which its prices are computed anew.
const STALE: u32 = 48;

/// Number of position contexts.
const POSITIONS: usize = 4;

/// Model of the lengths of matches, or of repetitions.
#[derive(Debug)]
pub(crate) struct Lengths {
    pub(crate) is_long: Probability,
    pub(crate) is_longest: Probability,
    pub(crate) short: [[Probability; 8]; POSITIONS],
    pub(crate) long: [[Probability; 8]; POSITIONS],
    pub(crate) longest: [Probability; 256],
    prices: [[u32; PRICED + 1]; POSITIONS],
    uses: [u32; POSITIONS],
}

impl Lengths {
    pub(crate) fn new() -> Self {
        let mut lengths = Self {
            is_long: EVEN,
            is_longest: EVEN,
            short: [[EVEN; 8]; POSITIONS],
            long: [[EVEN; 8]; POSITIONS],
            longest: [EVEN; 256],
            prices: [[0; PRICED + 1]; POSITIONS],
            uses: [0; POSITIONS],
        };
        (0..POSITIONS).for_each(|position| lengths.refresh(position));
        lengths
    }

    fn refresh(&mut self, position: usize) {
        self.uses[position] = 0;
        let is_long = price(self.is_long, true);
        for (length, slot) in self.prices[position].iter_mut().enumerate().skip(SHORTEST) {
            *slot = match length - SHORTEST {
                number @ 0..8 => {
                    price(self.is_long, false)
                        + bit_trees::price_of(&self.short[position], 3, number)
                }
                number @ 8..16 => {
                    let choice = is_long + price(self.is_longest, false);
                    choice + bit_trees::price_of(&self.long[position], 3, number - 8)
                }
                number => {
                    let choice = is_long + price(self.is_longest, true);
                    choice + bit_trees::price_of(&self.longest, 8, number - 16)
                }
            };
        }
    }

    pub(crate) fn encode(&mut self, coder: &mut RangeCoder, length: usize, position: usize) {
        let number = length - SHORTEST;
        coder.bit(&mut self.is_long, number >= 8);
        if number < 8 {
            bit_trees::encode(coder, &mut self.short[position], 3, number);
        } else {
            coder.bit(&mut self.is_longest, number >= 16);
            if number < 16 {
                bit_trees::encode(coder, &mut self.long[position], 3, number - 8);
            } else {
                bit_trees::encode(coder, &mut self.longest, 8, number - 16);
            }
        }
        self.uses[position] += 1;
        if self.uses[position] == STALE {
            self.refresh(position);
        }
    }

    /// Price of a length up to [`PRICED`].
    #[inline]
    pub(crate) fn price(&self, length: usize, position: usize) -> u32 {
        self.prices[position & (POSITIONS - 1)][length]
    }

    /// Prices of all lengths at a position.
    #[inline]
    pub(crate) fn prices(&self, position: usize) -> &[u32; PRICED + 1] {
        &self.prices[position & (POSITIONS - 1)]
    }
}
