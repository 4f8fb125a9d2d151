//! Waiting until what was written is on disk.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::syncfs;

use super::prepare_error::PrepareError;

/// Sees to it that all that was written is on disk.
pub(super) fn sync<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Result<(), PrepareError> {
    let mut synced = BTreeSet::new();
    for folder in folders {
        let failed = |source| PrepareError::Sync { path: folder.to_owned(), source };
        let file = match fs_err::File::open(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(failed)?,
        };
        // syncfs(2) waits for all of a filesystem, so once for each is enough.
        if synced.insert(file.metadata().map_err(failed)?.dev()) {
            syncfs(file.file().as_fd()).map_err(|error| failed(error.into()))?;
        }
    }
    Ok(())
}
