//! The error of unpacked layers.

use std::io;
use std::path::PathBuf;

use crate::archive::UnpackError;
use crate::image::digest::DiffId;

/// A failure of unpacking a layer, or of keeping it.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The blob can't be read.
    #[error("can't read the image's layer {diff_id}; load the image again")]
    Blob {
        /// The layer.
        diff_id: DiffId,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The layer's content has changed since loading.
    #[error("the image's layer {expected} unpacks to {found}: the image store is damaged")]
    DiffId {
        /// The layer.
        expected: DiffId,
        /// Digest of the unpacked content.
        found: DiffId,
    },
    /// The layer cannot be unpacked.
    #[error("can't unpack the image's layer {diff_id}")]
    Unpack {
        /// The layer.
        diff_id: DiffId,
        /// Reason.
        #[source]
        source: UnpackError,
    },
    /// The folder of unpacked layers can't be used.
    #[error("can't keep unpacked layers in {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
}

impl LayerError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Unpack { source, .. } => source.hint(),
            _ => None,
        }
    }
}
