//! Files of a commit of a network repository, without a mirror: for `ADD` of a Dockerfile. Only the
//! commit itself is fetched where the server permits that, and the same holds for its submodules.

use std::path::Path;

use git2::Repository;

use super::clone::set_commit_time;
use super::git_fetch::{Fetcher, unusable};
use super::submodules::{Submodules, remove_git};
use super::{FetchOptions, GitSelection, SourceProblem};
use crate::base::event::Observer;
use crate::base::http::redact;
use crate::package::CommitId;

/// Checks out a complete commit into a new folder; the folder selected by the place is inside.
/// Returns the commit.
pub fn clone_url(
    selection: &GitSelection,
    folder: &Path,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<CommitId, SourceProblem> {
    let fetcher = Fetcher { options, observer };
    let url = &selection.url;
    let commit =
        fetcher.check_out(folder, url, selection.reference.as_deref().unwrap_or("HEAD"))?;
    if let Some(expected) = &selection.checksum
        && !commit.as_str().starts_with(&expected.to_ascii_lowercase())
    {
        let (url, expected) = (redact(url), expected.clone());
        return Err(SourceProblem::OtherCommit { url, found: commit, expected });
    }
    let mut submodules = Submodules { fetcher: &fetcher, folders: Vec::new() };
    if selection.submodules {
        submodules.check_out(folder, url, 0)?;
    }
    // Before `.git` is removed, from which the time is read.
    if selection.commit_time {
        give_commit_time(folder)?;
    }
    if !selection.keep_git {
        submodules.folders.push(folder.to_owned());
        remove_git(&submodules.folders)?;
    }
    Ok(commit)
}

/// Sets the time of all files, including those of submodules, to the time of the commit.
fn give_commit_time(folder: &Path) -> Result<(), SourceProblem> {
    let failed = |error: git2::Error| unusable(folder, &error);
    let repository = Repository::open(folder).map_err(failed)?;
    let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(failed)?;
    set_commit_time(folder, &commit)
        .map_err(|error| SourceProblem::Io { doing: "set files' times", error })
}
