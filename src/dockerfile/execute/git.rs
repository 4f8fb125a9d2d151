//! Files of a git repository: of one that ADD names, or of a build context.

use std::path::{Path, PathBuf};

use super::error::StepError;
use crate::base::event::Observer;
use crate::base::http::redact;
use crate::container::within_root::locate;
use crate::package::CommitId;
use crate::source::{FetchOptions, GitPlace, clone_url};

/// Checks a repository out into a folder, which is made; gives the folder that is meant, and the
/// commit.
pub(super) fn check_out_git(
    place: &GitPlace,
    folder: &Path,
    fetch: &FetchOptions,
    observer: &dyn Observer,
) -> Result<(PathBuf, CommitId), StepError> {
    let commit = clone_url(place, folder, fetch, observer).map_err(StepError::Git)?;
    let Some(below) = &place.subfolder else { return Ok((folder.to_owned(), commit)) };
    let failed = |source| StepError::File { what: "find a folder of a check-out", source };
    // Symlinks of the repository lead out of nothing.
    let wanted = locate(folder, Path::new(below), false).map_err(failed)?;
    if !wanted.is_dir() {
        return Err(StepError::NoFolder { url: redact(&place.url), folder: below.clone() });
    }
    Ok((wanted, commit))
}
