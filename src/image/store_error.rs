//! Error of the image store, also used for loading, which lies below the store.

use std::io;
use std::path::PathBuf;

use super::config::ConfigError;
use super::document::DocumentError;

/// A failure of the image store.
#[derive(Debug, thiserror::Error)]
pub enum ImageStoreError {
    /// Reading or writing failed.
    #[error("the image store can't be used: {0}")]
    Io(io::Error),
    /// The folder is something else.
    #[error("{} is not an image store: {problem}", path.display())]
    NoStore {
        /// The file with the contradicting content.
        path: PathBuf,
        /// Reason.
        problem: DocumentError,
    },
    /// A part of an image is missing or was changed.
    #[error("the image store is damaged: {what} of {image} {problem}")]
    Damaged {
        /// The image's name, or its manifest's digest.
        image: String,
        /// The part.
        what: String,
        /// Fault.
        problem: String,
    },
    /// An entry of the index cannot be understood.
    #[error("entry {number} of {} cannot be understood: {problem}", path.display())]
    OddEntry {
        /// Path of the index.
        path: PathBuf,
        /// Number of the entry, from 1.
        number: usize,
        /// True if the entry has a name or a digest by which it can be removed.
        is_named: bool,
        /// Reason.
        problem: Box<DocumentError>,
    },
    /// A configuration that was good when it was loaded isn't.
    #[error("{image} can't be used")]
    Config {
        /// The image's name, or its manifest's digest.
        image: String,
        /// Reason.
        #[source]
        problem: ConfigError,
    },
    /// No image is called so.
    #[error("the image store has no {0:?}")]
    NotFound(String),
    /// The beginning of an id is that of several.
    #[error("{prefix:?} is the beginning of several ids: {}", ids.join(", "))]
    Ambiguous {
        /// The beginning.
        prefix: String,
        /// The ids.
        ids: Vec<String>,
    },
}

impl ImageStoreError {
    /// True if a single image is damaged.
    pub(in crate::image) fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Config { .. })
    }

    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Damaged { .. } | Self::Config { .. } => {
                Some("`mkpanda image rm` it and load it again")
            }
            Self::OddEntry { is_named: true, .. } => {
                Some("`mkpanda image rm` it by its name or digest, or mend the file")
            }
            Self::OddEntry { is_named: false, .. } => Some("take the entry out of the file"),
            Self::NotFound(_) => Some("`mkpanda image list` shows what there is"),
            Self::Ambiguous { .. } => Some("give more digits of the id"),
            Self::Io(_) | Self::NoStore { .. } => None,
        }
    }
}
