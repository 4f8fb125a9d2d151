//! `git`: a mirror of the repository in the cache, which has the commit and its branch.
//!
//! A mirror that has both is not asked for news. Else the mirrors of the options are looked at, then
//! the URL. A new mirror is made under a temporary name and renamed when it has what is wanted; an
//! old one is brought up to date in place, and nothing is ever removed from it, since a check-out
//! may be reading it. One that is damaged or borrows objects is replaced.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use backon::{BackoffBuilder, ExponentialBuilder};
use git2::{ErrorCode, Oid, Repository};
use tempfile::TempDir;
use walkdir::WalkDir;

use super::clone::{CloneError, bare_copy, write_mirror_config};
use super::git_program::{GitRun, is_refused, may_pass};
use super::git_url::{GitLocation, git_mirror_path};
use super::{FetchOptions, Fetched, SourceProblem, SourceRequest, git_layout};
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer, Origin};
use crate::base::http::answer::wait_unless_interrupted;
use crate::base::http::redact;
use crate::base::removal::remove_all;
use crate::package::CommitId;
use crate::store::{FailureKind, Store, Transfer};

/// What a git source declares.
pub(super) struct Wanted<'a> {
    pub(super) url: &'a str,
    pub(super) commit: &'a CommitId,
    pub(super) ref_origin: &'a str,
}

/// What a repository has of it.
#[derive(Default)]
struct Found {
    usable: bool,
    commit: bool,
    origin: Option<String>,
}

impl Found {
    fn all(&self) -> bool {
        self.commit && self.origin.is_some()
    }
}

/// Where the mirror lies in the cache.
pub(super) fn mirror_path(request: &SourceRequest) -> PathBuf {
    request.cache_dir.join("cache.git")
}

/// True if a bare repository, of whomever, has the commit and borrows nothing.
pub(super) fn has_commit(path: &Path, commit: &CommitId) -> Result<bool, SourceProblem> {
    let objects = path.join("objects");
    let borrows =
        git_layout::alternates(&objects).map_err(SourceProblem::io("read a git repository"))?;
    if !objects.is_dir() || !borrows.is_empty() {
        return Err(SourceProblem::NoRepository {
            path: path.to_owned(),
            reason: "it is no bare git repository with all its objects".to_owned(),
            foreign: false,
        });
    }
    git_layout::has_object(&objects, commit)
        .map_err(|error| SourceProblem::Repository { path: path.to_owned(), error })
}

/// Where a mirror's folder has the repository.
pub(super) fn in_folder(folder: &Path, url: &str) -> PathBuf {
    folder.join("git").join(git_mirror_path(url))
}

/// Brings the mirror to a state in which it has the commit and its branch.
pub(super) fn fetch(
    request: &SourceRequest,
    wanted: &Wanted<'_>,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<Fetched, SourceProblem> {
    let location = GitLocation::parse(wanted.url, &request.package_dir)?;
    let mut work = Work::start(request, wanted, options, observer)?;
    let mut origin = if work.found.all() { Origin::Cache } else { Origin::Mirror };
    for mirror in &options.mirrors {
        if work.found.all() {
            break;
        }
        if let Err(problem) = work.ask_mirror(mirror) {
            if matches!(problem, SourceProblem::Interrupted) {
                return Err(problem);
            }
            let message = format!("a mirror failed: {}", with_causes(&problem));
            observer.event(Event::Warning { subject: request.subject(), message });
        }
    }
    if !work.found.all() {
        if options.offline && matches!(location, GitLocation::Network(_)) {
            let what = if work.found.commit { wanted.ref_origin } else { wanted.commit.as_str() };
            return Err(SourceProblem::Offline(format!("{what} of {}", redact(wanted.url))));
        }
        work.ask_git(&location.argument(), &redact(wanted.url))?;
        let on_network = matches!(location, GitLocation::Network(_));
        origin = if on_network { Origin::Network } else { Origin::Local };
    }
    let path = work.finish()?;
    observer.event(Event::Source { subject: request.subject(), origin });
    Ok(Fetched::GitMirror { path, commit: wanted.commit.clone(), remote: location.remote() })
}

