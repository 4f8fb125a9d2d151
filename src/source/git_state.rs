//! A repository of our own in which the host's git works with the objects of another one.
//!
//! Git is asked about all that its rules decide: attributes, filters, cleanliness, every form of the index. The
//! configuration of the repository in question is not read for that. Its `config` and hooks could name
//! commands. The state has a configuration that is written here, borrows the objects, has copies of the index
//! and of `info/attributes` where a work tree is compared, and lies in the folder of our mirrors:
//!
//! ```text
//! $MKPANDA_HOME/git/<sum of the objects' folder>/
//!   files-<sum>/            files of a commit as git converts them: git_convert
//!   .tmp-…/git/             GIT_DIR: config, HEAD, index, sharedindex.*, info/attributes, objects/info/alternates
//!   .tmp-…/tree/            an empty work tree
//! ```
//!
//! The user's and the system's configuration count for filters and for nothing else.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::git_login::GitLogin;
use super::git_mirror::make_closed;
use super::git_program::{GitRun, GitSurroundings};
use super::{FetchOptions, SourceProblem, git_layout, git_refs};
use crate::base::atomic::{self, TemporaryFolder};
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::package::CommitId;

/// Upper limit of the bytes of paths in one call of git; the kernel's is 2 MiB with the environment.
const BYTES_OF_PATHS: usize = 128 << 10;

/// Settings under which a check-out depends only on the commit and its attributes.
const SETTINGS: [&str; 8] = [
    "core.attributesFile=/dev/null",
    "core.autocrlf=false",
    "core.eol=lf",
    "core.safecrlf=false",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.splitIndex=false",
    "core.bare=false",
];

/// Settings of Git LFS for users who have installed it without setting it up.
const LFS_SETTINGS: [&str; 3] = [
    "filter.lfs.smudge=git-lfs smudge -- %f",
    "filter.lfs.clean=git-lfs clean -- %f",
    "filter.lfs.required=true",
];

/// Name of Git LFS's filter.
pub(super) const LFS: &str = "lfs";

/// Value of an attribute of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct GitAttribute {
    pub(super) path: Vec<u8>,
    pub(super) name: String,
    pub(super) value: String,
}

/// Place of a state, and parameters for running git.
pub(super) struct StateRequest<'a> {
    /// Folders with the objects, the repository's own first.
    pub(super) objects: &'a [PathBuf],
    pub(super) commit: &'a CommitId,
    /// The repository for people.
    pub(super) shown: &'a str,
    pub(super) subject: &'a str,
    pub(super) options: &'a FetchOptions,
    pub(super) observer: &'a dyn Observer,
}

/// Folder that is removed with the state, unless non-empty.
struct RemovedIfEmpty(PathBuf);

impl Drop for RemovedIfEmpty {
    fn drop(&mut self) {
        drop(fs_err::remove_dir(&self.0));
    }
}

/// A state, locked.
pub(super) struct GitState<'a> {
    request: StateRequest<'a>,
    /// Folder of everything kept for these objects.
    folder: PathBuf,
    temporary: TemporaryFolder,
    _unless_filled: RemovedIfEmpty,
    login: GitLogin,
    settings: Vec<String>,
    environment: Vec<(&'static str, OsString)>,
    _lock: FileLock,
}

impl<'a> GitState<'a> {
    /// Makes a state whose HEAD is the commit.
    pub(super) fn create(request: StateRequest<'a>) -> Result<Self, SourceProblem> {
        let made = SourceProblem::io("prepare a git repository");
        let StateRequest { objects, options, observer, subject, .. } = &request;
        let first = objects.first().map_or(Path::new(""), PathBuf::as_path);
        let name = Sha256Sum::of(&[b"state ", first.as_os_str().as_bytes()].concat()).to_string();
        let folder = options.git_mirrors.join(&name);
        let lock = options.locks.join(format!("git-{name}.lock"));
        let waiting = || {
            let message = format!("waiting for another process with the repository of {subject}");
            observer.event(Event::Note { message });
        };
        let lock = FileLock::acquire_unless(&lock, waiting, || observer.is_interrupted())
            .map_err(made)?
            .ok_or(SourceProblem::Interrupted)?;
        make_closed(&options.git_mirrors).map_err(made)?;
        fs_err::create_dir_all(&folder).map_err(made)?;
        atomic::sweep_under_lock(&folder).report(*observer);
        // A collection uses this time. A failed write is harmless.
        drop(fs_err::File::open(&folder).map(|it| it.file().set_modified(SystemTime::now())));
        let temporary = TemporaryFolder::create(&folder).map_err(made)?;
        let git_dir = temporary.path().join("git");
        write_state(&git_dir, objects, request.commit).map_err(made)?;
        fs_err::create_dir(temporary.path().join("tree")).map_err(made)?;
        let tree = temporary.path().join("tree").into_os_string();
        let environment = vec![
            ("GIT_DIR", git_dir.into_os_string()),
            ("GIT_WORK_TREE", tree),
            // The system's attributes, and those of the user in `SETTINGS`, would make builds
            // differ.
            ("GIT_ATTR_NOSYSTEM", "1".into()),
            // `git status` would write the index anew.
            ("GIT_OPTIONAL_LOCKS", "0".into()),
            // An object that a partial clone lacks is an error: the network belongs to other steps.
            ("GIT_NO_LAZY_FETCH", "1".into()),
        ];
        let settings = SETTINGS.map(str::to_owned).into();
        let login = GitLogin::of(OsString::new());
        Ok(Self {
            request,
            _unless_filled: RemovedIfEmpty(folder.clone()),
            folder,
            temporary,
            login,
            settings,
            environment,
            _lock: lock,
        })
    }

