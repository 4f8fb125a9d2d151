//! A clone for one build, and a bare copy for the cache: made from another repository's files.
//!
//! A clone has copies of all objects, branches as `refs/remotes/origin/*`, tags, HEAD detached at
//! the commit, a work tree whose files and folders have the commit's time, and a matching index.
//! Files have the commit's contents, except those that git converts, which the caller provides:
//! [`super::git_convert`]. No configuration has an effect: neither templates nor hooks nor filters.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use git2::build::CheckoutBuilder;
use git2::{Commit, Config, ConfigLevel, Index, IndexTime, Odb, Oid, Repository};
use walkdir::WalkDir;

use super::SourceProblem;
use super::git_layout;
use super::git_refs::{self, Refs};
use crate::base::confinement::locate_below;
use crate::base::removal::remove_all;
use crate::base::times::set_time;
use crate::package::CommitId;

/// A clone could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// A file can't be read or written; the source names it.
    #[error("cannot copy the repository")]
    Files(#[from] io::Error),
    /// The commit, or an object inside, is missing or cannot be checked out.
    #[error("cannot check out the commit")]
    Git(#[from] git2::Error),
}

impl CloneError {
    /// The problem of a source that is copied from a repository.
    pub(super) fn into_problem(self, path: &Path) -> SourceProblem {
        match self {
            Self::Files(error) => SourceProblem::Io { doing: "make a git mirror", error },
            Self::Git(error) => SourceProblem::Repository { path: path.to_owned(), error },
        }
    }
}

/// Makes a clone in `dest`, an empty folder.
pub(super) fn clone(
    git_dir: &Path,
    objects: &[PathBuf],
    commit: &CommitId,
    remote: Option<&str>,
    converted: Option<&Path>,
    dest: &Path,
) -> Result<(), CloneError> {
    let dot_git = dest.join(".git");
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags", "info"] {
        fs_err::create_dir_all(dot_git.join(folder))?;
    }
    for objects in objects {
        git_layout::copy_objects(objects, &dot_git.join("objects"))?;
    }
    git_refs::copy_shallow(git_dir, &dot_git)?;
    write_config(&dot_git, remote)?;
    let objects = Odb::new()?;
    objects.add_disk_alternate(utf8(&dot_git.join("objects"))?)?;
    let refs = remote_refs(git_refs::read_refs(git_dir)?, &objects);
    git_refs::write_refs(&dot_git, &refs)?;
    write_origin_head(git_dir, &dot_git, &refs)?;
    check_out(objects, commit, converted, dest)
}

/// Makes a bare repository in `dest`, as `git clone --mirror` of `url` would.
pub(super) fn bare_copy(
    git_dir: &Path,
    objects: &[PathBuf],
    url: &str,
    dest: &Path,
) -> Result<(), CloneError> {
    for folder in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
        fs_err::create_dir_all(dest.join(folder))?;
    }
    for objects in objects {
        git_layout::copy_objects(objects, &dest.join("objects"))?;
    }
    git_refs::copy_shallow(git_dir, dest)?;
    git_refs::write_refs(dest, &git_refs::read_refs(git_dir)?)?;
    let branch = git_refs::head_branch(git_dir)?.unwrap_or(b"refs/heads/main".to_vec());
    fs_err::write(dest.join("HEAD"), [b"ref: ", branch.as_slice(), b"\n"].concat())?;
    write_mirror_config(dest, url)
}

/// Gives a mirror the configuration that `git clone --mirror` of `url` writes, and no other: a
/// configuration that came with a tree could name commands for git to run.
pub(super) fn write_mirror_config(mirror: &Path, url: &str) -> Result<(), CloneError> {
    // libgit2 would add to the configuration that is there.
    let new = mirror.join("config.new");
    remove_all(&new)?;
    let mut config = Config::open(&new)?;
    config.set_i32("core.repositoryformatversion", 0)?;
    config.set_bool("core.filemode", true)?;
    config.set_bool("core.bare", true)?;
    config.set_str("remote.origin.url", url)?;
    config.set_str("remote.origin.fetch", "+refs/*:refs/*")?;
    config.set_bool("remote.origin.mirror", true)?;
    fs_err::rename(new, mirror.join("config"))?;
    Ok(())
}

fn write_config(dot_git: &Path, remote: Option<&str>) -> Result<(), git2::Error> {
    let mut config = Config::open(&dot_git.join("config"))?;
    config.set_i32("core.repositoryformatversion", 0)?;
    config.set_bool("core.filemode", true)?;
    config.set_bool("core.bare", false)?;
    config.set_bool("core.logallrefupdates", true)?;
    if let Some(url) = remote {
        config.set_str("remote.origin.url", url)?;
        config.set_str("remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")?;
    }
    Ok(())
}

fn utf8(path: &Path) -> Result<&str, git2::Error> {
    path.to_str().ok_or_else(|| git2::Error::from_str("the path to check out to is not UTF-8"))
}

