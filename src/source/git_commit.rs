//! Search criteria for git repositories, and results.

use crate::package::CommitId;

/// Declared commit and ref of a git source.
pub(super) struct CommitRequest<'a> {
    pub(super) url: &'a str,
    pub(super) commit: &'a CommitId,
    pub(super) ref_origin: &'a str,
}

/// Results in a repository.
#[derive(Debug, Default)]
pub(super) struct ResolvedCommit {
    /// Commit, if found; the tag's commit, if `ref` is the id of a tag object.
    pub(super) commit: Option<String>,
    /// The commit that the name leads to.
    pub(super) origin: Option<String>,
}
