//! `git_local`: a repository of the user's, of which a build gets what HEAD has.
//!
//! The repository is only read. It may be a worktree, shallow, bare, or borrow objects.

use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository, StatusOptions, SubmoduleIgnore};

use super::{Fetched, OutOfScope, SourceProblem, SourceRequest};
use crate::package::CommitId;

/// The commit at HEAD, if nothing that is tracked differs from it.
pub(super) fn head(request: &SourceRequest, rel_path: &str) -> Result<CommitId, SourceProblem> {
    let (path, repository) = open(request, rel_path)?;
    let unusable = |error: git2::Error| unusable(&path, &error);
    let commit = match repository.head().and_then(|head| head.peel_to_commit()) {
        Ok(commit) => commit.id(),
        Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => {
            return Err(SourceProblem::NoCommits(path));
        }
        Err(error) => return Err(unusable(error)),
    };
    if !repository.is_bare() {
        let files = changes(&repository).map_err(unusable)?;
        if !files.is_empty() {
            return Err(SourceProblem::Uncommitted { path, files });
        }
    }
    commit_id(&path, commit)
}

/// The repository as [`super::check_out()`] takes it.
pub(super) fn fetched(
    request: &SourceRequest,
    rel_path: &str,
    commit: &CommitId,
) -> Result<Fetched, SourceProblem> {
    let (path, repository) = open(request, rel_path)?;
    let found = commit.as_str().parse().and_then(|id| repository.find_commit(id).map(drop));
    found.map_err(|error| unusable(&path, &error))?;
    Ok(Fetched::GitLocal { path: repository.commondir().to_owned(), commit: commit.clone() })
}

fn open(request: &SourceRequest, rel_path: &str) -> Result<(PathBuf, Repository), SourceProblem> {
    let path = request.package_dir.join(rel_path);
    if !path.exists() {
        return Err(SourceProblem::NoSuchRelPath { rel_path: rel_path.to_owned(), path });
    }
    let path = fs_err::canonicalize(path).map_err(SourceProblem::io("find a repository"))?;
    let out = |out: OutOfScope| SourceProblem::OutOfScope { rel_path: rel_path.to_owned(), out };
    request.local.check_path(&path).map_err(out)?;
    let repository = Repository::open(&path).map_err(|error| unusable(&path, &error))?;
    request.local.check_repository(&repository).map_err(out)?;
    Ok((path, repository))
}

fn unusable(path: &Path, error: &git2::Error) -> SourceProblem {
    SourceProblem::NoRepository {
        path: path.to_owned(),
        reason: error.message().to_owned(),
        foreign: error.code() == ErrorCode::Owner,
    }
}

fn commit_id(path: &Path, id: git2::Oid) -> Result<CommitId, SourceProblem> {
    id.to_string().parse().map_err(|error| SourceProblem::NoRepository {
        path: path.to_owned(),
        reason: format!("{error}"),
        foreign: false,
    })
}

/// Tracked files that differ from HEAD, in the index or on disk.
fn changes(repository: &Repository) -> Result<Vec<String>, git2::Error> {
    let mut options = StatusOptions::new();
    options.include_untracked(false).include_ignored(false).exclude_submodules(true);
    let statuses = repository.statuses(Some(&mut options))?;
    let mut files: Vec<String> = statuses
        .iter()
        .map(|entry| String::from_utf8_lossy(entry.path_bytes()).into_owned())
        .collect();
    // What lies in a submodule is not part of the source; which commit it stands at is.
    for submodule in repository.submodules()? {
        let Ok(name) = submodule.name() else { continue };
        let status = repository.submodule_status(name, SubmoduleIgnore::Dirty)?;
        let moved = status.is_index_added()
            || status.is_index_deleted()
            || status.is_index_modified()
            || status.is_wd_modified();
        if moved {
            files.push(submodule.path().display().to_string());
        }
    }
    Ok(files)
}
