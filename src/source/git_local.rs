//! `git_local`: a repository of the user, of which a build gets the contents of HEAD.
//!
//! The repository is only read. It may be a worktree, shallow, bare, sparse, or borrow objects. The
//! host's git finds changes of the work tree with a [`GitState`], which has the repository's index
//! and objects, and of its configuration only the settings for comparing files.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use git2::{Config, ErrorCode, Reference, Repository};

use super::git_guard::{LONGEST_INDEX, find, is_odd};
use super::git_layout::open_objects;
use super::git_refs::{self, RefTarget};
use super::git_repository::unusable;
use super::git_state::{GitState, StateRequest, filter_of_key};
use super::local_repository::LocalRepository;
use super::{FetchOptions, FetchedSource, OutOfScope, SourceProblem, SourceRequest, git_layout};
use crate::base::confinement::real_path;
use crate::base::event::{Event, Observer};
use crate::package::CommitId;

/// Settings of a repository that say how its files are compared with the index: names, and their values.
const COMPARISON: [(&str, &[&str]); 8] = [
    ("core.fileMode", &["true", "false"]),
    ("core.symlinks", &["true", "false"]),
    ("core.ignoreCase", &["true", "false"]),
    ("core.precomposeUnicode", &["true", "false"]),
    ("core.trustctime", &["true", "false"]),
    ("core.checkStat", &["default", "minimal"]),
    ("core.autocrlf", &["true", "false", "input"]),
    ("core.eol", &["lf", "crlf", "native"]),
];
/// Upper limit of `info/attributes` in bytes.
const LONGEST_ATTRIBUTES: u64 = 16 << 20;
/// Largest number of symbolic refs in a row.
const LONGEST_CHAIN: usize = 5;

/// Returns the commit at HEAD, if no tracked file differs.
pub(super) fn head(
    request: &SourceRequest,
    rel_path: &str,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<CommitId, SourceProblem> {
    let (path, repository) = open(request, rel_path, options)?;
    let commit = head_commit(&path, &repository)?;
    if let Some(work_tree) = &repository.work_tree {
        let work_tree = fs_err::canonicalize(work_tree).unwrap_or_else(|_| work_tree.clone());
        let objects = git_layout::object_folders(&repository.common_dir)
            .map_err(SourceProblem::io("read a git repository"))?;
        let (shown, subject) = (path.display().to_string(), request.subject());
        let request = StateRequest {
            objects: &objects,
            commit: &commit,
            shown: &shown,
            subject: &subject,
            options,
            observer,
        };
        let comparison = WorkTreeComparison { repository: &repository, work_tree: &work_tree };
        let changes = comparison.changes(GitState::create(request)?)?;
        if !changes.files.is_empty() {
            return Err(SourceProblem::Uncommitted { path, files: changes.files });
        }
        if !changes.unverified.is_empty() {
            let files = super::error::listed(&changes.unverified);
            let message = format!(
                "files of {shown} pass filters that its own configuration defines, and those are not run: {files} may have changes; the build gets what is committed"
            );
            observer.event(Event::Warning { subject, message });
        }
    }
    Ok(commit)
}

/// Returns the repository for [`super::check_out()`].
pub(super) fn fetched(
    request: &SourceRequest,
    rel_path: &str,
    commit: &CommitId,
    options: &FetchOptions,
) -> Result<FetchedSource, SourceProblem> {
    let (path, repository) = open(request, rel_path, options)?;
    let objects = git_layout::object_folders(&repository.common_dir)
        .map_err(SourceProblem::io("read a git repository"))?;
    let found = open_objects(&objects).and_then(|objects| {
        commit.as_str().parse().and_then(|id| objects.find_commit(id).map(drop))
    });
    found.map_err(|error| unusable(&path, &error))?;
    let path = repository.common_dir;
    Ok(FetchedSource::GitLocal { path, commit: commit.clone(), converted: None })
}

fn open(
    request: &SourceRequest,
    rel_path: &str,
    options: &FetchOptions,
) -> Result<(PathBuf, LocalRepository), SourceProblem> {
    let path = request.package_dir.join(rel_path);
    if !path.exists() {
        return Err(SourceProblem::NoSuchRelPath { rel_path: rel_path.to_owned(), path });
    }
    let path = real_path(&path).map_err(SourceProblem::io("find a repository"))?;
    let out = |out: OutOfScope| SourceProblem::OutOfScope { rel_path: rel_path.to_owned(), out };
    request.local.check_path(&path).map_err(out)?;
    let repository = LocalRepository::open(&path, &options.git)?;
    request.local.check_repository(&repository).map_err(out)?;
    Ok((path, repository))
}

/// The commit at HEAD.
fn head_commit(path: &Path, repository: &LocalRepository) -> Result<CommitId, SourceProblem> {
    let commit = if let Ok(opened) = Repository::open(path) {
        match opened.head().and_then(|head| head.peel_to_commit()) {
            Ok(commit) => commit.id().to_string(),
            Err(error) if matches!(error.code(), ErrorCode::UnbornBranch | ErrorCode::NotFound) => {
                return Err(SourceProblem::NoCommits(path.to_owned()));
            }
            Err(error) => return Err(unusable(path, &error)),
        }
    } else {
        // The repository is another user's, and allowed.
        let found = followed(repository);
        let found = found.map_err(SourceProblem::io("read a git repository"))?;
        found.ok_or_else(|| SourceProblem::NoCommits(path.to_owned()))?
    };
    commit.parse().map_err(|error| SourceProblem::NoRepository {
        path: path.to_owned(),
        reason: format!("{error}"),
        foreign: false,
    })
}

/// Id at the end of HEAD's chain.
fn followed(repository: &LocalRepository) -> std::io::Result<Option<String>> {
    let refs = git_refs::read_refs(&repository.common_dir)?;
    let mut target = git_refs::read_ref(&repository.git_dir, "HEAD")?;
    for _ in 0..LONGEST_CHAIN {
        let name = match target {
            Some(RefTarget::Ref(name)) => name,
            Some(RefTarget::Object(id)) => return Ok(Some(id)),
            None => return Ok(None),
        };
        if let Some(id) = refs.get(&name) {
            return Ok(Some(id.clone()));
        }
        // A name could lead out of the repository.
        let name = std::str::from_utf8(&name).ok();
        let is_ref = |name: &&str| name.starts_with("refs/") && Reference::is_valid_name(name);
        let Some(name) = name.filter(is_ref) else { return Ok(None) };
        target = git_refs::read_ref(&repository.common_dir, name)?;
    }
    Ok(None)
}

/// Differences of a work tree from HEAD.
#[derive(Debug, Default, PartialEq, Eq)]
struct WorkTreeChanges {
    /// Tracked files that differ, in the index or on disk.
    files: Vec<String>,
    /// Files that need a filter for comparison, which is not run.
    unverified: Vec<String>,
}

/// A work tree to be compared with HEAD.
struct WorkTreeComparison<'a> {
    repository: &'a LocalRepository,
    work_tree: &'a Path,
}

