//! The adaptive model of LZMA: operations as bits, and their prices.

use crate::bit_trees;
use crate::lengths::{Lengths, SHORTEST};
use crate::narrow;
use crate::range_coder::{EVEN, PRICE_SCALE, Probability, RangeCoder, price};
use crate::source::{Operation, SourceKind};

/// Bits of the byte before a literal that choose its probabilities, by the size of the block. Four
/// instead of liblzma's three make text 0.5 % smaller, libraries 0.3 %, programs 0.2 %; but a small
/// block doesn't have enough literals for so many probabilities.
pub(crate) const fn literal_context_bits(block: usize) -> u8 {
    const SMALL: usize = 256 << 10;
    if block <= SMALL { 3 } else { 4 }
}

/// Bits of the position that choose probabilities: as many as in liblzma.
pub(crate) const POSITION_BITS: u8 = 2;

/// Properties of a block as the format writes them: 9 values of literal contexts, 5 of literal
/// positions.
pub(crate) const fn literal_properties(block: usize) -> u8 {
    POSITION_BITS * 45 + literal_context_bits(block)
}

/// Number of matches after which the prices of distances are computed anew.
const STALE: u32 = 128;

/// Distances with a price of their own; a larger one has that of its slot and its lowest bits.
const NEAR: usize = 128;

/// Upper limit of slots: distances below 2^26.
const SLOTS: usize = 52;

/// Classes of lengths by which distances are coded.
pub(crate) const LENGTH_CLASSES: usize = 4;

/// The class of a length: 2, 3, 4, longer.
#[inline]
pub(crate) fn length_class(length: usize) -> usize {
    (length - SHORTEST).min(LENGTH_CLASSES - 1)
}

/// Position context of a position.
#[inline]
pub(crate) const fn position_context(position: usize) -> usize {
    position & ((1 << POSITION_BITS) - 1)
}

/// Kinds of the last operations, as the format numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct State(u8);

impl State {
    const COUNT: usize = 12;

    pub(crate) const fn initial() -> Self {
        Self(0)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// True if the last operation was a literal.
    #[inline]
    pub(crate) fn is_after_literal(self) -> bool {
        self.0 < 7
    }

    #[inline]
    pub(crate) fn after_literal(self) -> Self {
        Self(match self.0 {
            0..4 => 0,
            4..10 => self.0 - 3,
            _ => self.0 - 6,
        })
    }

    #[inline]
    pub(crate) fn after_match(self) -> Self {
        Self(if self.is_after_literal() { 7 } else { 10 })
    }

    #[inline]
    pub(crate) fn after_repetition(self) -> Self {
        Self(if self.is_after_literal() { 8 } else { 11 })
    }

    #[inline]
    pub(crate) fn after_single(self) -> Self {
        Self(if self.is_after_literal() { 9 } else { 11 })
    }
}

/// The last four distances, less one, the last one first.
pub(crate) type Distances = [u32; 4];

/// Moves a repeated distance to the front.
#[inline]
pub(crate) fn repeated(distances: Distances, number: usize) -> Distances {
    let [first, second, third, fourth] = distances;
    match number {
        0 => distances,
        1 => [second, first, third, fourth],
        2 => [third, first, second, fourth],
        _ => [fourth, first, second, third],
    }
}

/// Adds a distance.
#[inline]
pub(crate) fn added(distances: Distances, distance: u32) -> Distances {
    [distance, distances[0], distances[1], distances[2]]
}

/// A decoded operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OperationKind {
    Literal(u8),
    /// Distance, less one.
    Match(u32),
}

type ByPosition = [Probability; 1 << POSITION_BITS];

/// All probabilities, and prices computed from them now and then.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) state: State,
    pub(crate) distances: Distances,
    pub(crate) literal_context_bits: u8,
    pub(crate) literals: Vec<[Probability; 0x300]>,
    pub(crate) is_match: [ByPosition; State::COUNT],
    pub(crate) is_repetition: [Probability; State::COUNT],
    pub(crate) is_not_first: [Probability; State::COUNT],
    pub(crate) is_not_second: [Probability; State::COUNT],
    pub(crate) is_fourth: [Probability; State::COUNT],
    pub(crate) is_not_single: [ByPosition; State::COUNT],
    pub(crate) slots: [[Probability; 64]; LENGTH_CLASSES],
    /// Lower bits of distances in slots 4 to 13.
    pub(crate) lower: [[Probability; 32]; 10],
    pub(crate) lowest: [Probability; 16],
    pub(crate) match_lengths: Lengths,
    pub(crate) repetition_lengths: Lengths,
    near_prices: [[u32; NEAR]; LENGTH_CLASSES],
    slot_prices: [[u32; 64]; LENGTH_CLASSES],
    lowest_prices: [u32; 16],
    matches: u32,
}

