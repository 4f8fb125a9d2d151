//! Repositories made by others: in a tree's cache, in a mirror's folder, or at a path named by a
//! source. Their objects and refs are read as files, and nothing inside is run: git is not started
//! in such a repository, and libgit2 does not open it, since a `config`, `commondir` or `hooks`
//! could name commands and other repositories. A repository with symlinks or borrowed objects is
//! not used: either could lead to a private repository of the caller's. Nor is a repository with
//! other types than files and folders, such as a FIFO.

use std::io;
use std::path::Path;

use git2::{ObjectType, Oid};
use walkdir::WalkDir;

use super::SourceProblem;
use super::git_commit::{CommitRequest, ResolvedCommit};
use super::git_format;
use super::git_layout;
use super::git_refs::{self, Refs};
use crate::package::CommitId;

/// True if the repository has the commit and can be used.
pub(super) fn has_commit(path: &Path, commit: &CommitId) -> Result<bool, SourceProblem> {
    check(path)?;
    git_layout::has_object(&path.join("objects"), commit).map_err(|error| failed(path, error))
}

/// Searches a repository for the wanted refs and commits.
pub(super) fn look(
    path: &Path,
    wanted: &CommitRequest<'_>,
) -> Result<ResolvedCommit, SourceProblem> {
    check(path)?;
    let refs = git_refs::read_refs(path).map_err(SourceProblem::io("read a git repository"))?;
    let head = git_refs::head_branch(path).map_err(SourceProblem::io("read a git repository"))?;
    find(&path.join("objects"), wanted, &refs, head).map_err(|error| failed(path, error))
}

fn find(
    objects: &Path,
    wanted: &CommitRequest<'_>,
    refs: &Refs,
    head: Option<Vec<u8>>,
) -> Result<ResolvedCommit, git2::Error> {
    let repository = git_layout::open_objects(&[objects.to_owned()])?;
    let peeled = |id: &str| {
        let object = repository.find_object(Oid::from_str(id).ok()?, None).ok()?;
        Some(object.peel(ObjectType::Commit).ok()?.id().to_string())
    };
    let origin = named(refs, head, wanted.ref_origin).and_then(|id| peeled(&id));
    Ok(ResolvedCommit { commit: peeled(wanted.commit.as_str()), origin })
}

/// Resolves a name to an id, as in gitrevisions(7).
fn named(refs: &Refs, head: Option<Vec<u8>>, name: &str) -> Option<String> {
    let full = match name {
        "HEAD" => vec![head?],
        _ => git_refs::full_names(name),
    };
    let found = full.iter().find_map(|name| refs.get(name)).cloned();
    found.or_else(|| name.parse::<CommitId>().ok().map(|id| id.to_string()))
}

/// Refuses a repository whose files are elsewhere.
fn check(path: &Path) -> Result<(), SourceProblem> {
    let refuse = |reason: String| SourceProblem::NoRepository {
        path: path.to_owned(),
        reason,
        foreign: false,
    };
    let objects = path.join("objects");
    let is_whole = fs_err::symlink_metadata(&objects).is_ok_and(|objects| objects.is_dir());
    if !is_whole {
        return Err(refuse("it is not a git repository with its own objects".to_owned()));
    }
    // First, for a message that helps: libgit2 would say that objects are missing.
    if let Some(reason) = git_format::unsupported(path) {
        return Err(refuse(reason));
    }
    // Whatever the text says: others could understand it differently.
    let borrows = |name: &str| match fs_err::symlink_metadata(objects.join("info").join(name)) {
        Ok(data) => data.len() > 0,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    };
    if ["alternates", "http-alternates"].into_iter().any(borrows) {
        return Err(refuse("it borrows objects from another repository".to_owned()));
    }
    for entry in WalkDir::new(path).min_depth(1) {
        // A folder that is unreadable here could be readable for a helper.
        let entry =
            entry.map_err(|error| refuse(format!("it cannot be looked through: {error}")))?;
        let name = || entry.path().strip_prefix(path).unwrap_or(path).display();
        if entry.path_is_symlink() {
            let link = name();
            return Err(refuse(format!("{link} in it is a symbolic link, which is not followed")));
        }
        // Reading a FIFO would block forever.
        if !entry.file_type().is_file() && !entry.file_type().is_dir() {
            return Err(refuse(format!("{} in it is neither a file nor a folder", name())));
        }
    }
    Ok(())
}

fn failed(path: &Path, error: git2::Error) -> SourceProblem {
    SourceProblem::Repository { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_has_files_and_folders_alone() {
        let place = tempfile::tempdir().unwrap();
        let pack = place.path().join("objects/pack");
        fs_err::create_dir_all(&pack).unwrap();
        fs_err::write(place.path().join("HEAD"), "ref: refs/heads/main").unwrap();
        check(place.path()).unwrap();
        let fifo = pack.join("pack-0123456789012345678901234567890123456789.idx");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let refused = check(place.path()).unwrap_err().to_string();
        assert!(refused.contains("neither a file nor a folder"), "{refused}");
        fs_err::remove_file(&fifo).unwrap();
        check(place.path()).unwrap();
        fs_err::os::unix::fs::symlink("HEAD", fifo).unwrap();
        assert!(check(place.path()).unwrap_err().to_string().contains("symbolic link"));
    }

    #[test]
    fn names_are_looked_up_as_git_does() {
        let refs: Refs = [("refs/tags/x", "1"), ("refs/heads/x", "2"), ("refs/heads/main", "3")]
            .map(|(name, id)| (name.as_bytes().to_vec(), id.repeat(40)))
            .into();
        let head = Some(b"refs/heads/main".to_vec());
        let id = "4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
        for (name, found) in [
            ("x", Some("1")),
            ("heads/x", Some("2")),
            ("refs/heads/main", Some("3")),
            ("HEAD", Some("3")),
            ("y", None),
            ("", None),
        ] {
            let found = found.map(|id| id.repeat(40));
            assert_eq!(named(&refs, head.clone(), name), found, "{name}");
        }
        assert_eq!(named(&refs, None, id).as_deref(), Some(id));
        assert_eq!(named(&refs, None, "HEAD"), None);
    }
}