impl WorkTreeComparison<'_> {
    fn changes(&self, mut state: GitState<'_>) -> Result<WorkTreeChanges, SourceProblem> {
        self.prepare(&mut state)?;
        self.check_work_tree(&state)?;
        let known = state.filters()?;
        let status = [
            "status",
            "--porcelain=v2",
            "-z",
            "--untracked-files=no",
            // A rename has two paths, and a line of another form.
            "--no-renames",
            // Files in a submodule are not part of the source; the submodule's commit is.
            "--ignore-submodules=dirty",
        ];
        let (output, _) = state.git(&status.map(OsStr::new))?;
        let (mut changed, may_be_clean) = read_status(&output);
        let own = self.own_filters();
        let mut unverified = BTreeSet::new();
        if !may_be_clean.is_empty() {
            let attributes = state.attributes(&[], &["filter"], &may_be_clean)?;
            let is_own = |name: &String| own.contains(name) && !known.contains(name);
            let filtered = attributes.into_iter().filter(|attribute| is_own(&attribute.value));
            unverified.extend(filtered.map(|attribute| attribute.path));
        }
        changed.retain(|path| !unverified.contains(path));
        let shown = |path: Vec<u8>| String::from_utf8_lossy(&path).into_owned();
        Ok(WorkTreeChanges {
            files: changed.into_iter().map(shown).collect(),
            unverified: unverified.into_iter().map(shown).collect(),
        })
    }

    /// Gives the state the repository's index and its settings for comparing files.
    fn prepare(&self, state: &mut GitState<'_>) -> Result<(), SourceProblem> {
        let io = SourceProblem::io("prepare a git repository");
        let Self { repository, work_tree } = self;
        state.set("GIT_WORK_TREE", work_tree);
        let own = state.git_dir();
        let copy = |from: PathBuf, name: &OsStr, longest: u64| {
            git_layout::copy_plain(&from, &own.join(name), longest).map_err(io)
        };
        copy(repository.git_dir.join("index"), OsStr::new("index"), LONGEST_INDEX)?;
        // Of a split index, the other part.
        for entry in fs_err::read_dir(&repository.git_dir).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            if name.as_bytes().starts_with(b"sharedindex.") {
                copy(repository.git_dir.join(&name), &name, LONGEST_INDEX)?;
            }
        }
        let attributes = OsStr::new("info/attributes");
        copy(repository.common_dir.join(attributes), attributes, LONGEST_ATTRIBUTES)?;
        for config in self.configurations() {
            for (name, values) in COMPARISON {
                let Ok(value) = config.get_string(name) else { continue };
                let value = value.to_ascii_lowercase();
                if let Some(known) = values.iter().find(|known| **known == value) {
                    state.configure(format!("{name}={known}"));
                }
            }
        }
        Ok(())
    }

    /// Refuses what git would read of a work tree without an end: attributes and submodules.
    fn check_work_tree(&self, state: &GitState<'_>) -> Result<(), SourceProblem> {
        let refused = |path: &Path, reason| SourceProblem::NoRepository {
            path: path.to_owned(),
            reason,
            foreign: false,
        };
        let check = |path: PathBuf| match fs_err::metadata(&path) {
            Ok(data) if is_odd(data.file_type()) => {
                Err(refused(&path, "this is a FIFO or a device".to_owned()))
            }
            _ => Ok(()),
        };
        let (output, _) = state.git(&["ls-files", "-s", "-z"].map(OsStr::new))?;
        let mut folders = BTreeSet::from([Path::new("")]);
        for line in output.split(|byte| *byte == 0) {
            let Some(tab) = line.iter().position(|byte| *byte == b'\t') else { continue };
            let path = Path::new(OsStr::from_bytes(&line[tab + 1..]));
            if line.starts_with(b"160000 ") {
                let place = self.work_tree.join(path);
                find(&place).map_err(|reason| refused(&place, reason))?;
            }
            folders.extend(path.ancestors().skip(1));
        }
        check(self.work_tree.join(".gitmodules"))?;
        folders.iter().try_for_each(|it| check(self.work_tree.join(it).join(".gitattributes")))
    }

    /// The repository's own files of configuration.
    fn configurations(&self) -> Vec<Config> {
        let files = [
            self.repository.common_dir.join("config"),
            self.repository.git_dir.join("config.worktree"),
        ];
        let files = files.iter().filter(|file| file.is_file());
        files.filter_map(|file| Config::open(file).ok()).collect()
    }

    /// Names of the filters that the repository's own configuration defines.
    fn own_filters(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for config in self.configurations() {
            let Ok(mut entries) = config.entries(Some("filter\\..*")) else { continue };
            while let Some(Ok(entry)) = entries.next() {
                let name = entry.name().ok().and_then(filter_of_key);
                found.extend(name.map(str::to_owned));
            }
        }
        found
    }
}