impl Model {
    /// Creates the model for a block of this size.
    pub(crate) fn new(block: usize) -> Self {
        let literal_context_bits = literal_context_bits(block);
        let mut model = Self {
            state: State::initial(),
            distances: Distances::default(),
            literal_context_bits,
            literals: vec![[EVEN; 0x300]; 1 << literal_context_bits],
            is_match: [[EVEN; 1 << POSITION_BITS]; State::COUNT],
            is_repetition: [EVEN; State::COUNT],
            is_not_first: [EVEN; State::COUNT],
            is_not_second: [EVEN; State::COUNT],
            is_fourth: [EVEN; State::COUNT],
            is_not_single: [[EVEN; 1 << POSITION_BITS]; State::COUNT],
            slots: [[EVEN; 64]; LENGTH_CLASSES],
            lower: [[EVEN; 32]; 10],
            lowest: [EVEN; 16],
            match_lengths: Lengths::new(),
            repetition_lengths: Lengths::new(),
            near_prices: [[0; NEAR]; LENGTH_CLASSES],
            slot_prices: [[0; 64]; LENGTH_CLASSES],
            lowest_prices: [0; 16],
            matches: STALE,
        };
        model.refresh_prices();
        model
    }

    /// Computes the prices of distances anew if they are old.
    pub(crate) fn refresh_prices(&mut self) {
        if self.matches < STALE {
            return;
        }
        self.matches = 0;
        for (bits, slot) in self.lowest_prices.iter_mut().enumerate() {
            *slot = bit_trees::price_of_reversed(&self.lowest, 4, bits);
        }
        for (prices, slots) in self.slot_prices.iter_mut().zip(&self.slots) {
            for (slot, price) in prices.iter_mut().enumerate().take(SLOTS) {
                let even = if slot < 14 { 0 } else { lower_bits(slot) - 4 };
                *price = bit_trees::price_of(slots, 6, slot) + (even << PRICE_SCALE);
            }
        }
        for distance in 0..NEAR {
            let slot = slot_of(narrow(distance));
            let lower = slot.checked_sub(4).map_or(0, |lower| {
                let rest = distance - first_of_slot(slot) as usize;
                bit_trees::price_of_reversed(&self.lower[lower], lower_bits(slot), rest)
            });
            for (near, slots) in self.near_prices.iter_mut().zip(&self.slot_prices) {
                near[distance] = slots[slot] + lower;
            }
        }
    }

    /// Price of a distance for a class of lengths.
    #[inline]
    pub(crate) fn distance_price(&self, distance: u32, class: usize) -> u32 {
        let class = class & (LENGTH_CLASSES - 1);
        if let Some(price) = self.near_prices[class].get(distance as usize) {
            return *price;
        }
        self.slot_prices[class][slot_of(distance) & 63]
            + self.lowest_prices[(distance & 15) as usize]
    }

    /// Price of a literal's own bits, after the byte `before`; `matched` is the byte at the last
    /// distance, if the operation before was no literal.
    #[inline]
    pub(crate) fn literal_price(&self, before: u8, byte: u8, matched: Option<u8>) -> u32 {
        let tree = &self.literals[usize::from(before >> (8 - self.literal_context_bits))];
        let Some(matched) = matched else {
            return bit_trees::price_of(&tree[..256], 8, usize::from(byte));
        };
        let mut sum = 0;
        matched_bits(byte, matched, |node, bit| sum += price(tree[node], bit));
        sum
    }

    /// Prices of choosing a literal, and of choosing anything else.
    #[inline]
    pub(crate) fn choice_prices(&self, state: State, position: usize) -> (u32, u32) {
        let probability = self.is_match[state.index()][position];
        (price(probability, false), price(probability, true))
    }

    /// Prices of choosing a new distance, and an old one.
    #[inline]
    pub(crate) fn repetition_prices(&self, state: State) -> (u32, u32) {
        let probability = self.is_repetition[state.index()];
        (price(probability, false), price(probability, true))
    }

    /// Price of one of the four distances, after the choice of an old one.
    #[inline]
    pub(crate) fn repeated_price(&self, number: usize, state: State, position: usize) -> u32 {
        let state = state.index();
        let first = self.is_not_first[state];
        if number == 0 {
            return price(first, false) + price(self.is_not_single[state][position], true);
        }
        let second = self.is_not_second[state];
        let other = match number {
            1 => price(second, false),
            _ => price(second, true) + price(self.is_fourth[state], number == 3),
        };
        price(first, true) + other
    }

