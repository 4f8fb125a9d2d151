//! Places for `git_local` sources of a tree: the tree's own git repository or, without one, the
//! parent of the packages folder. The contents of any other HEAD would be packaged without the
//! knowledge of the tree's author.
//!
//! A repository is the tree's own if its worktree contains the packages folder and its index
//! contains files of the folder. A repository with a `.git` file counts if the repository named in
//! the file points back: otherwise an unpacked archive could claim any repository of the user's.
//! Refs and objects must be in bounds, including borrowed ones: a build gets all of them.

use std::path::{Path, PathBuf};

use git2::Repository;

use super::git_guard::find;
use super::git_layout;
use super::local_repository::LocalRepository;
use crate::base::confinement;

/// Permission of a tree's `git_local` sources.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LocalPermission {
    /// The user allows any place.
    #[default]
    Anywhere,
    /// The tree's own repository alone.
    Tree {
        /// Remedy for other locations.
        hint: String,
    },
}

/// Place that `git_local` sources may lie in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalScope(Option<Bounds>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bounds {
    /// Top folder, without symlinks.
    root: PathBuf,
    /// Folder of the own repository's refs, where that lies elsewhere.
    refs: Option<PathBuf>,
    hint: String,
}

/// A repository out of bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfScope {
    /// Path outside of the scope.
    pub path: PathBuf,
    /// Folder within which paths are permitted.
    pub root: PathBuf,
    /// Remedy.
    pub hint: String,
}

impl Bounds {
    fn out(&self, path: &Path) -> OutOfScope {
        OutOfScope { path: path.to_owned(), root: self.root.clone(), hint: self.hint.clone() }
    }
}

impl LocalScope {
    /// Any place.
    pub fn anywhere() -> Self {
        Self(None)
    }

    /// Scope of a packages folder under a permission.
    pub fn under(permission: &LocalPermission, packages: &Path) -> Self {
        match permission {
            LocalPermission::Anywhere => Self::anywhere(),
            LocalPermission::Tree { hint } => Self::of(packages, hint.clone()),
        }
    }

    /// Scope of a packages folder: its own repository or, without one, the parent folder.
    pub fn of(packages: &Path, hint: String) -> Self {
        let packages = fs_err::canonicalize(packages).unwrap_or_else(|_| packages.to_owned());
        let own = packages.ancestors().find_map(|folder| own_repository(folder, &packages));
        let bounds = match own {
            Some((root, refs)) => Bounds { root, refs, hint },
            None => {
                Bounds { root: packages.parent().unwrap_or(&packages).to_owned(), refs: None, hint }
            }
        };
        Self(Some(bounds))
    }

    /// Scope of a checkout made here: only the checkout.
    pub fn checkout(permission: &LocalPermission, folder: &Path) -> Self {
        let LocalPermission::Tree { hint } = permission else { return Self::anywhere() };
        let root = fs_err::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
        Self(Some(Bounds { root, refs: None, hint: hint.clone() }))
    }

    /// True if a folder, without symlinks in its path, is in bounds.
    pub fn has_folder(&self, folder: &Path) -> bool {
        self.0.as_ref().is_none_or(|bounds| folder.starts_with(&bounds.root))
    }

    /// Checks that a path without symlinks is in bounds.
    pub(super) fn check_path(&self, path: &Path) -> Result<(), OutOfScope> {
        match &self.0 {
            Some(bounds) if !path.starts_with(&bounds.root) => Err(bounds.out(path)),
            _ => Ok(()),
        }
    }

    /// Checks that a repository's folders and refs are in bounds.
    pub(super) fn check_repository(&self, repository: &LocalRepository) -> Result<(), OutOfScope> {
        let Some(bounds) = &self.0 else { return Ok(()) };
        let is_in = |path: &Path| {
            let real = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            real.starts_with(&bounds.root)
                || bounds.refs.as_ref().is_some_and(|refs| real.starts_with(refs))
        };
        for folder in [&repository.git_dir, &repository.common_dir] {
            // All that a clone is made of, or that leads to another repository.
            let names = [
                "",
                "HEAD",
                "packed-refs",
                "refs",
                "commondir",
                "gitdir",
                "shallow",
                "objects",
                "index",
                "config",
                "config.worktree",
                "info",
                "info/attributes",
            ];
            let names = names.map(|name| folder.join(name));
            if let Some(name) = names.iter().find(|name| !is_in(name)) {
                return Err(bounds.out(name));
            }
            let refs = folder.join("refs");
            for entry in walkdir::WalkDir::new(&refs) {
                match entry {
                    Ok(entry) if entry.path_is_symlink() && !is_in(entry.path()) => {
                        return Err(bounds.out(entry.path()));
                    }
                    // A folder that is unreadable here could be readable for a helper.
                    Err(error) if fs_err::symlink_metadata(&refs).is_ok() => {
                        return Err(bounds.out(error.path().unwrap_or(&refs)));
                    }
                    _ => {}
                }
            }
        }
        let objects = repository.common_dir.join("objects");
        let borrowed = git_layout::object_folders(&repository.common_dir);
        let borrowed = borrowed.map_err(|_error| bounds.out(&objects))?;
        match borrowed.iter().find(|folder| !is_in(folder)) {
            Some(folder) => Err(bounds.out(folder)),
            None => Ok(()),
        }
    }
}

/// True if a repository's index has files of a folder. HEAD tells it where the index has a form that libgit2
/// does not read: a sparse or a split one.
fn has_files(repository: &Repository, folder: &str) -> bool {
    if let Ok(index) = repository.index() {
        return index.find_prefix(format!("{folder}/")).is_ok();
    }
    let tree = repository.head().and_then(|head| head.peel_to_tree());
    tree.is_ok_and(|tree| tree.get_path(Path::new(folder)).is_ok())
}

/// Returns the worktree of the repository with a folder as its worktree and the packages as tracked
/// files, and the folder of its refs if elsewhere.
fn own_repository(folder: &Path, packages: &Path) -> Option<(PathBuf, Option<PathBuf>)> {
    let git = folder.join(".git");
    let kind = fs_err::symlink_metadata(&git).ok()?.file_type();
    if !kind.is_dir() && !kind.is_file() {
        return None;
    }
    // What cannot be read with an end is not opened.
    find(folder).ok()?;
    let repository = Repository::open(folder).ok()?;
    let below = packages.strip_prefix(folder).ok()?;
    let has_packages = below.as_os_str().is_empty() || has_files(&repository, below.to_str()?);
    if !has_packages {
        return None;
    }
    let refs = fs_err::canonicalize(repository.commondir()).ok()?;
    if refs.starts_with(folder) {
        return Some((folder.to_owned(), None));
    }
    let own = fs_err::canonicalize(repository.path()).ok()?;
    let points_back = kind.is_file() && {
        // Both have to be known to the repository itself, not only to what the file leads to.
        let is_worktree = own.parent() == Some(refs.join("worktrees").as_path());
        let is_submodule = own == refs;
        let worktree = confinement::read_text(repository.path(), Path::new("gitdir"), 1 << 16);
        let of_worktree = worktree.ok().and_then(|text| fs_err::canonicalize(text.trim_end()).ok());
        let of_submodule = repository.config().ok().and_then(|config| {
            let worktree = config.get_path("core.worktree").ok()?;
            fs_err::canonicalize(repository.path().join(worktree)).ok()
        });
        is_worktree && of_worktree.as_deref() == Some(git.as_path())
            || is_submodule && of_submodule.as_deref() == Some(folder)
    };
    points_back.then(|| (folder.to_owned(), Some(refs)))
}
