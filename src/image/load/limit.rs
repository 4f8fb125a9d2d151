//! A limit on what one input may take, against archives that unpack to more than anybody meant.

use std::io::{self, Read};

use crate::archive::LimitExceeded;

/// The limit that a reader ran into, if that is what an error is about.
pub(super) fn exceeded(error: &io::Error) -> Option<LimitExceeded> {
    error.get_ref()?.downcast_ref().copied()
}

/// A reader that fails where it would give more than is left of a limit.
pub(super) struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R> Limited<R> {
    /// `limit` is what the error names; `left` is what is left of it.
    pub(super) fn new(inner: R, limit: u64, left: u64) -> Self {
        Self { inner, limit, left }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.left.checked_sub(count as u64);
        self.left = left.ok_or_else(|| io::Error::other(LimitExceeded::Bytes(self.limit)))?;
        Ok(count)
    }
}
