//! The error of preparing a set, and of removing one.

use std::io;
use std::path::PathBuf;

/// The next set cannot be prepared, or leftovers cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Something can't be written.
    #[error("can't prepare {}", path.display())]
    Write {
        /// File or folder.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// Something can't be removed.
    #[error("can't remove what an earlier run left")]
    Remove(#[source] io::Error),
    /// The sync failed.
    #[error("can't sync {}", path.display())]
    Sync {
        /// Folder on the filesystem.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
}
