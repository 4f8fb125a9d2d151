//! Decoding of operations by the model.

use crate::lengths::{Lengths, SHORTEST};
use crate::model::{
    Model, OperationKind, added, first_of_slot, length_class, lower_bits, position_context,
    repeated,
};
use crate::range_decoder::RangeDecoder;

impl Model {
    /// Decodes the operation at a position of the data, and its length; `None` if it is not valid.
    #[inline]
    pub(crate) fn decode(
        &mut self,
        coder: &mut RangeDecoder<'_>,
        data: &[u8],
        at: usize,
    ) -> Option<(OperationKind, usize)> {
        let position = position_context(at);
        let state = self.state.index();
        if !coder.bit(&mut self.is_match[state][position]) {
            return self
                .decode_literal(coder, data, at)
                .map(|byte| (OperationKind::Literal(byte), 1));
        }
        if !coder.bit(&mut self.is_repetition[state]) {
            let length = self.match_lengths.decode(coder, position);
            let distance = self.decode_distance(coder, length_class(length))?;
            self.distances = added(self.distances, distance);
            self.state = self.state.after_match();
            return Some((OperationKind::Match(distance), length));
        }
        let number = if !coder.bit(&mut self.is_not_first[state]) {
            if !coder.bit(&mut self.is_not_single[state][position]) {
                self.state = self.state.after_single();
                return Some((OperationKind::Match(self.distances[0]), 1));
            }
            0
        } else if !coder.bit(&mut self.is_not_second[state]) {
            1
        } else {
            2 + usize::from(coder.bit(&mut self.is_fourth[state]))
        };
        self.distances = repeated(self.distances, number);
        let length = self.repetition_lengths.decode(coder, position);
        self.state = self.state.after_repetition();
        Some((OperationKind::Match(self.distances[0]), length))
    }

    #[inline]
    fn decode_literal(
        &mut self,
        coder: &mut RangeDecoder<'_>,
        data: &[u8],
        at: usize,
    ) -> Option<u8> {
        let before = at.checked_sub(1).and_then(|before| data.get(before)).copied().unwrap_or(0);
        let tree = &mut self.literals[usize::from(before >> (8 - self.literal_context_bits))];
        let mut node = 1;
        if self.state.is_after_literal() {
            while node < 0x100 {
                node = node << 1 | usize::from(coder.bit(&mut tree[node]));
            }
        } else {
            let matched = at.checked_sub(self.distances[0] as usize + 1)?;
            let mut matched = usize::from(*data.get(matched)?);
            // As long as all bits are those of the other byte.
            let mut group = 0x100;
            while node < 0x100 {
                matched <<= 1;
                let other = matched & group;
                let bit = coder.bit(&mut tree[(group + other + node).min(0x2ff)]);
                node = node << 1 | usize::from(bit);
                group &= if bit { other } else { !other };
            }
        }
        self.state = self.state.after_literal();
        let [byte, ..] = node.to_le_bytes();
        Some(byte)
    }

    #[inline]
    fn decode_distance(&mut self, coder: &mut RangeDecoder<'_>, class: usize) -> Option<u32> {
        let slot = coder.tree(&mut self.slots[class], 6);
        let Some(lower) = slot.checked_sub(4) else { return u32::try_from(slot).ok() };
        let (first, bits) = (first_of_slot(slot), lower_bits(slot));
        let rest = if let Some(tree) = self.lower.get_mut(lower) {
            coder.reversed_tree(tree, bits)
        } else {
            let high = coder.even_bits(bits - 4) << 4;
            high | coder.reversed_tree(&mut self.lowest, 4)
        };
        // The end of data, which LZMA2 does not have.
        first.checked_add(rest).filter(|distance| *distance < u32::MAX)
    }
}

impl Lengths {
    #[inline]
    fn decode(&mut self, coder: &mut RangeDecoder<'_>, position: usize) -> usize {
        SHORTEST
            + if !coder.bit(&mut self.is_long) {
                coder.tree(&mut self.short[position], 3)
            } else if !coder.bit(&mut self.is_longest) {
                8 + coder.tree(&mut self.long[position], 3)
            } else {
                16 + coder.tree(&mut self.longest, 8)
            }
    }
}
