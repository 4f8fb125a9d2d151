//! Our own mirrors of git repositories, in which the host's git is run.
//!
//! Mirrors are in `$MKPANDA_HOME/git/`, one for each place, a URL or a mirror's, shared by all
//! trees: `<digest of the place>/mirror.git`, bare, with all refs. No data of a tree gets into a
//! mirror. An existing mirror is updated in place, and objects are never removed, since a check-out
//! may be reading them; a damaged mirror is replaced.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use backon::{BackoffBuilder, ExponentialBuilder};
use git2::{ErrorCode, Repository};
use walkdir::WalkDir;

use super::clone::write_mirror_config;
use super::git_commit::{CommitRequest, ResolvedCommit};
use super::git_login::GitLogin;
use super::git_program::{GitRun, is_refused, may_pass};
use super::{FetchOptions, SourceProblem, SourceRequest, git_foreign, git_format};
use crate::base::atomic::{self, TemporaryFolder};
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::full_disk::says_no_room;
use crate::base::http::answer::wait_unless_interrupted;
use crate::base::lock::FileLock;
use crate::store::FailureKind;

/// Name of the repository in its folder.
const NAME: &str = "mirror.git";

/// A mirror, locked.
pub(super) struct GitMirror<'a> {
    path: PathBuf,
    login: GitLogin,
    subject: String,
    wanted: &'a CommitRequest<'a>,
    options: &'a FetchOptions,
    observer: &'a dyn Observer,
    _lock: FileLock,
}

impl<'a> GitMirror<'a> {
    /// Path of the mirror of a place, which may contain credentials.
    pub(super) fn path(mirrors: &Path, place: &OsStr) -> PathBuf {
        mirrors.join(Sha256Sum::of(place.as_bytes()).to_string()).join(NAME)
    }

    /// Waits for other processes that use the mirror, and removes leftovers of killed ones.
    pub(super) fn open(
        request: &SourceRequest,
        wanted: &'a CommitRequest<'a>,
        place: OsString,
        options: &'a FetchOptions,
        observer: &'a dyn Observer,
    ) -> Result<Self, SourceProblem> {
        let path = Self::path(&options.git_mirrors, &place);
        let subject = request.subject();
        let folder = path.parent().unwrap_or(&path);
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let waiting = || {
            let message = format!("waiting for another fetch of the repository of {subject}");
            observer.event(Event::Note { message });
        };
        let lock = options.locks.join(format!("git-{name}.lock"));
        let lock = FileLock::acquire_unless(&lock, waiting, || observer.is_interrupted())
            .map_err(SourceProblem::io("lock a git mirror"))?
            .ok_or(SourceProblem::Interrupted)?;
        if folder.is_dir() {
            atomic::sweep_under_lock(folder).report(observer);
            sweep(&path).map_err(SourceProblem::io("tidy up a git mirror"))?;
            // A collection uses this time. A failed write is harmless.
            drop(fs_err::File::open(folder).map(|it| it.file().set_modified(SystemTime::now())));
        }
        let login = GitLogin::of(place);
        Ok(Self { path, login, subject, wanted, options, observer, _lock: lock })
    }

    /// The repository.
    pub(super) fn folder(&self) -> &Path {
        &self.path
    }

    /// Searches the mirror for the wanted refs and commits.
    pub(super) fn look(&self) -> Result<ResolvedCommit, SourceProblem> {
        self.look_if_whole().map(Option::unwrap_or_default)
    }

    /// The same; `None` if it is not there, or has lost something and is to be made anew.
    fn look_if_whole(&self) -> Result<Option<ResolvedCommit>, SourceProblem> {
        match Repository::open_bare(&self.path) {
            Ok(_) => {}
            Err(error) if error.code() == ErrorCode::Owner => {
                return Err(SourceProblem::NoRepository {
                    path: self.path.clone(),
                    reason: error.message().to_owned(),
                    foreign: true,
                });
            }
            Err(_) => return Ok(None),
        }
        Ok(git_foreign::look(&self.path, self.wanted).ok())
    }

    /// Has git clone, or fetch into an existing mirror; `shown` is the place for people.
    pub(super) fn bring_up_to_date(&self, shown: &str) -> Result<ResolvedCommit, SourceProblem> {
        if self.look_if_whole()?.is_some() {
            configure(&self.path, shown)?;
            // `--force`: a branch that was pushed over is another one in the mirror, too.
            let fetch = ["fetch", "--progress", "--prune", "--no-tags", "--force", "--"];
            let mut arguments: Vec<&OsStr> = fetch.iter().map(OsStr::new).collect();
            arguments.extend([self.login.url.as_os_str(), OsStr::new("+refs/*:refs/*")]);
            self.git(&self.path, &arguments, shown)?;
            return self.look_for_commit(shown);
        }
        let folder = self.path.parent().unwrap_or(&self.path);
        let cloned = self.clone_into(folder, shown);
        if cloned.is_err() {
            // It stays if there is an older mirror in it.
            drop(fs_err::remove_dir(folder));
        }
        cloned?;
        self.look_for_commit(shown)
    }

