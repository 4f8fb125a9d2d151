//! Errors of saving an image.

use std::io;
use std::path::PathBuf;

use crate::image::document::DocumentError;
use crate::image::store::ImageStoreError;

/// An image can't be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The store cannot provide the image.
    #[error(transparent)]
    Store(#[from] ImageStoreError),
    /// A blob can't be read.
    #[error("can't read the image: {0}")]
    Read(io::Error),
    /// The output cannot be written.
    #[error("can't save the image: {0}")]
    Write(io::Error),
    /// The folder is something else than a layout.
    #[error("can't save the image into {}: {problem}", path.display())]
    NoLayout {
        /// The file with the contradicting content.
        path: PathBuf,
        /// Fault.
        problem: DocumentError,
    },
    /// A symlink lies where a file is written.
    #[error("can't save the image into {}: there is a symlink on the way to it", .0.display())]
    Link(PathBuf),
    /// The folder has something in it, and isn't a layout.
    #[error("can't save the image into {}: it is neither empty nor an OCI layout", .0.display())]
    NotEmpty(PathBuf),
}

impl SaveError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::NoLayout { .. } | Self::NotEmpty(_) | Self::Link(_) => {
                Some("name a new folder".to_owned())
            }
            Self::Read(_) | Self::Write(_) => None,
        }
    }
}
