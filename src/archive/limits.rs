//! Limits against decompression bombs.

use crate::base::remedy::{RAISE_UNPACKED, raise_limit};
use std::io::{self, Read};

/// Limits of an archive's unpacked size. The defaults stop a bomb before the disk is full; a caller
/// with better knowledge raises them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ArchiveLimits {
    /// Bytes that come out of the decompressor, and bytes of holes in sparse files.
    pub max_bytes: u64,
    /// Entries, including the folders that only the names of others imply.
    pub max_entries: u64,
    /// Sum of the bytes of all names and link targets, which are kept in memory.
    pub max_name_bytes: u64,
    /// Threads that decompress, where the compression allows several; never more than cores.
    pub max_threads: u32,
}

impl ArchiveLimits {
    /// No limits.
    pub const NONE: Self = Self {
        max_bytes: u64::MAX,
        max_entries: u64::MAX,
        max_name_bytes: u64::MAX,
        max_threads: u32::MAX,
    };
}

impl Default for ArchiveLimits {
    fn default() -> Self {
        Self {
            // docs/format.md and docs/security.md name these numbers.
            max_bytes: 64 << 30,
            max_entries: 4_000_000,
            max_name_bytes: 256 << 20,
            ..Self::NONE
        }
    }
}

/// Kind of the exceeded limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// See [`ArchiveLimits::max_bytes`].
    #[error("it unpacks to more than {0} bytes")]
    Bytes(u64),
    /// See [`ArchiveLimits::max_entries`].
    #[error("it has more than {0} entries")]
    Entries(u64),
    /// See [`ArchiveLimits::max_name_bytes`].
    #[error("its names have more than {0} bytes")]
    NameBytes(u64),
}

impl LimitExceeded {
    /// Way to raise the limit, where possible.
    pub fn remedy(self) -> Option<&'static str> {
        match self {
            Self::Bytes(_) => Some(RAISE_UNPACKED),
            Self::Entries(_) => Some(concat!(
                "if it is meant to have that many, ",
                raise_limit!("entries", "ENTRIES")
            )),
            Self::NameBytes(_) => None,
        }
    }
}

/// Number of entries so far, and of the bytes of their names and link targets.
#[derive(Debug, Default)]
pub(super) struct EntryCount {
    entries: u64,
    name_bytes: u64,
}

impl EntryCount {
    /// Counts an entry, with the bytes of its name and link target.
    pub(super) fn add(
        &mut self,
        name_bytes: usize,
        limits: &ArchiveLimits,
    ) -> Result<(), LimitExceeded> {
        self.entries += 1;
        self.name_bytes += name_bytes as u64;
        if self.entries > limits.max_entries {
            return Err(LimitExceeded::Entries(limits.max_entries));
        }
        if self.name_bytes > limits.max_name_bytes {
            return Err(LimitExceeded::NameBytes(limits.max_name_bytes));
        }
        Ok(())
    }
}

/// Reader that fails when its output exceeds a limit.
#[derive(Debug)]
pub(super) struct MeteredReader<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R> MeteredReader<R> {
    pub(super) fn new(inner: R, limits: &ArchiveLimits) -> Self {
        Self { inner, left: limits.max_bytes, limit: limits.max_bytes }
    }
}

impl<R: Read> Read for MeteredReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other(LimitExceeded::Bytes(self.limit))),
        }
        Ok(count)
    }
}
