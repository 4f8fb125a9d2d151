//! The extended attributes that are copied with a file or folder, and so count for the build cache.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::archive::is_kept_attribute;

/// Returns the attributes of a file or folder that layers keep, sorted by their names.
pub fn kept_attributes(path: &Path) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let names = match xattr::list(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => return Ok(Vec::new()),
        listed => listed?,
    };
    let is_kept = |name: &OsString| is_kept_attribute(name.as_encoded_bytes());
    let mut kept = Vec::new();
    for name in names.filter(is_kept) {
        if let Some(value) = xattr::get(path, &name)? {
            kept.push((name, value));
        }
    }
    kept.sort_unstable();
    Ok(kept)
}
