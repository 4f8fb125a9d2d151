//! Operations of an encoded block, without the data.

/// Bytes from a distance; literals if the distance is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copied {
    pub(crate) distance: u32,
    pub(crate) length: u32,
}

/// The operations of a block: one to two bytes of memory per byte of most data, and at most eight.
#[derive(Debug, Default)]
pub struct Operations {
    list: Vec<Copied>,
    size: usize,
}

impl Operations {
    #[inline]
    pub(crate) fn add_literals(&mut self, count: u32) {
        self.size += count as usize;
        match self.list.last_mut() {
            Some(last) if last.distance == 0 => last.length += count,
            _ => self.list.push(Copied { distance: 0, length: count }),
        }
    }

    #[inline]
    pub(crate) fn add_match(&mut self, distance: u32, length: u32) {
        self.size += length as usize;
        self.list.push(Copied { distance, length });
    }

    pub(crate) fn as_slice(&self) -> &[Copied] {
        &self.list
    }

    /// Size of the block in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}
