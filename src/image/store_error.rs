//! Error of the image store, also used for loading, which lies below the store.

use std::io;
use std::path::PathBuf;

use super::config::ImageConfigError;
use super::document::DocumentError;
use crate::base::escape::shell_argument;
use crate::base::suggestion::meant_or;

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
        problem: ImageConfigError,
    },
    /// No image is called so.
    #[error("the image store has no {name:?}")]
    NotFound {
        /// Name or beginning of an id.
        name: String,
        /// Name that is like it.
        near: Option<String>,
    },
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

    /// No image is called so, and none is like it.
    pub(crate) fn not_found(name: impl Into<String>) -> Self {
        Self::NotFound { name: name.into(), near: None }
    }

    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { image, .. } | Self::Config { image, .. } => Some(format!(
                "remove it, then pull or load it again: mkpanda image rm {}",
                shell_argument(image)
            )),
            Self::OddEntry { is_named: true, .. } => Some(
                "remove it by its name or digest (mkpanda image rm NAME), or mend the file"
                    .to_owned(),
            ),
            Self::OddEntry { is_named: false, .. } => {
                Some("take the entry out of the file".to_owned())
            }
            Self::NotFound { near, .. } => {
                Some(meant_or(near.as_deref(), "list all images: mkpanda image list"))
            }
            Self::Ambiguous { .. } => Some("give more digits of the id".to_owned()),
            Self::Io(_) | Self::NoStore { .. } => None,
        }
    }
}
