//! Limit of one input's size, against archives with an excessive compression ratio.

use std::io::{self, Read};

use crate::archive::LimitExceeded;

/// Returns the exceeded limit, if a limit caused the error.
pub(super) fn exceeded(error: &io::Error) -> Option<LimitExceeded> {
    error.get_ref()?.downcast_ref().copied()
}

/// Reader that fails when its output exceeds the rest of a limit.
pub(super) struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R> Limited<R> {
    /// Wraps a reader. `limit` is named in the error; `left` is the remaining part.
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
