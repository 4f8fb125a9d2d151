//! Blobs that are on their way, which may take several runs.
//!
//! ```text
//! images/.partial/<hex>   the first bytes of a blob, or all of them; locked by whoever adds some
//! ```
//!
//! A file of the blob's size is never written to: it may be the store's too, by another name. What
//! nobody has touched for a week goes with the next pull.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::File;

use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::image::digest::BlobDigest;

/// How long an interrupted download is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The folder of a store's partial blobs.
#[derive(Debug, Clone)]
pub(super) struct Partials {
    folder: PathBuf,
}

/// A blob on its way, that nobody else adds to.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// How many bytes there were.
    pub(super) had: u64,
    _lock: FileLock,
}

impl Partials {
    pub(super) fn of(store: &Path) -> Self {
        Self { folder: store.join(".partial") }
    }

    /// Where a blob is until it is whole.
    pub(super) fn path(&self, digest: &BlobDigest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Opens a blob's file, as soon as nobody else adds to it; `None` if the run is over.
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
            let Some(lock) = FileLock::acquire_unless(&path, &waiting, give_up)? else {
                return Ok(None);
            };
            // Whoever had the lock may have removed the file.
            if !lock.is_at(&path) {
                continue;
            }
            let file = fs_err::OpenOptions::new().read(true).write(true).open(&path)?;
            let had = file.metadata()?.len();
            if had <= size {
                return Ok(Some(Partial { path, file, had, _lock: lock }));
            }
            // It can't be the blob's.
            fs_err::remove_file(&path)?;
        }
    }

    /// Forgets a blob that the store has, unless somebody is busy with it.
    pub(super) fn forget(&self, digest: &BlobDigest) {
        remove_unused(&self.path(digest));
    }

    /// Removes what was left long ago.
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

/// What can't be removed now harms nobody.
fn remove_unused(path: &Path) {
    if path.exists()
        && let Ok(Some(_lock)) = FileLock::try_acquire(path)
    {
        drop(fs_err::remove_file(path));
    }
}
