//! Partial downloads, which may take several runs.
//!
//! ```text
//! images/.partial/<hex>   the first bytes of a blob, or all of them; locked by whoever adds some
//! ```
//!
//! A process that waits for another one's download takes the blob from the store, if the store has
//! the blob meanwhile.
//!
//! A file of the blob's size is never written to: the file may be the store's, too, by another
//! name. Files unused for a week are removed with the next pull.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::File;

use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::image::digest::BlobDigest;

/// Maximum age of an interrupted download.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The folder of a store's partial blobs.
#[derive(Debug, Clone)]
pub(super) struct Partials {
    folder: PathBuf,
    /// The store's blobs.
    blobs: PathBuf,
}

/// Partial blob, locked against other processes.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Number of bytes.
    pub(super) had: u64,
    _lock: FileLock,
}

impl Partials {
    pub(super) fn of(store: &Path) -> Self {
        Self { folder: store.join(".partial"), blobs: store.join("blobs/sha256") }
    }

    /// Path of a partial blob.
    pub(super) fn path(&self, digest: &BlobDigest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Opens a blob's file, as soon as no other process adds to it; `None` if the run is over.
    pub(super) fn open(
        &self,
        digest: &BlobDigest,
        size: u64,
        waiting: impl Fn(),
        observer: &dyn Observer,
    ) -> io::Result<Option<Partial>> {
        let path = self.path(digest);
        loop {
            let give_up = || observer.is_interrupted();
            // Two processes that append to one file would mix their bytes.
            let Some(lock) = FileLock::acquire_unless(&path, &waiting, give_up)? else {
                return Ok(None);
            };
            // The previous holder of the lock may have removed the file.
            if !lock.is_at(&path) {
                continue;
            }
            let opened = fs_err::OpenOptions::new().read(true).write(true).open(&path);
            let file = match opened {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let had = file.metadata()?.len();
            if had < size && self.take_from_store(digest, size)? {
                continue;
            }
            if had == size {
                // Locking it has closed the store's file, which containers' ids have to read.
                file.set_permissions(PermissionsExt::from_mode(0o644))?;
            }
            if had <= size {
                return Ok(Some(Partial { path, file, had, _lock: lock }));
            }
            // It can't be the blob's.
            fs_err::remove_file(&path)?;
        }
    }

    /// Puts the store's own file in a blob's place, if it has that by now; the place is locked.
    fn take_from_store(&self, digest: &BlobDigest, size: u64) -> io::Result<bool> {
        let blob = self.blobs.join(digest.hex());
        if !fs_err::metadata(&blob).is_ok_and(|data| data.is_file() && data.len() == size) {
            return Ok(false);
        }
        let beside = self.folder.join(format!("{TEMPORARY_PREFIX}{}", digest.hex()));
        // Leftover of a process that died at this point.
        drop(fs_err::remove_file(&beside));
        if fs_err::hard_link(&blob, &beside).is_err() {
            // It may be gone again.
            return Ok(false);
        }
        // By a rename, as link(2) replaces nothing; the loop then locks the new file.
        fs_err::rename(&beside, self.path(digest))?;
        Ok(true)
    }

    /// Removes the partial file of a stored blob, unless another process holds the lock.
    pub(super) fn forget(&self, digest: &BlobDigest) {
        remove_unused(&self.path(digest));
    }

    /// Removes expired files.
    pub(super) fn sweep(&self) {
        let Ok(entries) = fs_err::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let age = entry.metadata().and_then(|data| data.modified());
            if age.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > KEPT)) {
                remove_unused(&entry.path());
            }
        }
        // If nothing is left in it.
        drop(fs_err::remove_dir(&self.folder));
    }
}

/// Removes a file, if possible; a failure is harmless.
fn remove_unused(path: &Path) {
    if path.exists()
        // The file may be the store's too, so its mode stays.
        && let Ok(Some(lock)) = FileLock::try_acquire_made(path)
        // The file may have been replaced by the store's between the two.
        && lock.is_at(path)
    {
        drop(fs_err::remove_file(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Sha256Sum;
    use crate::base::event::Silent;

    #[test]
    fn who_waited_takes_what_the_other_has_brought() {
        let store = tempfile::tempdir().unwrap();
        let digest = BlobDigest::from(Sha256Sum::of(b"blob"));
        let partials = Partials::of(store.path());
        let held = partials.open(&digest, 4, || (), &Silent).unwrap().unwrap();
        assert_eq!(held.had, 0);
        let (waits, began) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let say = || waits.send(()).unwrap();
                partials.open(&digest, 4, say, &Silent).unwrap().unwrap()
            });
            began.recv().unwrap();
            fs_err::create_dir_all(store.path().join("blobs/sha256")).unwrap();
            fs_err::write(store.path().join("blobs/sha256").join(digest.hex()), "blob").unwrap();
            fs_err::remove_file(&held.path).unwrap();
            drop(held);
            assert_eq!(waiting.join().unwrap().had, 4, "nothing is left to fetch");
        });
        let names = fs_err::read_dir(store.path().join(".partial")).unwrap().count();
        assert_eq!(names, 1);
    }
}
