//! Detection of already compressed data, at a hundredth of the cost of compressing again.
//!
//! Data is examined in grains. A grain is dense if all bytes are about equally frequent, no part
//! repeats an earlier one, and zeros in a row are rare. Consecutive dense grains are stored if they
//! are at least half as long as the dictionary: the following data begins without a dictionary, and
//! loses little. All arithmetic is on integers, so that all machines have the same result.

use std::ops::Range;

use super::block::Method;

const GRAIN: usize = 256 << 10;

/// The shortest stretch in the middle of other data that is stored.
const SHORTEST_RUN: usize = 4 << 20;

/// The reciprocal of the possible gain from unequal frequencies, by the square of their deviation:
/// 1/24 of it is about 0.4 % of the data.
const UNEVENNESS: u64 = 24;

/// The reciprocal of the part of a grain that may have come before, or be zeros in a row.
const REPETITION: u64 = 128;

/// Sampling interval of positions to look up; positions are chosen by the data.
const SAMPLE: u64 = 64;

/// The logarithm of the number of places that are remembered: all of 32 MiB.
const PLACES: u32 = 19;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grain {
    Dense,
    /// It would be dense, but came before.
    Repeated,
    Plain,
}

/// Parts a piece of data by how it is best encoded; the parts are in order and leave nothing out.
pub(super) fn parts(data: &[u8]) -> Vec<(Range<usize>, Method)> {
    parts_by(data, SHORTEST_RUN)
}

fn parts_by(data: &[u8], shortest: usize) -> Vec<(Range<usize>, Method)> {
    let whole = |method| vec![(0..data.len(), method)];
    let mut seen = Seen(Vec::new());
    let grains: Vec<Grain> = data.chunks(GRAIN).map(|grain| seen.classify(grain)).collect();
    if grains.contains(&Grain::Repeated) {
        // A repetition must be in the same block.
        return whole(Method::Compressed);
    }
    if grains.iter().all(|grain| *grain == Grain::Dense) {
        return whole(Method::Stored);
    }
    let mut parts: Vec<(Range<usize>, Method)> = Vec::new();
    let mut at = 0;
    for run in grains.chunk_by(|one, other| one == other) {
        let end = (at + run.len() * GRAIN).min(data.len());
        let stored = run[0] == Grain::Dense && end - at >= shortest;
        let method = if stored { Method::Stored } else { Method::Compressed };
        match parts.last_mut() {
            Some((range, last)) if *last == method => range.end = end,
            _ => parts.push((at..end, method)),
        }
        at = end;
    }
    parts
}

/// Positions in dense grains so far, by a hash of their data.
struct Seen(Vec<u32>);

impl Seen {
    fn classify(&mut self, grain: &[u8]) -> Grain {
        if !is_even(grain) {
            return Grain::Plain;
        }
        if self.0.is_empty() {
            self.0 = vec![0; 1 << PLACES];
        }
        let mut repeated = 0;
        let mut zeros = 0;
        for eight in grain.windows(8).filter_map(<[u8]>::first_chunk) {
            let eight = u64::from_le_bytes(*eight);
            if eight == 0 {
                zeros += 1;
                continue;
            }
            let hash = eight.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if !(hash >> 32).is_multiple_of(SAMPLE) {
                continue;
            }
            let place = usize::try_from(hash >> (64 - PLACES)).unwrap_or(0);
            // Never 0, which is nothing.
            let tag = u32::try_from(hash & 0xffff_ffff).unwrap_or(0) | 1;
            repeated += u64::from(self.0[place] == tag) * SAMPLE;
            self.0[place] = tag;
        }
        let bearable = grain.len() as u64 / REPETITION;
        match (repeated > bearable, zeros > bearable) {
            (true, _) => Grain::Repeated,
            (false, true) => Grain::Plain,
            (false, false) => Grain::Dense,
        }
    }
}

/// True if all bytes are about as frequent: by the sum of squares, which is smallest then.
fn is_even(grain: &[u8]) -> bool {
    // Four tables, or equal bytes in a row would wait for one another.
    let mut tables = [[0_u32; 256]; 4];
    for four in grain.chunks(4) {
        for (byte, table) in four.iter().zip(&mut tables) {
            table[usize::from(*byte)] += 1;
        }
    }
    let [a, b, c, d] = tables;
    let squares: u64 =
        (0..256).map(|byte| u64::from(a[byte] + b[byte] + c[byte] + d[byte]).pow(2)).sum();
    let length = grain.len() as u64;
    (256 * squares - length * length) * UNEVENNESS <= length * length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns numbers that look random.
    fn noise(length: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33).to_le_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    fn text(length: usize) -> Vec<u8> {
        b"a bootstrap of packages\n".iter().copied().cycle().take(length).collect()
    }

    #[test]
    fn only_long_stretches_of_noise_are_stored() {
        use Method::{Compressed, Stored};
        let n = 3 * GRAIN;
        let [noise, more] = [noise(n, 1), noise(n, 2)];
        let text = text(GRAIN);
        for (name, data, wanted) in [
            ("text", text.clone(), vec![(0..GRAIN, Compressed)]),
            ("noise", [&noise[..], &more].concat(), vec![(0..2 * n, Stored)]),
            ("a little noise", noise[..GRAIN].to_vec(), vec![(0..GRAIN, Stored)]),
            (
                "noise, text, noise",
                [&noise[..], &text, &more].concat(),
                vec![
                    (0..n, Stored),
                    (n..n + GRAIN, Compressed),
                    (n + GRAIN..2 * n + GRAIN, Stored),
                ],
            ),
            (
                "too little noise to part text",
                [&text[..], &noise[..n - GRAIN], &text].concat(),
                vec![(0..n + GRAIN, Compressed)],
            ),
            (
                "noise that came before, elsewhere in its grain",
                [&noise[..], &text[..999], &noise].concat(),
                vec![(0..2 * n + 999, Compressed)],
            ),
            ("nothing", Vec::new(), vec![(0..0, Stored)]),
        ] {
            assert_eq!(parts_by(&data, n), wanted, "{name}");
        }
    }

    #[test]
    fn the_headers_of_files_are_borne_and_many_are_not() {
        for (headers, wanted) in [(1, Method::Stored), (16, Method::Compressed)] {
            let mut data = noise(2 * GRAIN, 3);
            for header in data.chunks_mut(2 * GRAIN / headers) {
                header[..500].fill(0);
            }
            assert_eq!(parts(&data), [(0..2 * GRAIN, wanted)], "{headers}");
        }
    }
}
