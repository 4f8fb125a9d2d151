//! Folders of a git repository of this machine.

use std::path::PathBuf;

/// Folders of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LocalRepository {
    /// Folder of HEAD and the index.
    pub(super) git_dir: PathBuf,
    /// Folder of the objects and refs.
    pub(super) common_dir: PathBuf,
    /// Folder of the files, unless the repository is bare.
    pub(super) work_tree: Option<PathBuf>,
}
