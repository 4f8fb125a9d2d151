//! The lock file of a mirror: each of its files with SHA-256, size and origin (docs/format.md, "Mirrors").
//!
//! ```json
//! {
//!   "version": 1,
//!   "files": {
//!     "sha1/<sum>": {"sha256": "…", "size": 1, "origin": "https://example.org/f.tar.gz"},
//!     "bundles/<commit>.bundle": {"sha256": "…", "size": 1, "origin": "…", "refs": {"refs/heads/main": "<commit>"}}
//!   }
//! }
//! ```
//!
//! The same mirror has the same lock file, byte for byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::key::ObjectKey;
use crate::base::digest::Sha256Sum;

/// Name of the lock file in a mirror.
pub const LOCK_FILE: &str = "mkpanda-mirror.json";
/// Version of the format.
const VERSION: u32 = 1;
/// Upper limit of a lock file's length in bytes.
pub const LONGEST_LOCK: u64 = 256 << 20;

/// Files of a mirror.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockFile {
    /// The files by their names; the lock file itself is not among them.
    pub files: BTreeMap<ObjectKey, LockedFile>,
}

/// A file as a lock file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// SHA-256 of the content.
    pub sha256: Sha256Sum,
    /// Number of bytes.
    pub size: u64,
    /// Origin: a URL without credentials, an image's name, a package's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Names and commits of a git bundle.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refs: BTreeMap<String, String>,
}

/// A text is not a lock file.
#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    /// The text is not JSON of that form.
    #[error("it is not a lock file: {0}")]
    Form(#[source] serde_json::Error),
    /// A later version has written the file.
    #[error("it has the format {0}, and this version of mkpanda reads format {VERSION}")]
    Version(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LockFileDocument {
    version: u32,
    files: BTreeMap<ObjectKey, LockedFile>,
}

#[derive(Deserialize)]
struct VersionField {
    version: u32,
}

impl LockFile {
    /// Reads the text of a lock file.
    pub fn parse(text: &[u8]) -> Result<Self, LockFileError> {
        // The version alone, first: a later form has keys that are unknown here.
        let VersionField { version } = serde_json::from_slice(text).map_err(LockFileError::Form)?;
        if version != VERSION {
            return Err(LockFileError::Version(version));
        }
        let document: LockFileDocument =
            serde_json::from_slice(text).map_err(LockFileError::Form)?;
        Ok(Self { files: document.files })
    }

    /// Writes the text of the lock file.
    pub fn to_text(&self) -> Vec<u8> {
        let document = LockFileDocument { version: VERSION, files: self.files.clone() };
        let mut text =
            serde_json::to_vec_pretty(&document).expect("texts and numbers can be written as JSON");
        text.push(b'\n');
        text
    }

    /// Name of the lock file as a key.
    pub fn key() -> ObjectKey {
        LOCK_FILE.parse().expect("the name of the lock file is a valid key")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let sum = Sha256Sum::of(b"x");
        let plain = LockedFile {
            sha256: sum.clone(),
            size: 1,
            origin: Some("https://h/x".to_owned()),
            refs: BTreeMap::new(),
        };
        let refs = BTreeMap::from([("refs/heads/main".to_owned(), "0".repeat(40))]);
        let bundle = LockedFile { origin: None, refs, ..plain.clone() };
        let files = [("sha1/a".parse().unwrap(), plain), ("bundles/b".parse().unwrap(), bundle)];
        let lock = LockFile { files: files.into() };
        let text = lock.to_text();
        assert_eq!(LockFile::parse(&text).unwrap(), lock);
        assert_eq!(LockFile::parse(&text).unwrap().to_text(), text);
    }

    #[test]
    fn hostile_texts_are_refused() {
        let file = |name: &str, more: &str| {
            let sum = Sha256Sum::of(b"x");
            format!(r#"{{"version":1,"files":{{"{name}":{{"sha256":"{sum}","size":1{more}}}}}}}"#)
        };
        assert!(LockFile::parse(file("sha1/x", "").as_bytes()).is_ok());
        for bad in [
            file("../x", ""),
            file("/x", ""),
            file("a/../x", ""),
            file("sha1/x", r#","mode":1"#),
            file("sha1/x", r#","refs":[]"#),
            file("sha1/x", "").replace("\"size\":1", "\"size\":-1"),
            file("sha1/x", "").replace("sha256\":\"", "sha256\":\"../"),
            r#"{"version":2,"files":{}}"#.to_owned(),
            r#"{"files":{}}"#.to_owned(),
            "[]".to_owned(),
            String::new(),
        ] {
            assert!(LockFile::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
