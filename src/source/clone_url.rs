//! The files of a commit of a repository on the network, without a mirror: what `ADD` of a Dockerfile
//! takes. Only the commit itself is fetched where the server gives it.

use std::ffi::OsStr;
use std::path::Path;

use git2::Repository;

use super::git_program::GitRun;
use super::{FetchOptions, SourceProblem};
use crate::base::event::Observer;
use crate::base::http::redact;
use crate::package::CommitId;

/// Checks a branch, tag or commit out into a folder, which is made; gives the commit. Submodules are
/// left out.
pub fn clone_url(
    url: &str,
    reference: Option<&str>,
    folder: &Path,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<CommitId, SourceProblem> {
    fs_err::create_dir_all(folder).map_err(SourceProblem::io("make a folder"))?;
    let shown = redact(url);
    let run = GitRun { options: &options.git, subject: &shown, url: &shown, observer };
    let git = |arguments: &[&str]| {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        run.run(folder, &arguments)
    };
    let wanted = reference.unwrap_or("HEAD");
    git(&["init", "--quiet", "."])?;
    if git(&["fetch", "--quiet", "--depth=1", "--", url, wanted]).is_ok() {
        git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
    } else {
        // Not every server gives a commit by its number.
        let all = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
        git(&["fetch", "--quiet", "--", url, all[0], all[1]])?;
        let branch = format!("refs/remotes/origin/{wanted}");
        git(&["checkout", "--quiet", "--detach", &branch])
            .or_else(|_error| git(&["checkout", "--quiet", "--detach", wanted]))?;
    }
    let unusable = |error: git2::Error| SourceProblem::NoRepository {
        path: folder.to_owned(),
        reason: error.message().to_owned(),
        foreign: false,
    };
    let repository = Repository::open(folder).map_err(unusable)?;
    let commit = repository.head().and_then(|head| head.peel_to_commit()).map_err(unusable)?.id();
    let text = commit.to_string();
    text.parse().map_err(|_error| unusable(git2::Error::from_str(&text)))
}
