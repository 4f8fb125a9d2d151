//! What is looked for in git repositories, and what one has of it.

use crate::package::CommitId;

/// What a git source declares.
pub(super) struct Wanted<'a> {
    pub(super) url: &'a str,
    pub(super) commit: &'a CommitId,
    pub(super) ref_origin: &'a str,
}

/// What a repository has of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The commit, if it is there; that of the tag, where `ref` is a tag's number.
    pub(super) commit: Option<String>,
    /// The commit that the name leads to.
    pub(super) origin: Option<String>,
}
