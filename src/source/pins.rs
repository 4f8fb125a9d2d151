//! Files pinned by a tree's lock: SHA-256 and size beside the SHA-1 in a package's declaration.

use std::collections::BTreeMap;

use crate::base::digest::{Sha1Sum, Sha256Sum};
use crate::base::http::redact;
use crate::package::FileSource;

/// A file as a lock pins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePin {
    /// SHA-256 of the content.
    pub sha256: Sha256Sum,
    /// Number of bytes.
    pub size: u64,
}

/// Pins by URL, without credentials, and SHA-1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilePins(BTreeMap<(String, Sha1Sum), FilePin>);

impl FilePins {
    /// Pin of a file.
    pub fn of(&self, file: &FileSource) -> Option<&FilePin> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(&(redact(&file.url), file.sha1.clone()))
    }
}

impl FromIterator<(String, Sha1Sum, FilePin)> for FilePins {
    fn from_iter<I: IntoIterator<Item = (String, Sha1Sum, FilePin)>>(pins: I) -> Self {
        Self(pins.into_iter().map(|(url, sha1, pin)| ((url, sha1), pin)).collect())
    }
}