/// Parses `git status --porcelain=v2 -z`: the differing paths, and those whose content on disk is
/// the only difference.
fn read_status(output: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut changed, mut may_be_clean) = (Vec::new(), Vec::new());
    for line in output.split(|byte| *byte == 0) {
        let fields = match line.first() {
            Some(b'1') => 8,
            Some(b'u') => 10,
            _ => continue,
        };
        let mut parts = line.splitn(fields + 1, |byte| *byte == b' ');
        let parts: Vec<&[u8]> = parts.by_ref().collect();
        let Some(path) = parts.get(fields) else { continue };
        changed.push(path.to_vec());
        let is_file = parts[3] == parts[5] && parts[3] != b"120000";
        // Unstaged, and of the same mode: the only change that a filter may have made.
        if fields == 8 && parts[1] == b".M" && is_file {
            may_be_clean.push(path.to_vec());
        }
    }
    (changed, may_be_clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_git_is_read() {
        let (id, other) = ("1".repeat(40), "2".repeat(40));
        let output = format!(
            "1 .M N... 100644 100644 100644 {id} {id} a b\0\
             1 M. N... 100644 100644 100644 {id} {other} staged\0\
             1 .M N... 100644 100644 100755 {id} {id} mode\0\
             1 .D N... 100644 100644 000000 {id} {id} gone\0\
             1 .M SC.. 160000 160000 160000 {id} {id} sub\0\
             u UU N... 100644 100644 100644 100644 {id} {id} {id} both\0? untracked\0"
        );
        let (changed, may_be_clean) = read_status(output.as_bytes());
        let text = |paths: Vec<Vec<u8>>| {
            paths.into_iter().map(|path| String::from_utf8(path).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(text(changed), ["a b", "staged", "mode", "gone", "sub", "both"]);
        assert_eq!(text(may_be_clean), ["a b", "sub"]);
    }
}
