//! One commit of a repository on the network, fetched by git into a folder of its own and checked out.

use std::ffi::OsStr;
use std::path::Path;

use git2::Repository;

use super::git_login::GitLogin;
use super::git_program::GitRun;
use super::{FetchOptions, SourceProblem};
use crate::base::event::Observer;
use crate::base::http::redact;
use crate::package::CommitId;

/// Fetches repositories into folders of their own.
pub(super) struct Fetcher<'a> {
    pub(super) options: &'a FetchOptions,
    pub(super) observer: &'a dyn Observer,
}

impl Fetcher<'_> {
    /// Checks a commit, branch, tag or other ref out into a new folder; returns the commit.
    pub(super) fn check_out(
        &self,
        folder: &Path,
        url: &str,
        wanted: &str,
    ) -> Result<CommitId, SourceProblem> {
        fs_err::create_dir_all(folder).map_err(SourceProblem::io("make a folder"))?;
        let shown = redact(url);
        let (options, observer) = (&self.options.git, self.observer);
        let login = GitLogin::of(url.into());
        let run = GitRun { options, subject: &shown, url: &shown, login: &login, observer };
        let url = login.url.to_str().unwrap_or(url);
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
            // A branch may be called like a part of a number, and goes first.
            let branch = format!("refs/remotes/origin/{wanted}");
            if git(&["checkout", "--quiet", "--detach", &branch]).is_ok() {
                wanted = "HEAD";
            }
        } else {
            // Servers of plain files give nothing but whole histories.
            git(&["fetch", "--quiet", "--", url, wanted])?;
            wanted = "FETCH_HEAD";
        }
        // `--`: the name is a ref and never a path.
        git(&["checkout", "--quiet", "--detach", wanted, "--"])?;
        let failed = |error: git2::Error| unusable(folder, &error);
        let repository = Repository::open(folder).map_err(failed)?;
        let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(failed)?.id();
        let text = commit.to_string();
        text.parse().map_err(|_error| failed(git2::Error::from_str(&text)))
    }
}

/// The error for a repository that git made and libgit2 cannot use.
pub(super) fn unusable(folder: &Path, error: &git2::Error) -> SourceProblem {
    SourceProblem::NoRepository {
        path: folder.to_owned(),
        reason: error.message().to_owned(),
        foreign: false,
    }
}
