//! Limits on what one image may take, against archives that unpack to more than anybody meant.

use std::io::{self, Read};

/// What loading may take. Raised where an image is really that large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadLimits {
    /// Bytes of all layers uncompressed, and of the input uncompressed.
    pub bytes: u64,
    /// Entries of an archive, and manifests of an index.
    pub entries: u64,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { bytes: 64 * 1024 * 1024 * 1024, entries: 100_000 }
    }
}

/// The marker of a reader that would give more than it may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("more than {0} bytes")]
pub(super) struct OverLimit(pub(super) u64);

impl OverLimit {
    /// The limit, if this is what an error is about.
    pub(super) fn of(error: &io::Error) -> Option<u64> {
        error.get_ref()?.downcast_ref::<Self>().map(|over| over.0)
    }
}

/// A reader that fails where it would give more than `left` bytes.
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
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other(OverLimit(self.limit)))?;
        Ok(count)
    }
}
