//! Removal of unneeded files from a tree's cache, by the current ids of all variants: `mkpanda
//! clean`.
//!
//! ```text
//! search     what is not needed, as data
//! remove     its removal
//! ```
//!
//! These stay: archives of current ids, with their signatures; archives of packages with unknown
//! ids, because their builder images are not built, or because their descriptions, or those of their
//! requirements, are faulty; all downloads of packages with faulty descriptions; sources named by packages; `latest` files of
//! packages of the tree; all files with names that mkpanda does not use, and `src` and `result` of
//! kept builds. While a run builds in the tree, nothing is removed.

mod remove;
mod search;

use std::fmt;
use std::path::PathBuf;

pub use remove::{TidyError, clean};

/// Kind of something that is not needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnusedKind {
    /// An archive of a package, or a signature.
    Package,
    /// A file of a bootstrap.
    Bootstrap,
    /// A download, or a copy of a git repository.
    Source,
    /// A file that names the last build.
    Latest,
    /// The checkout or the download of an upstream that the tree no longer has.
    Upstream,
}

impl fmt::Display for UnusedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Package => "package",
            Self::Bootstrap => "bootstrap",
            Self::Source => "source",
            Self::Latest => "latest",
            Self::Upstream => "upstream",
        })
    }
}

/// Something in a tree's cache that is not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedItem {
    /// Kind.
    pub kind: UnusedKind,
    /// Path below the cache.
    pub path: PathBuf,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Lock file held by users of the item.
    lock: Option<PathBuf>,
}

/// Result of a cleaning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Items that were removed, or would be.
    pub items: Vec<UnusedItem>,
    /// Items that stay because another process uses them.
    pub in_use: Vec<UnusedItem>,
    /// Numbers of packages with unknown ids, whose archives all stay.
    pub unknown: Unknown,
}

/// Numbers of packages with unknown ids, by the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Packages with a builder image that is not here.
    pub pending: usize,
    /// Packages with a faulty description, and those that require one.
    pub not_valid: usize,
}
