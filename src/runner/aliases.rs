//! Names in UTF-8 for folders of the caller's that have none: jobs are sent as JSON.
//!
//! ```text
//! <scratch>/names/0 -> /home/ann/caf\xe9
//! ```

use std::io;
use std::path::{Path, PathBuf};

/// Symbolic links to folders, in a folder of a job.
#[derive(Debug)]
pub struct Aliases {
    home: PathBuf,
    known: Vec<PathBuf>,
}

impl Aliases {
    /// Creates aliases. Links are made in `home`, a folder that is made with the first link.
    pub fn new(home: PathBuf) -> Self {
        Self { home, known: Vec::new() }
    }

    /// Path in UTF-8 of a file or folder: its own, or one by way of a link.
    pub fn named(&mut self, path: &Path) -> io::Result<PathBuf> {
        if path.to_str().is_some() {
            return Ok(path.to_owned());
        }
        let is_nameable = |rest: &Path| rest.to_str().is_some();
        // The nearest folder below which everything is in UTF-8.
        let folder = path
            .ancestors()
            .skip(1)
            .take_while(|above| path.strip_prefix(above).is_ok_and(is_nameable));
        let Some(folder) = folder.last() else {
            return Err(io::Error::other("the name of a file is not in UTF-8"));
        };
        let number = match self.known.iter().position(|known| known == folder) {
            Some(number) => number,
            None => self.link(folder)?,
        };
        let rest = path.strip_prefix(folder).unwrap_or(path);
        Ok(self.home.join(number.to_string()).join(rest))
    }

    fn link(&mut self, folder: &Path) -> io::Result<usize> {
        let number = self.known.len();
        fs_err::create_dir_all(&self.home)?;
        // A relative target would be looked up from the folder of the link.
        let folder_of_all = std::path::absolute(folder)?;
        fs_err::os::unix::fs::symlink(folder_of_all, self.home.join(number.to_string()))?;
        self.known.push(folder.to_owned());
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn paths_without_utf_8_get_names_that_lead_to_the_same_files() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join(OsStr::from_bytes(b"caf\xe9")).join("tree");
        fs_err::create_dir_all(folder.join("p")).unwrap();
        fs_err::write(folder.join("p/f"), "text").unwrap();
        let mut aliases = Aliases::new(place.path().join("names"));
        assert_eq!(aliases.named(place.path()).unwrap(), place.path());
        for path in [folder.join("p/f"), folder.join("p/../p/f")] {
            let named = aliases.named(&path).unwrap();
            assert!(named.to_str().is_some(), "{named:?}");
            assert_eq!(fs_err::read_to_string(named).unwrap(), "text");
        }
        assert_eq!(aliases.known.len(), 1);
        assert!(aliases.named(&place.path().join(OsStr::from_bytes(b"\xe9"))).is_err());
    }
}