/// Returns the refs of a clone: the remote's branches, and tags. Broken refs are left out, since
/// git would refuse the clone.
fn remote_refs(refs: Refs, objects: &Odb<'_>) -> Refs {
    let there = |id: &str| Oid::from_str(id).is_ok_and(|id| objects.exists(id));
    let kept = refs.into_iter().filter(|(_, id)| there(id)).filter_map(|(name, id)| {
        if let Some(branch) = name.strip_prefix(b"refs/heads/") {
            Some(([b"refs/remotes/origin/", branch].concat(), id))
        } else {
            name.starts_with(b"refs/tags/").then_some((name, id))
        }
    });
    kept.collect()
}

fn write_origin_head(git_dir: &Path, dot_git: &Path, refs: &Refs) -> io::Result<()> {
    let Some(branch) = git_refs::head_branch(git_dir)? else { return Ok(()) };
    let Some(branch) = branch.strip_prefix(b"refs/heads/") else { return Ok(()) };
    let name = [b"refs/remotes/origin/", branch].concat();
    if !refs.contains_key(&name) {
        return Ok(());
    }
    let folder = dot_git.join("refs/remotes/origin");
    fs_err::create_dir_all(&folder)?;
    fs_err::write(folder.join("HEAD"), [b"ref: ", name.as_slice(), b"\n"].concat())
}

/// Checks out without opening the clone as a repository: that would read the configuration of the
/// user and of the system, and fail where a helper may not even look for it.
fn check_out(
    objects: Odb<'_>,
    commit: &CommitId,
    converted: Option<&Path>,
    dest: &Path,
) -> Result<(), CloneError> {
    let dot_git = dest.join(".git");
    let mut config = Config::new()?;
    config.add_file(&dot_git.join("config"), ConfigLevel::Local, true)?;
    let mut index = Index::open(&dot_git.join("index"))?;
    let repository = Repository::from_odb(objects)?;
    repository.set_config(&config)?;
    repository.set_workdir(dest, false)?;
    repository.set_index(&mut index)?;
    // It may be the number of a tag.
    let commit = repository.find_object(Oid::from_str(commit.as_str())?, None)?.peel_to_commit()?;
    fs_err::write(dot_git.join("HEAD"), format!("{}\n", commit.id()))?;
    let mut options = CheckoutBuilder::new();
    // As committed: the host's git has made the files that it converts.
    options.force().disable_filters(true);
    repository.checkout_tree(commit.as_object(), Some(&mut options))?;
    if let Some(converted) = converted {
        copy_converted(converted, dest)?;
    }
    set_commit_time(dest, &commit)?;
    refresh_index(&mut index, dest)
}

/// Replaces files that git converts by their converted contents.
fn copy_converted(converted: &Path, dest: &Path) -> io::Result<()> {
    for entry in WalkDir::new(converted).min_depth(1).follow_links(false) {
        let entry = entry?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path().strip_prefix(converted).map_err(io::Error::other)?;
        // The commit may have a link in a folder's place, which leads out of the clone.
        let place = locate_below(dest, path)?;
        let mut from = fs_err::File::open(entry.path())?;
        let mut options = fs_err::OpenOptions::new();
        options.write(true).truncate(true).custom_flags(libc::O_NOFOLLOW);
        io::copy(&mut from, &mut options.open(place)?)?;
    }
    Ok(())
}

/// Gives all files and folders, the root and symlinks too, the time of a commit.
pub(super) fn set_commit_time(dest: &Path, commit: &Commit<'_>) -> io::Result<()> {
    let seconds = u64::try_from(commit.time().seconds()).unwrap_or(0);
    let walk = WalkDir::new(dest).into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() != 1 || entry.file_name() != ".git") {
        set_time(entry?.path(), seconds)?;
    }
    Ok(())
}

/// Tells the index the files' new times: else plumbing like `git diff-index` takes all of them for
/// changed.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as git truncates")]
fn refresh_index(index: &mut Index, dest: &Path) -> Result<(), CloneError> {
    const SUBMODULE: u32 = 0o160_000;
    let entries: Vec<_> = index.iter().filter(|entry| entry.mode != SUBMODULE).collect();
    for mut entry in entries {
        use std::os::unix::ffi::OsStrExt;
        let path = dest.join(std::ffi::OsStr::from_bytes(&entry.path));
        let metadata = fs_err::symlink_metadata(path)?;
        entry.mtime = IndexTime::new(metadata.mtime() as i32, metadata.mtime_nsec() as u32);
        entry.ctime = IndexTime::new(metadata.ctime() as i32, metadata.ctime_nsec() as u32);
        entry.dev = metadata.dev() as u32;
        entry.ino = metadata.ino() as u32;
        entry.uid = metadata.uid();
        entry.gid = metadata.gid();
        entry.file_size = metadata.size() as u32;
        index.add(&entry)?;
    }
    index.write()?;
    Ok(())
}
