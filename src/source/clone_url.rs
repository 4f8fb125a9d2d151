//! The files of a commit of a repository on the network, without a mirror: what `ADD` of a Dockerfile
//! takes. Only the commit itself is fetched where the server gives it, and so are its submodules.

use std::ffi::OsStr;
use std::path::Path;

use git2::Repository;
use nix::sys::time::TimeSpec;

use super::clone::{CloneError, set_times};
use super::git_program::GitRun;
use super::submodules::{Submodules, remove_git};
use super::{FetchOptions, GitPlace, SourceProblem};
use crate::base::event::Observer;
use crate::base::http::redact;
use crate::package::CommitId;

/// Checks what is meant out into a folder, which is made, whole: the place's own folder is somewhere in
/// it. Gives the commit.
pub fn clone_url(
    place: &GitPlace,
    folder: &Path,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<CommitId, SourceProblem> {
    let fetcher = Fetcher { options, observer };
    let url = &place.url;
    let commit = fetcher.check_out(folder, url, place.reference.as_deref().unwrap_or("HEAD"))?;
    if let Some(expected) = &place.checksum
        && !commit.as_str().starts_with(&expected.to_ascii_lowercase())
    {
        let (url, expected) = (redact(url), expected.clone());
        return Err(SourceProblem::OtherCommit { url, found: commit, expected });
    }
    let mut submodules = Submodules { fetcher: &fetcher, folders: Vec::new() };
    if place.submodules {
        submodules.check_out(folder, url, 0)?;
    }
    if place.commit_time {
        give_commit_time(folder)?;
    }
    if !place.keep_git {
        submodules.folders.push(folder.to_owned());
        remove_git(&submodules.folders)?;
    }
    Ok(commit)
}

/// Gives all files, those of submodules too, the time of the commit that was checked out.
fn give_commit_time(folder: &Path) -> Result<(), SourceProblem> {
    let failed = |error: git2::Error| unusable(folder, &error);
    let repository = Repository::open(folder).map_err(failed)?;
    let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(failed)?;
    let time = TimeSpec::new(commit.time().seconds().max(0), 0);
    set_times(folder, &time).map_err(|error| match error {
        CloneError::Files(error) => SourceProblem::Io { doing: "set files' times", error },
        CloneError::Git(error) => failed(error),
    })
}

/// What fetches repositories.
pub(super) struct Fetcher<'a> {
    options: &'a FetchOptions,
    observer: &'a dyn Observer,
}

impl Fetcher<'_> {
    /// Checks a commit, branch, tag or other ref out into a folder, which is made; gives the commit.
    pub(super) fn check_out(
        &self,
        folder: &Path,
        url: &str,
        wanted: &str,
    ) -> Result<CommitId, SourceProblem> {
        fs_err::create_dir_all(folder).map_err(SourceProblem::io("make a folder"))?;
        let shown = redact(url);
        let (options, observer) = (&self.options.git, self.observer);
        let run = GitRun { options, subject: &shown, url: &shown, observer };
        let git = |arguments: &[&str]| {
            let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
            run.run(folder, &arguments)
        };
        git(&["init", "--quiet", "."])?;
        let mut wanted = wanted;
        if git(&["fetch", "--quiet", "--depth=1", "--", url, wanted]).is_ok() {
            wanted = "FETCH_HEAD";
        } else if wanted.len() >= 7 && wanted.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            // Not every server gives a commit by its number, and none by a part of it.
            let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
            git(&["fetch", "--quiet", "--", url, all[0], all[1]])?;
            let branch = format!("refs/remotes/origin/{wanted}");
            if git(&["checkout", "--quiet", "--detach", &branch]).is_ok() {
                wanted = "HEAD";
            }
        } else {
            // Servers of plain files give nothing but whole histories.
            git(&["fetch", "--quiet", "--", url, wanted])?;
            wanted = "FETCH_HEAD";
        }
        git(&["checkout", "--quiet", "--detach", wanted, "--"])?;
        let failed = |error: git2::Error| unusable(folder, &error);
        let repository = Repository::open(folder).map_err(failed)?;
        let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(failed)?.id();
        let text = commit.to_string();
        text.parse().map_err(|_error| failed(git2::Error::from_str(&text)))
    }
}

/// A repository that git made and libgit2 can't use.
pub(super) fn unusable(folder: &Path, error: &git2::Error) -> SourceProblem {
    SourceProblem::NoRepository {
        path: folder.to_owned(),
        reason: error.message().to_owned(),
        foreign: false,
    }
}
