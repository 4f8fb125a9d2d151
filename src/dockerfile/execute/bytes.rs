//! Paths in messages to helpers, which are JSON: a string for UTF-8, and bytes for other paths.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Deserialize)]
#[serde(untagged)]
enum EncodedPath {
    Text(String),
    Bytes(Vec<u8>),
}

pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    match path.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => path.as_os_str().as_bytes().serialize(serializer),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    Ok(match EncodedPath::deserialize(deserializer)? {
        EncodedPath::Text(text) => text.into(),
        EncodedPath::Bytes(bytes) => OsString::from_vec(bytes).into(),
    })
}

#[cfg(test)]
mod tests {
    use crate::dockerfile::execute::job::CopyEntry;

    #[test]
    fn names_of_any_bytes_come_back() {
        use std::os::unix::ffi::OsStrExt;
        for name in [&b"plain"[..], "ü".as_bytes(), b"caf\xe9", b"\xff/\x80"] {
            let path = std::ffi::OsStr::from_bytes(name);
            let entry = CopyEntry { path: path.into(), place: path.into() };
            let text = serde_json::to_string(&entry).unwrap();
            assert_eq!(serde_json::from_str::<CopyEntry>(&text).unwrap(), entry);
        }
    }
}
