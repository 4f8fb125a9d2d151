//! The map of a sparse file in POSIX form 1.0: decimal numbers before the data, each with a line feed, filled
//! up to a whole block (GNU tar's manual, "Storing Sparse Files").

/// Upper limit of pieces, as the list is in memory.
pub(super) const MOST_PIECES: usize = 1 << 20;

/// Numbers of the map of a sparse file in form 1.0, read block by block.
#[derive(Debug, Default)]
pub(super) struct MapNumbers {
    /// The number of pieces, then their offsets and lengths.
    numbers: Vec<u64>,
    /// Value of the digits so far of a number that continues in the next block.
    digits: Option<u64>,
}

impl MapNumbers {
    /// True if all numbers of the map were read.
    pub(super) fn is_complete(&self) -> bool {
        let wanted = self.numbers.first().map(|count| count * 2 + 1);
        wanted == Some(self.numbers.len() as u64)
    }

    /// Adds a block; `None` if the block is not valid in a map.
    pub(super) fn add(&mut self, block: &[u8]) -> Option<()> {
        for byte in block {
            if self.is_complete() {
                return Some(());
            }
            match byte {
                b'0'..=b'9' => {
                    let digits = self.digits.unwrap_or_default();
                    let digits = digits.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?;
                    self.digits = Some(digits);
                }
                b'\n' => self.numbers.push(self.digits.take()?),
                _ => return None,
            }
            if self.numbers.first().is_some_and(|count| *count > MOST_PIECES as u64) {
                return None;
            }
        }
        Some(())
    }

    /// Offsets and lengths.
    pub(super) fn pieces(&self) -> Vec<(u64, u64)> {
        let (pairs, _) = self.numbers.get(1..).unwrap_or_default().as_chunks::<2>();
        pairs.iter().map(|[offset, length]| (*offset, *length)).collect()
    }
}
