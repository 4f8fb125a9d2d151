//! Content of the engine's storage, which is named by its digest.

use std::fmt;
use std::path::PathBuf;

use bazel_remote_apis::build::bazel::remote::execution::v2::Digest;

use crate::base::digest::Sha256Sum;

/// Digest of a blob: sum and size.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BlobDigest {
    /// SHA-256.
    pub(super) sum: Sha256Sum,
    /// Size in bytes.
    pub(super) bytes: u64,
}

impl BlobDigest {
    /// Digest of bytes in memory.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { sum: Sha256Sum::of(bytes), bytes: bytes.len() as u64 }
    }

    /// Reads a digest of the engine; `None` if it is missing or not valid.
    pub(super) fn read(digest: Option<&Digest>) -> Option<Self> {
        let Digest { hash, size_bytes } = digest?;
        Some(Self { sum: hash.parse().ok()?, bytes: u64::try_from(*size_bytes).ok()? })
    }

    /// Reads a digest out of `blobs/SUM/SIZE`, the name of a missing blob.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let mut parts = name.rsplit('/');
        let (bytes, sum, kind) = (parts.next()?, parts.next()?, parts.next()?);
        (kind == "blobs").then_some(())?;
        Some(Self { sum: sum.parse().ok()?, bytes: bytes.parse().ok()? })
    }

    /// The digest as a message.
    pub(super) fn message(&self) -> Digest {
        let size_bytes = i64::try_from(self.bytes).unwrap_or(i64::MAX);
        Digest { hash: self.sum.to_string(), size_bytes }
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sum, self.bytes)
    }
}

/// Bytes of a blob.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// In memory.
    Memory(Vec<u8>),
    /// In a file.
    File(PathBuf),
}

/// Blob that the engine needs.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Digest.
    pub(super) digest: BlobDigest,
    /// Bytes.
    pub(super) content: Content,
}

impl Blob {
    /// Blob of bytes in memory.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { digest: BlobDigest::of(&bytes), content: Content::Memory(bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_the_engine_are_checked() {
        let sum = "a".repeat(64);
        let message = |hash: &str, size_bytes| Digest { hash: hash.to_owned(), size_bytes };
        let read = BlobDigest::read(Some(&message(&sum, 7))).unwrap();
        assert_eq!((read.sum.as_str(), read.bytes), (sum.as_str(), 7));
        assert_eq!(read.message(), message(&sum, 7));
        for wrong in [message("a", 7), message("../a", 7), message(&sum, -1), message("", 0)] {
            assert_eq!(BlobDigest::read(Some(&wrong)), None, "{wrong:?}");
        }
        assert_eq!(BlobDigest::read(None), None);
    }

    #[test]
    fn names_of_missing_blobs_are_read() {
        let sum = "b".repeat(64);
        for (name, found) in [
            (format!("blobs/{sum}/12"), true),
            (format!("instance/blobs/{sum}/12"), true),
            (format!("{sum}/12"), false),
            (format!("blobs/{sum}/-1"), false),
            ("blobs/x/12".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(BlobDigest::of_name(&name).is_some(), found, "{name}");
        }
    }
}
