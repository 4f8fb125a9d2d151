//! Failures of making and verifying mirrors.

use std::io;
use std::path::PathBuf;

use crate::source::SourceProblem;
use crate::store::{LockFileError, StoreError};

/// A mirror cannot be made, read or verified.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The place holds something else.
    #[error("{} is not a mirror: it has files, and no {} among them", .0.display(), crate::store::LOCK_FILE)]
    NoMirror(PathBuf),
    /// The lock file is damaged.
    #[error("the lock file {} of {place} cannot be used", crate::store::LOCK_FILE)]
    Lock {
        /// The mirror.
        place: String,
        /// Cause.
        #[source]
        source: LockFileError,
    },
    /// A file of the mirror cannot be read.
    #[error("the mirror cannot be read")]
    Read(#[from] StoreError),
    /// A file of the mirror cannot be written; the source names it.
    #[error("the mirror {} cannot be written", place.display())]
    Write {
        /// The mirror.
        place: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A bundle cannot be made.
    #[error("the bundle of {commit} cannot be made")]
    Bundle {
        /// The commit.
        commit: String,
        /// Cause.
        #[source]
        source: Box<SourceProblem>,
    },
    /// Two trees mean different images by one name.
    #[error("the image {name} is another one for {tree} than for the trees before")]
    OtherImage {
        /// The name.
        name: String,
        /// The tree.
        tree: String,
    },
    /// An image of the store cannot be read.
    #[error("the image {name} cannot be read")]
    Image {
        /// The name.
        name: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The name of a file is not valid in a mirror.
    #[error(transparent)]
    Key(#[from] crate::store::ObjectKeyError),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl MirrorError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoMirror(_) => {
                Some("name an empty folder, or one that does not exist".to_owned())
            }
            Self::Lock { .. } => Some("make the mirror again, in another place".to_owned()),
            Self::OtherImage { .. } => Some("make a mirror for each of the trees".to_owned()),
            Self::Read(error) => error.hint(),
            Self::Bundle { source, .. } => source.hint(),
            _ => None,
        }
    }
}
