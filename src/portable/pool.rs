//! Files that the jobs in one folder share by hard links: layers of images, and required packages.
//!
//! A file is named by its SHA-256. A damaged one does no harm: whoever carries a job out checks the sums.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::base::digest::Sha256Sum;

/// Folder of shared files.
#[derive(Debug)]
pub struct JobFilePool {
    folder: PathBuf,
    /// Sums of files elsewhere that were read in this run: those of required packages, which many jobs have.
    sums: Mutex<BTreeMap<PathBuf, Sha256Sum>>,
}

impl JobFilePool {
    /// Pool in an existing folder, on the filesystem of the jobs.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, sums: Mutex::default() }
    }

    /// Gives a file of the pool another name; false if the pool lacks it, or the filesystem has no hard links.
    pub(super) fn link(&self, sum: &Sha256Sum, target: &Path) -> bool {
        fs_err::hard_link(self.folder.join(sum.as_str()), target).is_ok()
    }

    /// Sum of a file that has been read.
    pub(super) fn sum(&self, file: &Path) -> Option<Sha256Sum> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned()
    }

    /// Notes the sum of a file.
    pub(super) fn note(&self, file: &Path, sum: &Sha256Sum) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.insert(file.to_owned(), sum.clone());
    }

    /// Adds a checked file. Where that cannot be done, the next job has a copy of its own.
    pub(super) fn add(&self, sum: &Sha256Sum, file: &Path) {
        drop(fs_err::hard_link(file, self.folder.join(sum.as_str())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_shared_once_and_one_that_is_missing_is_not() {
        let place = tempfile::tempdir().unwrap();
        let pool = JobFilePool::new(place.path().to_owned());
        let [file, other] = ["file", "other"].map(|name| place.path().join(name));
        let sum = Sha256Sum::of(b"text");
        assert!(!pool.link(&sum, &other));
        fs_err::write(&file, "text").unwrap();
        pool.add(&sum, &file);
        pool.add(&sum, &file);
        assert!(pool.link(&sum, &other));
        assert_eq!(fs_err::read_to_string(other).unwrap(), "text");
    }
}
