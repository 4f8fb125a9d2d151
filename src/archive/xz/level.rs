//! Levels of compression.

use serde::{Deserialize, Serialize};

/// Choice between time and size. Readers need nothing special but for [`CompressionLevel::Small`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionLevel {
    /// liblzma's preset 1: an eighth to a third of the time, a seventh to a quarter larger.
    Fast,
    /// The level of all archives that leave the machine.
    #[default]
    Default,
    /// liblzma's preset 9e, with its filter for x86 code where that is what a block has: busybox 1.35
    /// refuses blocks that are filtered.
    Small,
}

impl CompressionLevel {
    /// The level in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Default => "default",
            Self::Small => "small",
        }
    }

    /// True for the level of archives that may leave the machine.
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }
}
