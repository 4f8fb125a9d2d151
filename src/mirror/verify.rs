//! Every file of a mirror against its lock file.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use walkdir::WalkDir;

use super::error::MirrorError;
use super::existing::{SUBJECT, named_otherwise, read_lock, sums};
use crate::base::event::Observer;
use crate::store::{LOCK_FILE, ObjectKey, Store, StoreError, StoreTransfer};

/// Fault of a mirror's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorFault {
    /// The lock file names a file that is not there.
    Missing(ObjectKey),
    /// The file has another sum.
    Sum {
        /// The file.
        file: ObjectKey,
        /// `SHA-256` or `SHA-1`.
        kind: &'static str,
        /// Expected sum.
        expected: String,
        /// Origin of the digest.
        by: &'static str,
        /// Sum of the file.
        found: String,
    },
    /// The file has another size.
    Size {
        /// The file.
        file: ObjectKey,
        /// Expected number of bytes.
        expected: u64,
        /// Number of bytes.
        found: u64,
    },
    /// The lock file does not name the file.
    Extra(String),
    /// It is neither a file nor a folder.
    Odd(String),
    /// The file cannot be read.
    Unreadable(ObjectKey, String),
}

impl fmt::Display for MirrorFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(file) => write!(f, "{file}: missing, and the lock file names it"),
            Self::Sum { file, kind, expected, by, found } => {
                write!(f, "{file}: its {kind} is {found}, but {by} says {expected}")
            }
            Self::Size { file, expected, found } => {
                write!(f, "{file}: it has {found} bytes, but the lock file says {expected}")
            }
            Self::Extra(file) => write!(f, "{file}: not in the lock file"),
            Self::Odd(file) => write!(f, "{file}: neither a file nor a folder"),
            Self::Unreadable(file, error) => write!(f, "{file}: {error}"),
        }
    }
}

/// Checks every file of a mirror; returns the number of files and all faults.
pub fn verify(
    place: &Path,
    observer: &dyn Observer,
) -> Result<(usize, Vec<MirrorFault>), MirrorError> {
    let store = Store::at_path(place);
    let lock = read_lock(store.backend(), observer)?;
    let mut faults = Vec::new();
    let mut there = BTreeSet::new();
    if let Some(folder) = store.local_folder() {
        walk(folder, &mut there, &mut faults);
    } else {
        let transfer = StoreTransfer { subject: SUBJECT, observer };
        let members = store.backend().list(None, &transfer)?;
        there.extend(members.into_iter().map(|listed| listed.key.to_string()));
    }
    for (key, locked) in &lock.files {
        if observer.is_interrupted() {
            return Err(MirrorError::Interrupted);
        }
        if !there.remove(key.as_str()) {
            let is_odd = faults.iter().any(|fault| *fault == MirrorFault::Odd(key.to_string()));
            if !is_odd {
                faults.push(MirrorFault::Missing(key.clone()));
            }
            continue;
        }
        let found = match sums(store.backend(), key, observer) {
            Ok(found) => found,
            Err(StoreError::Interrupted) => return Err(MirrorError::Interrupted),
            Err(error) => {
                let error = crate::base::causes::with_causes(&error);
                faults.push(MirrorFault::Unreadable(key.clone(), error));
                continue;
            }
        };
        let file = || key.clone();
        if found.bytes != locked.size {
            let (expected, found) = (locked.size, found.bytes);
            faults.push(MirrorFault::Size { file: file(), expected, found });
        } else if found.sha256 != locked.sha256 {
            faults.push(MirrorFault::Sum {
                file: file(),
                kind: "SHA-256",
                expected: locked.sha256.to_string(),
                by: "the lock file",
                found: found.sha256.to_string(),
            });
        } else if let Some((kind, expected, found)) = named_otherwise(key, &found) {
            // A lock file that was changed with the file says nothing of it: the name does.
            let (expected, found) = (expected.to_owned(), found.to_owned());
            faults.push(MirrorFault::Sum { file: file(), kind, expected, by: "its name", found });
        }
    }
    // It cannot have an entry of its own.
    there.remove(LOCK_FILE);
    faults.extend(there.into_iter().map(MirrorFault::Extra));
    Ok((lock.files.len(), faults))
}

/// Lists a folder without following a symlink.
fn walk(folder: &Path, there: &mut BTreeSet<String>, faults: &mut Vec<MirrorFault>) {
    // A mirror may come from a foreign disk, whose links lead to files of this machine.
    for entry in WalkDir::new(folder).min_depth(1).follow_links(false) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => {
                let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
                // Names are shown, and those of strays were checked by nobody.
                let name = name.to_string_lossy().escape_debug().to_string();
                if entry.file_type().is_file() {
                    there.insert(name);
                } else {
                    faults.push(MirrorFault::Odd(name));
                }
            }
            Err(error) => {
                let name = error.path().unwrap_or(folder).display().to_string();
                faults.push(MirrorFault::Extra(format!("{name} (it cannot be listed)")));
            }
        }
    }
}
