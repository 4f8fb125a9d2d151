//! The range coder of LZMA, and the prices of bits.

/// An adaptive probability of a zero bit, in units of 1/2048.
pub(crate) type Probability = u16;

/// Probability at the start.
pub(crate) const EVEN: Probability = 1 << 10;

/// Speed of adaption: a probability moves by 1/32 of the distance to the bit's own.
pub(crate) const ADAPTION: u32 = 5;

/// Range below which a byte is put out.
pub(crate) const LEAST_RANGE: u32 = 1 << 24;

/// Bits of a price behind the point: prices count 32nds of a bit.
pub(crate) const PRICE_SCALE: u32 = 5;

/// Encoder of bits.
#[derive(Debug)]
pub(crate) struct RangeCoder {
    low: u64,
    range: u32,
    /// The last byte that a carry may still change, and the number of bytes from it on.
    cache: u8,
    pending: usize,
    out: Vec<u8>,
}

impl RangeCoder {
    pub(crate) fn new() -> Self {
        Self { low: 0, range: u32::MAX, cache: 0, pending: 1, out: Vec::with_capacity(64 << 10) }
    }

    /// Starts anew, without output.
    pub(crate) fn reset(&mut self) {
        self.out.clear();
        *self = Self { out: std::mem::take(&mut self.out), ..Self::new_empty() };
    }

    fn new_empty() -> Self {
        Self { low: 0, range: u32::MAX, cache: 0, pending: 1, out: Vec::new() }
    }

    /// Number of bytes if the output ended here.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.out.len() + self.pending + 4
    }

    /// Encodes a bit and adapts its probability.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "most of the encoder's calls: 3 % of the time")]
    pub(crate) fn bit(&mut self, probability: &mut Probability, bit: bool) {
        let bound = (self.range >> 11) * u32::from(*probability);
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
            *probability -= *probability >> ADAPTION;
        } else {
            self.range = bound;
            *probability += (2 * EVEN - *probability) >> ADAPTION;
        }
        if self.range < LEAST_RANGE {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Encodes the lowest bits of a value, which are as often one as zero.
    pub(crate) fn even_bits(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            self.range >>= 1;
            if value >> at & 1 == 1 {
                self.low += u64::from(self.range);
            }
            if self.range < LEAST_RANGE {
                self.range <<= 8;
                self.shift();
            }
        }
    }

    /// Puts out the top byte of `low`, unless a carry may still change it.
    fn shift(&mut self) {
        let [_, _, _, carry, top, ..] = self.low.to_be_bytes();
        if top != 0xff || carry != 0 {
            self.out.push(self.cache.wrapping_add(carry));
            for _ in 1..self.pending {
                self.out.push(0xff_u8.wrapping_add(carry));
            }
            self.pending = 0;
            self.cache = top;
        }
        self.pending += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    /// Ends the output, and returns it.
    pub(crate) fn finish(&mut self) -> &[u8] {
        for _ in 0..5 {
            self.shift();
        }
        &self.out
    }
}

/// Prices by the probability's upper seven bits.
static PRICES: [u16; 128] = prices();

/// -log2 of the middle of each step, by squaring: no machine rounds otherwise.
const fn prices() -> [u16; 128] {
    const BITS: u32 = 12;
    const ONE: u64 = 1 << 32;
    let mut table = [0; 128];
    let mut step = 0;
    while step < table.len() {
        let mut value = (2 * step as u64 + 1) << 24;
        let mut log: u64 = 0;
        while value < ONE {
            value <<= 1;
            log += 1 << BITS;
        }
        let mut bit = 1 << (BITS - 1);
        while bit > 0 {
            value = ((value >> 4) * (value >> 4)) >> 24;
            if value >= 2 * ONE {
                value >>= 1;
                log -= bit;
            }
            bit >>= 1;
        }
        let rounded = (log + (1 << (BITS - PRICE_SCALE - 1))) >> (BITS - PRICE_SCALE);
        let [low, high, ..] = rounded.to_le_bytes();
        table[step] = u16::from_le_bytes([low, high]);
        step += 1;
    }
    table
}

/// Price of a bit with a probability.
#[inline]
pub(crate) fn price(probability: Probability, bit: bool) -> u32 {
    let likely = if bit { 2047 - (probability & 2047) } else { probability & 2047 };
    u32::from(PRICES[usize::from(likely >> 4) & 127])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_logarithms() {
        for probability in 1..2048_u16 {
            let middle = f64::from(probability >> 4) + 0.5;
            let wanted = -(middle / 128.0).log2() * f64::from(1 << PRICE_SCALE);
            let found = f64::from(price(probability, false));
            assert!((found - wanted).abs() <= 0.6, "{probability}: {found}, not {wanted}");
        }
        assert_eq!(price(EVEN, true) + price(EVEN, false), 64);
    }

    /// A carry runs through all bytes that wait for it.
    #[test]
    fn a_carry_reaches_the_bytes_before() {
        let mut coder = RangeCoder::new();
        coder.low = 0xffff_ffff;
        (0..3).for_each(|_| coder.shift());
        assert_eq!((coder.out.len(), coder.pending), (0, 4));
        coder.low += 1 << 32;
        assert_eq!(coder.finish()[..4], [1, 0, 0, 0]);
    }
}
