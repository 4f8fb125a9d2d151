//! Packages folders of which this home has filled the caches, so that these can be found again.
//!
//! ```text
//! $MKPANDA_HOME/trees/<SHA-1 of the path>.json    the path; the file's time is that of the last use
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::home::Home;
use crate::base::atomic;
use crate::base::digest::Sha1Sum;
use crate::base::regular::read_own;

/// A packages folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownTree {
    /// The folder.
    pub packages: PathBuf,
    /// Time of the last use.
    pub last_use: SystemTime,
}

#[derive(Serialize, Deserialize)]
struct TreeRecord {
    packages: PathBuf,
}

/// Name of a packages folder in files of the home.
pub fn name_of(packages: &Path) -> String {
    Sha1Sum::of(packages.as_os_str().as_encoded_bytes()).to_string()
}

/// Notes that the cache of a folder is filled. A path that is not UTF-8 is not noted.
pub fn note(home: &Home, packages: &Path) -> io::Result<()> {
    let Ok(text) = serde_json::to_vec(&TreeRecord { packages: packages.to_owned() }) else {
        return Ok(());
    };
    atomic::write(&home.trees().join(format!("{}.json", name_of(packages))), &text)
}

/// The folders that were noted and are still there, in the order of their paths; with `forgets`, the notes of
/// the others are removed.
pub fn known(home: &Home, forgets: bool) -> io::Result<Vec<KnownTree>> {
    let entries = match fs_err::read_dir(home.trees()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let Ok(text) = read_own(&path) else { continue };
        let Ok(TreeRecord { packages }) = serde_json::from_slice(&text) else { continue };
        let is_its = path.file_stem().is_some_and(|stem| stem == name_of(&packages).as_str());
        if !is_its {
            continue;
        }
        if packages.is_dir() {
            let written = fs_err::metadata(&path).and_then(|data| data.modified());
            found.push(KnownTree { packages, last_use: written.unwrap_or(SystemTime::UNIX_EPOCH) });
        } else if forgets {
            drop(fs_err::remove_file(&path));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_known_as_long_as_they_are_there() {
        let place = tempfile::tempdir().unwrap();
        let home = Home::new(place.path().join("home"), None);
        let [one, other] = ["one", "other"].map(|name| place.path().join(name));
        for tree in [&other, &one] {
            fs_err::create_dir(tree).unwrap();
            note(&home, tree).unwrap();
        }
        note(&home, &one).unwrap();
        // A file in another format is not ours.
        fs_err::write(home.trees().join("x.json"), "{}").unwrap();
        fs_err::write(home.trees().join("y.json"), "{\"packages\": \"/etc\"}").unwrap();
        let paths = |forgets| -> Vec<PathBuf> {
            known(&home, forgets).unwrap().into_iter().map(|tree| tree.packages).collect()
        };
        assert_eq!(paths(false), [one.clone(), other.clone()]);
        fs_err::remove_dir(&one).unwrap();
        assert_eq!(paths(false), std::slice::from_ref(&other));
        assert_eq!(paths(true), [other]);
        fs_err::create_dir(&one).unwrap();
        assert_eq!(paths(true).len(), 1, "it was forgotten");
        assert!(home.trees().join("y.json").exists());
    }
}
