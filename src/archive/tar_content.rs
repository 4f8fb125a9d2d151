//! Unread content of an entry: a single piece of data, or several with holes between them.

use std::io::{self, Read};

use super::tar_block::BLOCK;

const ALIGNMENT: u64 = BLOCK as u64;

/// The unread rest of a file's content.
#[derive(Debug, Default)]
pub(super) struct TarContent {
    position: u64,
    size: u64,
    /// Pieces of data: offset and length, last piece first, none empty.
    pieces: Vec<(u64, u64)>,
    holes: u64,
    /// Bytes of the archive up to the next header.
    left: u64,
}

impl TarContent {
    /// Data without holes.
    pub(super) fn whole(size: u64) -> Self {
        Self::new(size, vec![(0, size)])
    }

    /// Data with holes: offsets and lengths of the pieces, of which `stored` bytes follow. Nothing
    /// if they don't fit together.
    pub(super) fn sparse(size: u64, stored: u64, mut pieces: Vec<(u64, u64)>) -> Option<Self> {
        pieces.retain(|(_, length)| *length > 0);
        let mut data = 0;
        let mut end = 0;
        for (offset, length) in &pieces {
            // Each piece begins with a block of its own, which stored sizes don't show.
            if *offset < end || data % ALIGNMENT != 0 {
                return None;
            }
            end = offset.checked_add(*length).filter(|end| *end <= size)?;
            data += length;
        }
        (data == stored).then(|| Self::new(size, pieces))
    }

    fn new(size: u64, mut pieces: Vec<(u64, u64)>) -> Self {
        pieces.retain(|(_, length)| *length > 0);
        pieces.reverse();
        let stored: u64 = pieces.iter().map(|(_, length)| *length).sum();
        let left = stored.next_multiple_of(ALIGNMENT);
        Self { position: 0, size, pieces, holes: size - stored, left }
    }

    /// Number of bytes that a reader gets in total.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Number of bytes in holes, which are not in the archive.
    pub(super) fn holes(&self) -> u64 {
        self.holes
    }

    /// Number of archive bytes up to the next header.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Reads on from the archive.
    pub(super) fn read(&mut self, mut input: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = |length: u64, buffer: &[u8]| {
            usize::try_from(length).unwrap_or(usize::MAX).min(buffer.len())
        };
        let count = match self.pieces.last_mut() {
            Some((offset, length)) if *offset == self.position => {
                let count = wanted(*length, buffer);
                let count = input.read(&mut buffer[..count])?;
                if count == 0 && !buffer.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                *offset += count as u64;
                *length -= count as u64;
                self.left -= count as u64;
                if *length == 0 {
                    self.pieces.pop();
                }
                count
            }
            piece => {
                let next = piece.map_or(self.size, |(offset, _)| *offset);
                let count = wanted(next - self.position, buffer);
                buffer[..count].fill(0);
                count
            }
        };
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_read_as_zeros() {
        let data = [1; 515];
        let mut content = TarContent::sparse(2000, 515, vec![(10, 512), (1500, 3)]).unwrap();
        assert_eq!((content.size(), content.holes(), content.left()), (2000, 1485, 1024));
        let mut out = Vec::new();
        let mut buffer = [9; 300];
        let mut input = data.as_slice();
        loop {
            let count = content.read(&mut input, &mut buffer).unwrap();
            if count == 0 {
                break;
            }
            out.extend_from_slice(&buffer[..count]);
        }
        let mut wanted = vec![0; 2000];
        wanted[10..522].fill(1);
        wanted[1500..1503].fill(1);
        assert!(out == wanted && content.left() == 509);
    }

    #[test]
    fn pieces_that_do_not_fit_are_refused() {
        for (size, stored, pieces) in [
            (10, 10, vec![(0, 5), (4, 5)]),
            (10, 11, vec![(0, 11)]),
            (10, 5, vec![(0, 6)]),
            (1000, 11, vec![(0, 10), (20, 1)]),
            (u64::MAX, u64::MAX, vec![(u64::MAX, 2)]),
        ] {
            assert!(TarContent::sparse(size, stored, pieces.clone()).is_none(), "{pieces:?}");
        }
    }
}
