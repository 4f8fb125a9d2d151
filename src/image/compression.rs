//! Compressions of layers for which images have media types.

use std::io::{self, BufRead, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::archive::Compression as ArchiveCompression;
use crate::archive::compression::read_start;
use crate::base::regular::open_regular;

/// A layer's compression: the ones that images have media types for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerCompression {
    /// A plain tar.
    None,
    /// gzip, possibly of several members.
    Gzip,
    /// Zstandard, possibly of several frames.
    Zstd,
}

impl LayerCompression {
    /// The compression as a word.
    pub fn as_str(self) -> &'static str {
        ArchiveCompression::from(self).as_str()
    }

    /// Maps a detected compression to a layer compression; `None` where no media type exists.
    pub(super) fn of(found: ArchiveCompression) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Zstd]
            .into_iter()
            .find(|known| ArchiveCompression::from(*known) == found)
    }

    /// Tells the compression of a blob in a file; of one that no layer has, the blob counts as plain.
    pub(super) fn of_file(path: &Path) -> io::Result<Self> {
        let start = read_start(open_regular(path)?)?;
        Ok(Self::of(ArchiveCompression::of(&start)).unwrap_or(Self::None))
    }

    /// Returns a reader of the decompressed layer that reads the input to its end.
    pub fn reader<'r>(self, input: impl BufRead + 'r) -> io::Result<Box<dyn Read + 'r>> {
        ArchiveCompression::from(self).reader(input)
    }
}

impl From<LayerCompression> for ArchiveCompression {
    fn from(compression: LayerCompression) -> Self {
        match compression {
            LayerCompression::None => Self::None,
            LayerCompression::Gzip => Self::Gzip,
            LayerCompression::Zstd => Self::Zstd,
        }
    }
}
