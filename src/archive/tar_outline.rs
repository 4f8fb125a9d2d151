//! What is known of a tar before it is written: its size, and where large files are.

use std::ops::Range;

use super::tar_block::BLOCK;
use super::tar_write::END_BYTES;

/// The least size of a file whose content may become a closed region.
const LARGE: u64 = 1 << 20;

/// Size of a tar, and the contents of large files in it, which a bootstrap takes over as they are encoded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TarOutline {
    /// Size in bytes.
    pub bytes: u64,
    /// Positions of the contents of large files, in ascending order.
    pub large: Vec<Range<u64>>,
}

impl TarOutline {
    /// Outline of a whole tar, of entries given by their sizes with and without headers, in bytes.
    pub(super) fn of(entries: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut outline = Self::default();
        for (all, content) in entries {
            outline.bytes = outline.bytes.saturating_add(all);
            if content >= LARGE {
                let begin = outline.bytes - content.next_multiple_of(BLOCK as u64).min(all);
                outline.large.push(begin..outline.bytes);
            }
        }
        outline.bytes = outline.bytes.saturating_add(END_BYTES);
        outline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_files_are_where_they_are() {
        let sizes = [(512, 0), (512 + (1 << 20), (1 << 20) - 1), (512 + (1 << 20), 1 << 20)];
        let TarOutline { bytes, large } = TarOutline::of(sizes.into_iter());
        assert_eq!(bytes, 3 * 512 + (2 << 20) + 1024);
        let last = 3 * 512 + (1 << 20)..3 * 512 + (2 << 20);
        assert_eq!(large, std::slice::from_ref(&last));
        let endless = TarOutline::of([(u64::MAX, u64::MAX - 1024), (512, 0)].into_iter());
        assert_eq!(endless.bytes, u64::MAX);
    }
}