fn look(path: &Path, wanted: &Wanted<'_>) -> Result<Found, SourceProblem> {
    if fs_err::symlink_metadata(path).is_err() {
        return Ok(Found::default());
    }
    let repository = match Repository::open_bare(path) {
        Ok(repository) => repository,
        Err(error) if error.code() == ErrorCode::Owner => {
            return Err(SourceProblem::NoRepository {
                path: path.to_owned(),
                reason: error.message().to_owned(),
                foreign: true,
            });
        }
        // Damaged: to be replaced.
        Err(_) => return Ok(Found::default()),
    };
    let borrows = git_layout::alternates(&path.join("objects"))
        .map_err(SourceProblem::io("read a git repository"))?;
    if !borrows.is_empty() {
        return Ok(Found::default());
    }
    let commit = Oid::from_str(wanted.commit.as_str())
        .and_then(|id| repository.find_commit(id).map(drop))
        .is_ok();
    let origin = repository
        .revparse_single(wanted.ref_origin)
        .and_then(|object| object.peel_to_commit())
        .map(|commit| commit.id().to_string())
        .ok();
    Ok(Found { usable: true, commit, origin })
}

/// A mirror at work: the one in the cache, or a new one under a temporary name.
struct Work<'a> {
    request: &'a SourceRequest,
    wanted: &'a Wanted<'a>,
    options: &'a FetchOptions,
    observer: &'a dyn Observer,
    mirror: PathBuf,
    new: Option<TempDir>,
    found: Found,
}

impl<'a> Work<'a> {
    fn start(
        request: &'a SourceRequest,
        wanted: &'a Wanted<'a>,
        options: &'a FetchOptions,
        observer: &'a dyn Observer,
    ) -> Result<Self, SourceProblem> {
        let mirror = mirror_path(request);
        if fs_err::symlink_metadata(&mirror).is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(SourceProblem::InTheWay(mirror));
        }
        sweep(&mirror).map_err(SourceProblem::io("tidy up a git mirror"))?;
        let found = look(&mirror, wanted)?;
        Ok(Self { request, wanted, options, observer, mirror, new: None, found })
    }

    fn current(&self) -> Option<&Path> {
        match &self.new {
            Some(new) => Some(new.path()),
            None => self.found.usable.then_some(self.mirror.as_path()),
        }
    }

    fn ask_mirror(&mut self, mirror: &Store) -> Result<(), SourceProblem> {
        if let Some(folder) = mirror.local_folder() {
            let path = in_folder(folder, self.wanted.url);
            return if path.is_dir() { self.copy_folder(&path) } else { Ok(()) };
        }
        // Of a store of another kind, git could not clone.
        let Some(base) = mirror.base_url().filter(|_| !self.options.offline) else {
            return Ok(());
        };
        let url = format!("{base}/git/{}", git_mirror_path(self.wanted.url));
        let subject = self.request.subject();
        let transfer = Transfer { subject: &subject, observer: self.observer };
        let asked = mirror.item("a mirror", &transfer, failure_of_mirror, |_| {
            self.ask_git(url.as_ref(), &redact(&url))
        });
        asked.map(|_| ())
    }

    /// Copies a mirror's bare repository, with the objects that are here already.
    fn copy_folder(&mut self, path: &Path) -> Result<(), SourceProblem> {
        let has_commit = has_commit(path, self.wanted.commit)?;
        // Without the commit it is still a start, where there is none.
        if !has_commit && self.current().is_some() {
            return Ok(());
        }
        let new = self.temporary()?;
        let folders = std::iter::once(path).chain(self.current());
        let objects: Vec<PathBuf> = folders.map(|folder| folder.join("objects")).collect();
        bare_copy(path, &objects, &redact(self.wanted.url), new.path())
            .map_err(|error| problem(path, error))?;
        self.take(new)
    }

    /// Has git clone, or fetch into what is there.
    fn ask_git(&mut self, argument: &OsStr, shown: &str) -> Result<(), SourceProblem> {
        if let Some(current) = self.current().map(Path::to_owned) {
            self.configure(&current)?;
            let fetch = ["fetch", "--progress", "--prune", "--no-tags", "--force", "--"];
            let mut arguments: Vec<&OsStr> = fetch.iter().map(OsStr::new).collect();
            arguments.extend([argument, OsStr::new("+refs/*:refs/*")]);
            self.git(&current, &arguments, shown)?;
            self.found = look(&current, self.wanted)?;
            return Ok(());
        }
        let new = self.temporary()?;
        // Without --no-local, git would make hard links into a repository on this machine.
        let clone = ["clone", "--mirror", "--progress", "--template=", "--no-local", "--"];
        let mut arguments: Vec<&OsStr> = clone.iter().map(OsStr::new).collect();
        arguments.extend([argument, OsStr::new(".")]);
        self.git(new.path(), &arguments, shown)?;
        self.configure(new.path())?;
        self.take(new)
    }

    fn configure(&self, mirror: &Path) -> Result<(), SourceProblem> {
        write_mirror_config(mirror, &redact(self.wanted.url))
            .map_err(|error| problem(mirror, error))
    }

    fn git(&self, folder: &Path, arguments: &[&OsStr], url: &str) -> Result<(), SourceProblem> {
        let http = self.options.http.options();
        let mut waits = ExponentialBuilder::default()
            .with_min_delay(http.first_wait)
            .with_max_delay(http.longest_wait)
            .with_max_times(http.attempts.saturating_sub(1) as usize)
            .with_jitter()
            .build();
        let subject = self.request.subject();
        let run =
            GitRun { options: &self.options.git, subject: &subject, url, observer: self.observer };
        loop {
            let result = run.run(folder, arguments);
            let Err(SourceProblem::Git { output, .. }) = &result else { return result };
            let may_pass = may_pass(output) && !is_refused(output);
            let Some(wait) = waits.next().filter(|_| may_pass) else { return result };
            let reason = output.lines().last().unwrap_or_default().to_owned();
            self.observer.event(Event::Retry { subject: subject.clone(), reason, wait });
            if !wait_unless_interrupted(wait, self.observer) {
                return Err(SourceProblem::Interrupted);
            }
        }
    }

    fn temporary(&self) -> Result<TempDir, SourceProblem> {
        use std::os::unix::fs::PermissionsExt;
        tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            // As any other folder: others may use the cache, as far as the umask lets them.
            .permissions(PermissionsExt::from_mode(0o777))
            .tempdir_in(&self.request.cache_dir)
            .map_err(SourceProblem::io("make a git mirror"))
    }

    fn take(&mut self, new: TempDir) -> Result<(), SourceProblem> {
        self.found = look(new.path(), self.wanted)?;
        self.new = Some(new);
        Ok(())
    }

    /// Judges what was found, and gives a new mirror its name.
    fn finish(self) -> Result<PathBuf, SourceProblem> {
        let url = redact(self.wanted.url);
        let (commit, ref_origin) = (self.wanted.commit, self.wanted.ref_origin.to_owned());
        let Some(origin) = &self.found.origin else {
            return Err(SourceProblem::NoSuchOrigin { ref_origin, url });
        };
        if !self.found.commit {
            return Err(SourceProblem::NoSuchCommit { commit: commit.clone(), ref_origin, url });
        }
        if origin != commit.as_str() {
            self.observer.event(Event::Warning {
                subject: self.request.subject(),
                message: format!(
                    "ref_origin {ref_origin} is now {origin}, but ref is {commit}: that is built"
                ),
            });
        }
        if let Some(new) = self.new {
            replace(&self.mirror, new).map_err(SourceProblem::io("put a git mirror into place"))?;
        }
        Ok(self.mirror)
    }
}

