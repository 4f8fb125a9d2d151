//! Packages that could not be built: why, and what their logs say of it.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::artifact::repository::RepositoryError;
use crate::container::cgroup::CgroupError;
use crate::container::helper::HelperError;
use crate::package::{PackageId, SourceName};
use crate::source::SourceError;

use super::job::Failure;

/// How many of a log's last lines are shown.
const TAIL_LINES: usize = 30;

/// A package could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build itself failed.
    #[error("{} failed ({}): {}", .0.id, .0.failure.phase.as_str(), .0.failure.message)]
    Failed(Box<FailedBuild>),
    /// A source can't be had.
    #[error("{id}")]
    Source {
        /// The package.
        id: PackageId,
        /// The source.
        name: SourceName,
        /// What went wrong.
        #[source]
        source: Box<SourceError>,
    },
    /// The repository gave something that can't be used.
    #[error("{id}")]
    Repository {
        /// The package.
        id: PackageId,
        /// What went wrong.
        #[source]
        source: Box<RepositoryError>,
    },
    /// The helper failed.
    #[error("{id}")]
    Helper {
        /// The package.
        id: PackageId,
        /// What went wrong.
        #[source]
        source: HelperError,
    },
    /// The limits can't be set.
    #[error("{id}")]
    Limits {
        /// The package.
        id: PackageId,
        /// What went wrong.
        #[source]
        source: CgroupError,
    },
    /// A file can't be written or read.
    #[error("{id}: can't {what}")]
    File {
        /// The package.
        id: PackageId,
        /// What was to be done.
        what: &'static str,
        /// What went wrong, with the path.
        #[source]
        source: std::io::Error,
    },
}

impl BuildError {
    /// Whether the run was interrupted, so that this is no fault of the package.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Helper { source: HelperError::Interrupted, .. })
    }

    /// The package.
    pub fn package(&self) -> &PackageId {
        match self {
            Self::Failed(failed) => &failed.id,
            Self::Source { id, .. }
            | Self::Repository { id, .. }
            | Self::Helper { id, .. }
            | Self::Limits { id, .. }
            | Self::File { id, .. } => id,
        }
    }

    /// The build's log, if it says more.
    pub fn log(&self) -> Option<&Path> {
        match self {
            Self::Failed(failed) => failed.log.as_deref(),
            _ => None,
        }
    }
}

/// A build that failed, and what its log says of it.
#[derive(Debug)]
pub struct FailedBuild {
    /// The package.
    pub id: PackageId,
    /// Why.
    pub failure: Failure,
    /// The log, if it says more.
    pub log: Option<PathBuf>,
    /// The log's last lines.
    pub tail: Vec<String>,
}

/// The last lines of a log, of which only the end is read.
pub(super) fn last_lines(log: &Path) -> Vec<String> {
    const ENOUGH: u64 = 64 << 10;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = fs_err::File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(ENOUGH)))?;
        let mut bytes = Vec::new();
        file.take(ENOUGH).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let text = String::from_utf8_lossy(&read().unwrap_or_default()).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines[lines.len().saturating_sub(TAIL_LINES)..].iter();
    // What a build prints may hold anything; a terminal would obey it.
    shown
        .map(|line| {
            line.chars()
                .map(|letter| if letter.is_control() && letter != '\t' { '·' } else { letter })
                .collect()
        })
        .collect()
}
