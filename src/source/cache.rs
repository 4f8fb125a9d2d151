//! Folder of a source in the cache: locked and swept for a fetch, and removed again if the fetch fails and
//! leaves the folder empty.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{FetchOptions, SourceProblem, SourceRequest};
use crate::base::atomic;
use crate::base::digest::Sha1Sum;
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;

/// Makes and locks the folder, and runs `work`.
pub(super) fn with_folder<T>(
    request: &SourceRequest,
    options: &FetchOptions,
    observer: &dyn Observer,
    work: impl FnOnce() -> Result<T, SourceProblem>,
) -> Result<T, SourceProblem> {
    let folder = &request.cache_dir;
    let waiting = || {
        observer.event(Event::Note {
            message: format!("waiting for another process that fetches {}", request.subject()),
        });
    };
    let lock = folder_lock(&options.locks, folder);
    let _lock = FileLock::acquire_unless(&lock, waiting, || observer.is_interrupted())
        .map_err(SourceProblem::io("lock the cache"))?
        .ok_or(SourceProblem::Interrupted)?;
    // Under the lock, since another process may make the same folders.
    let made = missing_folders(folder);
    let ready = fs_err::create_dir_all(folder);
    // The lock is held by all who make something here: what is left is of dead ones.
    atomic::sweep_under_lock(folder).report(observer);
    let result = ready.map_err(SourceProblem::io("prepare the cache")).and_then(|()| work());
    if result.is_err() {
        for folder in made {
            // A folder with new files of another process stays.
            if fs_err::remove_dir(folder).is_err() {
                break;
            }
        }
    }
    result
}

/// Folders that `create_dir_all` would make, the innermost first.
fn missing_folders(folder: &Path) -> Vec<PathBuf> {
    folder.ancestors().take_while(|folder| !folder.exists()).map(Path::to_owned).collect()
}

/// Lock file of a source's folder in a cache, which is held while something is fetched into the folder.
pub fn folder_lock(locks: &Path, folder: &Path) -> PathBuf {
    locks.join(format!("source-{}.lock", Sha1Sum::of(folder.as_os_str().as_bytes())))
}
