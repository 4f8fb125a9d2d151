//! Comparison of an object with content of this machine.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::artifact::{ArtifactContent, SignatureSource};
use crate::store::signature::{LONGEST, TrustedKeys, verify};
use crate::store::{Backend, ObjectContent, ObjectKey, StoreError, StoreTransfer};

/// Local content.
#[derive(Debug, Clone, Copy)]
pub(super) enum Local<'c> {
    Bytes(&'c [u8]),
    File(&'c Path),
    Signature(&'c SignatureSource),
}

impl<'c> Local<'c> {
    /// Returns the local content of a source.
    pub(super) fn of(source: &'c ArtifactContent) -> Self {
        match source {
            ArtifactContent::Bytes(bytes) => Self::Bytes(bytes),
            ArtifactContent::File(path) => Self::File(path),
            ArtifactContent::Stored { otherwise, .. } => Self::of(otherwise),
            ArtifactContent::Signature(signature) => Self::Signature(signature),
        }
    }

    /// The file, if the content is in one.
    pub(super) fn path(self) -> Option<&'c Path> {
        match self {
            Self::Bytes(_) | Self::Signature(_) => None,
            Self::File(path) => Some(path),
        }
    }

    fn length(self) -> io::Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::File(path) => Ok(fs_err::metadata(path)?.len()),
            Self::Signature(signature) => Ok(signature.text.len() as u64),
        }
    }

    /// The content for a store.
    pub(super) fn content(self, key: &ObjectKey) -> Result<ObjectContent<'c>, StoreError> {
        let length =
            self.length().map_err(|error| StoreError::Content { key: key.clone(), error })?;
        Ok(match self {
            Self::Bytes(bytes) => ObjectContent::Bytes(bytes),
            Self::File(path) => ObjectContent::File(path, length),
            Self::Signature(signature) => ObjectContent::Bytes(&signature.text),
        })
    }
}

/// Compares an object with content of this machine; `None` if there is no such object. Nothing but the
/// size is asked where that differs.
pub(super) fn is_equal(
    backend: &dyn Backend,
    key: &ObjectKey,
    local: Local<'_>,
    transfer: &StoreTransfer<'_>,
) -> Result<Option<bool>, StoreError> {
    if let Local::Signature(signature) = local {
        return signature.counts(backend, key, transfer);
    }
    let head = match backend.head(key, transfer) {
        Err(error) if error.is_not_found() => return Ok(None),
        head => head?,
    };
    let unreadable = |error| StoreError::Content { key: key.clone(), error };
    let length = local.length().map_err(unreadable)?;
    // Some servers tell no size (chunked responses); the comparison finds out then.
    if head.size.is_some_and(|size| size != length) {
        return Ok(Some(false));
    }
    let mut compared = Compared {
        left: length,
        differs: false,
        local: ContentReader::open(local).map_err(unreadable)?,
    };
    // One byte more tells an object that is longer.
    match backend.get_range(key, 0..length + 1, &mut compared, transfer) {
        Ok(_) => Ok(Some(!compared.differs && compared.left == 0)),
        // The error is this program's own, by which the transfer was ended.
        Err(_) if compared.differs => Ok(Some(false)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

impl SignatureSource {
    /// True for a signature by the same key, of the same content, for the same id.
    fn counts(
        &self,
        backend: &dyn Backend,
        key: &ObjectKey,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Option<bool>, StoreError> {
        let mut text = Vec::new();
        match backend.get_range(key, 0..LONGEST + 1, &mut text, transfer) {
            Err(error) if error.is_not_found() => return Ok(None),
            got => drop(got?),
        }
        let unreadable = |error| StoreError::Content { key: key.clone(), error };
        let content = ContentReader::open(Local::of(&self.of)).map_err(unreadable)?;
        // This key alone, whatever the caller trusts: the signature is to be replaced by one of
        // this key otherwise.
        let keys = TrustedKeys::new([self.key.clone()], Vec::new());
        Ok(Some(verify(content, &text, &self.id, &keys).is_ok()))
    }
}

pub(super) enum ContentReader<'c> {
    Bytes(&'c [u8]),
    File(File),
}

impl<'c> ContentReader<'c> {
    pub(super) fn open(local: Local<'c>) -> io::Result<Self> {
        Ok(match local {
            Local::Bytes(bytes) => Self::Bytes(bytes),
            Local::File(path) => Self::File(fs_err::File::open(path)?.into_file()),
            Local::Signature(signature) => Self::Bytes(&signature.text),
        })
    }
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => bytes.read(buffer),
            Self::File(file) => file.read(buffer),
        }
    }
}

/// Writer that compares; the first difference is an error, which ends the transfer.
struct Compared<'c> {
    local: ContentReader<'c>,
    left: u64,
    differs: bool,
}

impl Write for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut same = vec![0; bytes.len()];
        let is_same = bytes.len() as u64 <= self.left
            && self.local.read_exact(&mut same).is_ok()
            && same == bytes;
        if !is_same {
            self.differs = true;
            return Err(io::Error::other("the content differs"));
        }
        self.left -= bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::event::Silent;
    use crate::store::FolderBackend;

    #[test]
    fn objects_are_equal_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let backend = FolderBackend::new(folder.path().to_owned());
        let key: ObjectKey = "a".parse().unwrap();
        let transfer = StoreTransfer { subject: "s", observer: &Silent };
        let equal = |local: Local<'_>| is_equal(&backend, &key, local, &transfer).unwrap();
        assert_eq!(equal(Local::Bytes(b"x")), None);
        let content = vec![7; 600_000];
        fs_err::write(folder.path().join("a"), &content).unwrap();
        assert_eq!(equal(Local::Bytes(&content)), Some(true));
        assert_eq!(equal(Local::Bytes(&content[1..])), Some(false));
        let mut other = content.clone();
        other[599_999] = 8;
        assert_eq!(equal(Local::Bytes(&other)), Some(false));
        let file = folder.path().join("local");
        fs_err::write(&file, &content).unwrap();
        assert_eq!(equal(Local::File(&file)), Some(true));
        fs_err::write(&file, &other).unwrap();
        assert_eq!(equal(Local::File(&file)), Some(false));
        fs_err::write(folder.path().join("a"), "").unwrap();
        assert_eq!(equal(Local::Bytes(b"")), Some(true));
    }
}
