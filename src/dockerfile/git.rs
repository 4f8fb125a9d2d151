//! Files of a git repository, for ADD or for a build context.

use std::io;
use std::path::{Path, PathBuf};

use crate::base::event::Observer;
use crate::base::http::redact;
use crate::container::within_root::locate;
use crate::package::CommitId;
use crate::source::{FetchOptions, GitSelection, SourceProblem, clone_url};

/// Files of a git repository cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum GitFilesError {
    /// The repository can't be fetched or checked out.
    #[error(transparent)]
    Source(SourceProblem),
    /// The check-out can't be looked at.
    #[error("can't find a folder of a check-out")]
    Look(#[source] io::Error),
    /// The repository lacks the folder.
    #[error("{url} has no folder {folder:?}")]
    NoFolder {
        /// The repository.
        url: String,
        /// Path of the folder.
        folder: String,
    },
}

impl GitFilesError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Look(_) | Self::NoFolder { .. } => None,
        }
    }
}

/// Checks a repository out into a new folder; returns the selected folder inside, and the commit.
pub fn check_out_git(
    selection: &GitSelection,
    folder: &Path,
    fetch: &FetchOptions,
    observer: &dyn Observer,
) -> Result<(PathBuf, CommitId), GitFilesError> {
    let commit = clone_url(selection, folder, fetch, observer).map_err(GitFilesError::Source)?;
    let Some(below) = &selection.subfolder else { return Ok((folder.to_owned(), commit)) };
    // Symlinks of the repository lead out of nothing.
    let wanted = locate(folder, Path::new(below), false).map_err(GitFilesError::Look)?;
    if !wanted.is_dir() {
        return Err(GitFilesError::NoFolder { url: redact(&selection.url), folder: below.clone() });
    }
    Ok((wanted, commit))
}