/// Classifies a failure to fetch from a mirror; any other is not the place's.
fn failure_of_mirror(problem: &SourceProblem) -> Option<FailureKind> {
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

/// Gives a new mirror its name. An old one loses it as a whole, and is removed under another: half
/// removed, it could be taken for a mirror.
fn replace(mirror: &Path, new: TempDir) -> std::io::Result<()> {
    let old = new.path().with_extension("old");
    match fs_err::rename(mirror, &old) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs_err::rename(new.path(), mirror)?;
    drop(new.keep());
    remove_all(&old)
}

fn problem(path: &Path, error: CloneError) -> SourceProblem {
    match error {
        CloneError::Files(error) => SourceProblem::Io { doing: "make a git mirror", error },
        CloneError::Git(error) => SourceProblem::Repository { path: path.to_owned(), error },
    }
}

/// Removes what a git that was killed has left. Our lock says that none is at work.
fn sweep(mirror: &Path) -> std::io::Result<()> {
    let is_left = |name: &[u8]| {
        name.ends_with(b".lock")
            || name.starts_with(b"tmp_")
            || name.starts_with(b".tmp-")
            || name == b"config.new"
    };
    for entry in WalkDir::new(mirror).follow_links(false).into_iter().flatten() {
        if entry.file_type().is_file() && is_left(entry.file_name().as_encoded_bytes()) {
            fs_err::remove_file(entry.path())?;
        }
    }
    Ok(())
}