    /// Folder of everything kept for these objects.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Folder that is removed with the state.
    pub(super) fn temporary(&self) -> &Path {
        self.temporary.path()
    }

    /// The state's own repository.
    pub(super) fn git_dir(&self) -> PathBuf {
        self.temporary.path().join("git")
    }

    /// Sets a variable for all calls.
    pub(super) fn set(&mut self, name: &'static str, value: &Path) {
        self.environment.retain(|(known, _)| *known != name);
        self.environment.push((name, value.as_os_str().to_owned()));
    }

    /// Adds a setting, `section.name=value`, for all calls.
    pub(super) fn configure(&mut self, setting: String) {
        self.settings.push(setting);
    }

    /// Runs git; returns its output, and its messages on stderr.
    pub(super) fn git(&self, arguments: &[&OsStr]) -> Result<(Vec<u8>, String), SourceProblem> {
        let io = SourceProblem::io("run git");
        let path = self.temporary.path().join("output");
        let output = File::from(fs_err::File::create(&path).map_err(io)?);
        let StateRequest { options, observer, subject, shown, .. } = &self.request;
        let run = GitRun {
            options: &options.git,
            subject,
            url: shown,
            login: &self.login,
            observer: *observer,
        };
        let surroundings =
            GitSurroundings { settings: &self.settings, environment: &self.environment, output };
        let tree = self.environment.iter().find(|(name, _)| *name == "GIT_WORK_TREE");
        let tree = tree.map_or(self.temporary.path(), |(_, tree)| Path::new(tree));
        let said = run.run_in(tree, arguments, surroundings).map_err(|problem| match problem {
            SourceProblem::Git { url, output } => SourceProblem::GitState { url, output },
            problem => problem,
        })?;
        Ok((fs_err::read(&path).map_err(io)?, said))
    }

    /// Runs git once for each batch of paths; `take` receives the output and the messages.
    pub(super) fn git_for_paths(
        &self,
        arguments: &[&OsStr],
        paths: &[Vec<u8>],
        mut take: impl FnMut(Vec<u8>, String),
    ) -> Result<(), SourceProblem> {
        let mut rest = paths;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take_while(|path| {
                bytes += path.len() + 1;
                bytes <= BYTES_OF_PATHS
            });
            let count = fitting.count().max(1);
            let part = rest[..count].iter().map(|path| OsStr::from_bytes(path));
            let all: Vec<&OsStr> =
                arguments.iter().copied().chain([OsStr::new("--")]).chain(part).collect();
            let (output, said) = self.git(&all)?;
            take(output, said);
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Returns attribute values of files, without unspecified ones; `options` are those of `git
    /// check-attr`.
    pub(super) fn attributes(
        &self,
        options: &[&str],
        names: &[&str],
        paths: &[Vec<u8>],
    ) -> Result<Vec<GitAttribute>, SourceProblem> {
        let arguments = ["check-attr", "-z"].iter().chain(options).chain(names);
        let arguments: Vec<&OsStr> = arguments.map(OsStr::new).collect();
        let mut found = Vec::new();
        self.git_for_paths(&arguments, paths, |output, _| {
            let fields: Vec<&[u8]> = output.split(|byte| *byte == 0).collect();
            let (triples, _) = fields.as_chunks::<3>();
            found.extend(triples.iter().filter(|[_, _, value]| *value != b"unspecified").map(
                |[path, name, value]| GitAttribute {
                    path: path.to_vec(),
                    name: String::from_utf8_lossy(name).into_owned(),
                    value: String::from_utf8_lossy(value).into_owned(),
                },
            ));
        })?;
        Ok(found)
    }

    /// Names of the filters in the user's or the system's configuration. Git LFS is among them if
    /// installed; then git uses it.
    pub(super) fn filters(&mut self) -> Result<BTreeSet<String>, SourceProblem> {
        let list = ["config", "--null", "--list", "--name-only"].map(OsStr::new);
        let (output, _) = self.git(&list)?;
        let names = output.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let mut filters: BTreeSet<String> =
            names.filter_map(|name| filter_of_key(&name).map(str::to_owned)).collect();
        if !filters.contains(LFS) && self.git(&["lfs", "version"].map(OsStr::new)).is_ok() {
            self.settings.extend(LFS_SETTINGS.map(str::to_owned));
            filters.insert(LFS.to_owned());
        }
        Ok(filters)
    }
}

/// The filter that a key of git's configuration makes runnable.
pub(super) fn filter_of_key(key: &str) -> Option<&str> {
    let (section, name) = key.rsplit_once('.')?;
    let is_command = ["clean", "smudge", "process"].iter().any(|it| name.eq_ignore_ascii_case(it));
    let (kind, filter) = section.split_once('.')?;
    (is_command && kind.eq_ignore_ascii_case("filter")).then_some(filter)
}

/// Writes the state's repository.
fn write_state(git_dir: &Path, objects: &[PathBuf], commit: &CommitId) -> io::Result<()> {
    git_layout::write_borrowing(git_dir, objects, format!("{commit}\n").as_bytes())?;
    fs_err::write(git_dir.join("config"), "[core]\n\trepositoryformatversion = 0\n")?;
    if let Some(objects) = objects.first().and_then(|objects| objects.parent()) {
        git_refs::copy_shallow(objects, git_dir)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_filters_are_told_from_others() {
        for (key, filter) in [
            ("filter.lfs.smudge", Some("lfs")),
            ("filter.a.b.process", Some("a.b")),
            ("Filter.x.Clean", Some("x")),
            ("filter.x.required", None),
            ("filter.smudge", None),
            ("diff.x.clean", None),
            ("core.bare", None),
        ] {
            assert_eq!(filter_of_key(key), filter, "{key}");
        }
    }
}