    /// Price of one byte at the last distance, after the choice of an old one.
    #[inline]
    pub(crate) fn single_price(&self, state: State, position: usize) -> u32 {
        let state = state.index();
        price(self.is_not_first[state], false) + price(self.is_not_single[state][position], false)
    }

    /// Encodes an operation for the data at a position.
    pub(crate) fn encode(
        &mut self,
        coder: &mut RangeCoder,
        data: &[u8],
        at: usize,
        operation: Operation,
    ) {
        let position = position_context(at);
        let state = self.state.index();
        let kind = operation.source.kind();
        coder.bit(&mut self.is_match[state][position], kind != SourceKind::Literal);
        match kind {
            SourceKind::Literal => self.encode_literal(coder, data, at),
            SourceKind::Distance(distance) => {
                coder.bit(&mut self.is_repetition[state], false);
                self.match_lengths.encode(coder, operation.length(), position);
                self.encode_distance(coder, distance, length_class(operation.length()));
                self.distances = added(self.distances, distance);
                self.state = self.state.after_match();
            }
            SourceKind::Repetition(number) => {
                coder.bit(&mut self.is_repetition[state], true);
                coder.bit(&mut self.is_not_first[state], number > 0);
                let is_single = operation.length() < SHORTEST;
                if number == 0 {
                    coder.bit(&mut self.is_not_single[state][position], !is_single);
                } else {
                    coder.bit(&mut self.is_not_second[state], number > 1);
                    if number > 1 {
                        coder.bit(&mut self.is_fourth[state], number > 2);
                    }
                }
                self.distances = repeated(self.distances, number);
                if is_single {
                    self.state = self.state.after_single();
                } else {
                    self.repetition_lengths.encode(coder, operation.length(), position);
                    self.state = self.state.after_repetition();
                }
            }
        }
    }

    fn encode_literal(&mut self, coder: &mut RangeCoder, data: &[u8], at: usize) {
        let before = at.checked_sub(1).map_or(0, |before| data[before]);
        let tree = &mut self.literals[usize::from(before >> (8 - self.literal_context_bits))];
        if self.state.is_after_literal() {
            bit_trees::encode(coder, &mut tree[..256], 8, usize::from(data[at]));
        } else {
            let matched = data[at - self.distances[0] as usize - 1];
            matched_bits(data[at], matched, |node, bit| coder.bit(&mut tree[node], bit));
        }
        self.state = self.state.after_literal();
    }

    fn encode_distance(&mut self, coder: &mut RangeCoder, distance: u32, class: usize) {
        self.matches += 1;
        let slot = slot_of(distance);
        bit_trees::encode(coder, &mut self.slots[class], 6, slot);
        let Some(lower) = slot.checked_sub(4) else { return };
        let (rest, bits) = (distance - first_of_slot(slot), lower_bits(slot));
        if let Some(tree) = self.lower.get_mut(lower) {
            bit_trees::encode_reversed(coder, tree, bits, rest as usize);
        } else {
            coder.even_bits(rest >> 4, bits - 4);
            bit_trees::encode_reversed(coder, &mut self.lowest, 4, (rest & 15) as usize);
        }
    }
}

/// Calls a function for each bit of a literal with a byte at the last distance, whose next bit chooses
/// the probability as long as all bits were equal.
#[inline]
fn matched_bits(byte: u8, matched: u8, mut each: impl FnMut(usize, bool)) {
    let mut node = 1;
    let mut is_equal = true;
    for at in (0..8).rev() {
        let (bit, other) = (byte >> at & 1, matched >> at & 1);
        let group = if is_equal { 0x100 << other } else { 0 };
        each((group + node).min(0x2ff), bit == 1);
        is_equal &= bit == other;
        node = node << 1 | usize::from(bit);
    }
}

/// The slot of a distance: twice the number of its highest bit, and the bit below.
#[inline]
fn slot_of(distance: u32) -> usize {
    if distance < 4 {
        return distance as usize;
    }
    let highest = distance.ilog2();
    (highest << 1 | distance >> (highest - 1) & 1) as usize
}

/// Number of bits that a slot leaves open, from slot 4 on.
pub(crate) const fn lower_bits(slot: usize) -> u32 {
    narrow(slot / 2 - 1)
}

/// The least distance of a slot, from slot 4 on.
pub(crate) const fn first_of_slot(slot: usize) -> u32 {
    narrow(2 | slot & 1) << lower_bits(slot)
}
