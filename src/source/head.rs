//! Commit at HEAD of the repository with a folder.

use std::path::Path;

use git2::{ErrorCode, Repository};

use super::git_guard::find;
use crate::package::CommitId;

/// Returns the commit at HEAD of the git checkout with a folder; the error is the reason for which it is not known.
///
/// The repository may be part of a tree that somebody else has made. So each folder above is looked at before libgit2
/// opens anything in it, which would wait at a FIFO.
pub fn head_of_checkout(folder: &Path) -> Result<CommitId, String> {
    for above in folder.ancestors() {
        find(above)?;
        let repository = match Repository::open(above) {
            Err(error) if error.code() == ErrorCode::NotFound => continue,
            other => other,
        };
        let head = repository.and_then(|it| Ok(it.head()?.peel_to_commit()?.id()));
        let head = head.map_err(|error| error.message().to_owned())?;
        return head.to_string().parse().map_err(|error| format!("{error}"));
    }
    Err(format!("could not find repository at '{}'", folder.display()))
}