    /// Searches the mirror after a fetch of all refs. A commit without a ref, after a forced push
    /// to its branch, is available by its id on many servers. The mirror never loses the commit.
    fn look_for_commit(&self, shown: &str) -> Result<ResolvedCommit, SourceProblem> {
        let found = self.look()?;
        if found.commit.is_some() {
            return Ok(found);
        }
        let fetch = ["fetch", "--progress", "--no-tags", "--"].map(OsStr::new);
        let mut arguments = fetch.to_vec();
        let commit = self.wanted.commit.to_string();
        arguments.extend([self.login.url.as_os_str(), OsStr::new(&commit)]);
        match self.git(&self.path, &arguments, shown) {
            // The server does not have the commit, or does not give it.
            Ok(()) | Err(SourceProblem::Git { .. }) => self.look(),
            Err(problem) => Err(problem),
        }
    }

    fn clone_into(&self, folder: &Path, shown: &str) -> Result<(), SourceProblem> {
        let made = SourceProblem::io("make a git mirror");
        make_closed(&self.options.git_mirrors).map_err(made)?;
        fs_err::create_dir_all(folder).map_err(made)?;
        let temporary = TemporaryFolder::create(folder).map_err(made)?;
        let new = temporary.path().join("new");
        fs_err::create_dir(&new).map_err(made)?;
        // Without --no-local, git would make hard links into a repository on this machine.
        let clone = ["clone", "--mirror", "--progress", "--template=", "--no-local", "--"];
        let mut arguments: Vec<&OsStr> = clone.iter().map(OsStr::new).collect();
        arguments.extend([self.login.url.as_os_str(), OsStr::new(".")]);
        self.git(&new, &arguments, shown)?;
        if let Some(reason) = git_format::unsupported(&new) {
            return Err(SourceProblem::Format { url: shown.to_owned(), reason });
        }
        configure(&new, shown)?;
        // An old one loses its name as a whole: half removed, it could be taken for a mirror.
        match fs_err::rename(&self.path, temporary.path().join("old")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(made(error)),
            _ => {}
        }
        fs_err::rename(&new, &self.path).map_err(made)
    }

    fn git(&self, folder: &Path, arguments: &[&OsStr], url: &str) -> Result<(), SourceProblem> {
        let http = self.options.http.options();
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(http.first_wait)
            .with_max_delay(http.longest_wait)
            .with_max_times(http.attempts.saturating_sub(1) as usize)
            .with_jitter()
            .build();
        let Self { subject, observer, login, .. } = self;
        let run = GitRun { options: &self.options.git, subject, url, login, observer: *observer };
        loop {
            let result = run.run(folder, arguments);
            let Err(SourceProblem::Git { output, .. }) = &result else { return result };
            // Before another attempt, which would fail in the same way after the same time.
            if says_no_room(output) {
                let (url, folder) = (url.to_owned(), self.options.git_mirrors.clone());
                return Err(SourceProblem::GitNoRoom { url, folder, output: output.clone() });
            }
            let may_pass = may_pass(output) && !is_refused(output);
            let Some(wait) = waits.next().filter(|_| may_pass) else { return result };
            let reason = output.lines().last().unwrap_or_default().to_owned();
            observer.event(Event::Retry { subject: subject.clone(), reason, wait });
            if !wait_unless_interrupted(wait, *observer) {
                return Err(SourceProblem::Interrupted);
            }
        }
    }
}

fn configure(mirror: &Path, shown: &str) -> Result<(), SourceProblem> {
    write_mirror_config(mirror, shown).map_err(|error| error.into_problem(mirror))
}

/// Classifies a failure to fetch from a mirror; any other is not the place's.
pub(super) fn failure_of_mirror(problem: &SourceProblem) -> Option<FailureKind> {
    match problem {
        SourceProblem::Git { output, .. } if output.contains("not found") => {
            Some(FailureKind::NotFound)
        }
        SourceProblem::Git { output, .. } if is_refused(output) => Some(FailureKind::Refused),
        SourceProblem::Git { .. } | SourceProblem::GitStalled { .. } => {
            Some(FailureKind::Unreachable)
        }
        _ => None,
    }
}

/// Makes the folder of all mirrors, which may be private, without access for other users.
pub(super) fn make_closed(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::create_dir_all(folder)?;
    fs_err::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

/// Removes leftovers of a killed git. Our lock ensures that no git is running.
fn sweep(mirror: &Path) -> io::Result<()> {
    // A ref may have any other name, but none that ends so.
    let is_left = |below: &Path, name: &[u8]| {
        let is_object = below.starts_with("objects");
        name.ends_with(b".lock")
            || is_object && (name.starts_with(b"tmp_") || name.starts_with(b".tmp-"))
            || below == Path::new("config.new")
    };
    for entry in WalkDir::new(mirror).follow_links(false).into_iter().flatten() {
        let below = entry.path().strip_prefix(mirror).unwrap_or(entry.path());
        if entry.file_type().is_file() && is_left(below, entry.file_name().as_encoded_bytes()) {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}
