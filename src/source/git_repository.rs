//! Folders of a `git_local` repository, and the permission to use one of another user.
//!
//! libgit2 finds the folders. libgit2 refuses a repository of another user, unless `safe.directory`
//! names the repository, and supports fewer forms of that setting than git: then the folders are
//! found here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use git2::{ErrorCode, Repository};

use super::git_guard::find;
use super::local_repository::LocalRepository;
use super::{GitOptions, SourceProblem, git_format};

impl LocalRepository {
    /// Finds a repository at a path, which is without symlinks.
    pub(super) fn open(path: &Path, git: &GitOptions) -> Result<Self, SourceProblem> {
        let refused =
            |reason| SourceProblem::NoRepository { path: path.to_owned(), reason, foreign: false };
        let found = find(path).map_err(refused)?;
        if let Some(reason) = found.as_ref().and_then(|it| git_format::unsupported(&it.common_dir))
        {
            return Err(refused(reason));
        }
        match Repository::open(path) {
            Ok(repository) => Ok(Self {
                git_dir: repository.path().to_owned(),
                common_dir: repository.commondir().to_owned(),
                work_tree: repository.workdir().map(Path::to_owned),
            }),
            Err(error) if error.code() == ErrorCode::Owner => match found {
                Some(found) if is_allowed(path, git) => Ok(found),
                _ => Err(unusable(path, &error)),
            },
            Err(error) => Err(unusable(path, &error)),
        }
    }
}

/// The error for a repository that libgit2 cannot use.
pub(super) fn unusable(path: &Path, error: &git2::Error) -> SourceProblem {
    SourceProblem::NoRepository {
        path: path.to_owned(),
        reason: error.message().to_owned(),
        foreign: error.code() == ErrorCode::Owner,
    }
}

/// True if the user's or the system's `safe.directory` has a repository.
fn is_allowed(path: &Path, git: &GitOptions) -> bool {
    // git reads the setting from these files alone, and asks in a folder that is no repository.
    let folder = tempfile::tempdir();
    let Ok(folder) = folder else { return false };
    // `--type=path`: git expands `~/`.
    let arguments = ["config", "--null", "--type=path", "--get-all", "safe.directory"];
    let output = git.quiet(folder.path(), &arguments);
    let values = output.split(|byte| *byte == 0).map(|value| OsString::from_vec(value.to_vec()));
    has_directory(values, path)
}

/// True if values of `safe.directory` include a path (git-config(1)): an empty value resets the
/// list.
fn has_directory(values: impl Iterator<Item = OsString>, path: &Path) -> bool {
    let mut allowed = false;
    let mut values = values.peekable();
    while let Some(value) = values.next() {
        let bytes = value.as_bytes();
        // The text behind the last separator is not a value.
        if bytes.is_empty() && values.peek().is_none() {
            break;
        }
        match bytes {
            b"" => allowed = false,
            b"*" => allowed = true,
            _ => {
                // The slash belongs to the root alone.
                let below = bytes.strip_suffix(b"*").filter(|it| it.ends_with(b"/"));
                let below = below.map(OsStr::from_bytes);
                allowed |= match below {
                    Some(folder) => {
                        real(folder).is_some_and(|it| path != it && path.starts_with(it))
                    }
                    None => real(&value).is_some_and(|it| it == path),
                };
            }
        }
    }
    allowed
}

fn real(path: &OsStr) -> Option<PathBuf> {
    let path = Path::new(path);
    path.is_absolute().then(|| fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_directories_are_those_of_git() {
        for (values, allowed) in [
            (vec![], false),
            (vec!["/srv/r"], true),
            (vec!["/srv/other"], false),
            (vec!["*"], true),
            (vec!["*", ""], false),
            (vec!["/srv/r", "", "/srv/x"], false),
            (vec!["", "/srv/r"], true),
            (vec!["/srv/*"], true),
            (vec!["/*"], true),
            (vec!["/srv/r/*"], false),
            (vec!["/sr/*"], false),
            (vec!["srv/*"], false),
        ] {
            let given = values.iter().chain([&""]).map(OsString::from);
            assert_eq!(has_directory(given, Path::new("/srv/r")), allowed, "{values:?}");
        }
    }

    #[test]
    fn folders_are_found_as_libgit2_finds_them() {
        let place = tempfile::tempdir().unwrap();
        let root = fs_err::canonicalize(place.path()).unwrap();
        let git = GitOptions::default();
        Repository::init(root.join("plain")).unwrap();
        Repository::init_bare(root.join("bare.git")).unwrap();
        for path in ["plain", "bare.git", "plain/.git"] {
            let path = root.join(path);
            let found = find(&path).unwrap().unwrap();
            let other = LocalRepository::open(&path, &git).unwrap();
            let real = |path: &Path| fs_err::canonicalize(path).unwrap();
            assert_eq!(real(&found.git_dir), real(&other.git_dir));
            assert_eq!(real(&found.common_dir), real(&other.common_dir));
            assert_eq!(found.work_tree.as_deref().map(real), other.work_tree.as_deref().map(real));
        }
        assert_eq!(find(&root), Ok(None));
    }
}
