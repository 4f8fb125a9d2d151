//! `git`: a repository that contains the commit, and a name that must lead to the commit.
//!
//! A local path is read directly. Otherwise existing mirrors are searched first: one in the tree's
//! cache, then ours of the URL ([`super::git_mirror`]). Then the mirrors of the options are asked,
//! then the URL. The commit and the name may be in different ones of them. Objects from a mirror
//! are copied into the tree's cache, so that they stay within this tree: refs from a tree's own
//! mirror reach no other tree.

use std::io;
use std::path::{Path, PathBuf};

use super::clone::bare_copy;
use super::git_commit::{CommitRequest, ResolvedCommit};
use super::git_mirror::{GitMirror, failure_of_mirror};
use super::git_url::{GitLocation, git_mirror_paths};
use super::{
    FetchOptions, FetchedSource, SourceProblem, SourceRequest, bundle, cache, git_foreign,
};
use crate::base::atomic::TemporaryFolder;
use crate::base::causes::with_causes;
use crate::base::confinement::locate_below;
use crate::base::event::{Event, Observer, SourceOrigin};
use crate::base::http::redact;
use crate::package::CommitId;
use crate::store::{Backend, Store, StoreError, StoreTransfer};

/// Path of a mirror in the tree's cache.
pub(super) fn cached_path(request: &SourceRequest) -> PathBuf {
    request.cache_dir.join("cache.git")
}

/// Path of the repository in a mirror's folder; symlinks that lead out of the folder are errors.
fn in_folder(folder: &Path, url: &str) -> io::Result<PathBuf> {
    let mut found = Err(io::ErrorKind::NotFound.into());
    for path in git_mirror_paths(url) {
        // A mirror's folder may be anybody's: a link in it must not lead to a private repository.
        found = locate_below(folder, &Path::new("git").join(path));
        if !found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            break;
        }
    }
    found
}

/// True if the commit is here: in the tree's cache, in our mirror of the URL or in a mirror's folder.
pub(super) fn has_commit(
    request: &SourceRequest,
    location: &GitLocation,
    (url, commit): (&str, &CommitId),
    options: &FetchOptions,
    quiet: &dyn Observer,
) -> bool {
    let folders = options.mirrors.iter().filter_map(Store::local_folder);
    let copies = folders.filter_map(|folder| in_folder(folder, url).ok());
    let own = GitMirror::path(&options.git_mirrors, &location.argument());
    std::iter::once(cached_path(request))
        .chain(request.original_mirror.clone().filter(|path| is_folder(path)))
        .chain([own])
        .chain(copies)
        .any(|path| git_foreign::has_commit(&path, commit).unwrap_or(false))
        || has_bundle(commit, options, quiet)
}

/// True if a mirror that may be asked has a bundle of the commit.
fn has_bundle(commit: &CommitId, options: &FetchOptions, quiet: &dyn Observer) -> bool {
    let key = bundle::bundle_key(commit);
    let transfer = StoreTransfer { subject: key.as_str(), observer: quiet };
    let mut mirrors = options.mirrors.iter().filter(|mirror| options.may_ask(mirror));
    mirrors.any(|mirror| mirror.backend().head(&key, &transfer).is_ok())
}

/// Finds the commit and its name, and fetches missing ones.
pub(super) fn fetch(
    request: &SourceRequest,
    wanted: &CommitRequest<'_>,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<FetchedSource, SourceProblem> {
    let location = GitLocation::parse(wanted.url, &request.package_dir)?;
    let mut search =
        RefSearch { request, wanted, options, observer, has: None, peeled: None, origin: None };
    let mut absent = None;
    if let GitLocation::Local(path) = &location {
        if let Some(repository) = repository_at(path)? {
            search.note(&repository, SourceOrigin::Local, git_foreign::look(&repository, wanted)?);
            return search.finish(None);
        }
        // A mirror may have it.
        absent = Some(unusable(path, "it does not exist"));
    }
    let copy = cached_path(request);
    match fs_err::symlink_metadata(&copy) {
        Ok(metadata) if !metadata.is_dir() => return Err(SourceProblem::InTheWay(copy)),
        Ok(_) => match git_foreign::look(&copy, wanted) {
            Ok(found) => search.note(&copy, SourceOrigin::Cache, found),
            Err(problem) => search.warn(problem.to_string()),
        },
        Err(_) => {}
    }
    if !search.has_all()
        && let Some(original) = request.original_mirror.as_ref().filter(|path| is_folder(path))
    {
        match git_foreign::look(original, wanted) {
            Ok(found) => search.note(original, SourceOrigin::Cache, found),
            Err(problem) => search.warn(problem.to_string()),
        }
    }
    let mut own = None;
    if !search.has_all() && absent.is_none() {
        let mirror = GitMirror::open(request, wanted, location.argument(), options, observer)?;
        search.note(mirror.folder(), SourceOrigin::Cache, mirror.look()?);
        own = Some(mirror);
    }
    for mirror in &options.mirrors {
        if search.has_all() {
            break;
        }
        if let Err(problem) = search.ask_mirror(mirror) {
            if matches!(problem, SourceProblem::Interrupted) {
                return Err(problem);
            }
            search.warn(format!("a mirror failed: {}", with_causes(&problem)));
        }
    }
    // Only now: mirrors were asked for what this machine lacks.
    if let Some(absent) = absent.filter(|_absent| !search.has_all()) {
        return Err(absent);
    }
    if let Some(own) = own.filter(|_own| !search.has_all()) {
        if options.offline {
            let has_commit = search.has.is_some();
            let what = if has_commit { wanted.ref_origin } else { wanted.commit.as_str() };
            return Err(SourceProblem::Offline(format!("{what} of {}", redact(wanted.url))));
        }
        let found = own.bring_up_to_date(&redact(wanted.url))?;
        search.note(own.folder(), SourceOrigin::Network, found);
    }
    search.finish(location.remote())
}

/// Returns the repository at a local path: a bare one, or the `.git` of a worktree. The repository
/// is only read, and git is not run inside.
fn repository_at(path: &Path) -> Result<Option<PathBuf>, SourceProblem> {
    let Ok(place) = fs_err::canonicalize(path) else { return Ok(None) };
    let git = place.join(".git");
    match fs_err::symlink_metadata(&git) {
        Ok(data) if data.is_dir() => Ok(Some(git)),
        Ok(_) => {
            let reason = "its .git is a file or a link: name the repository that it leads to";
            Err(unusable(&place, reason))
        }
        Err(_) => Ok(Some(place)),
    }
}

/// True if a path is a folder, and not a link to one.
fn is_folder(path: &Path) -> bool {
    fs_err::symlink_metadata(path).is_ok_and(|data| data.is_dir())
}

fn unusable(path: &Path, reason: &str) -> SourceProblem {
    let (path, reason) = (path.to_owned(), reason.to_owned());
    SourceProblem::NoRepository { path, reason, foreign: false }
}

/// Results of the search so far.
struct RefSearch<'a> {
    request: &'a SourceRequest,
    wanted: &'a CommitRequest<'a>,
    options: &'a FetchOptions,
    observer: &'a dyn Observer,
    /// The repository with the commit, and where that came from.
    has: Option<(PathBuf, SourceOrigin)>,
    /// Id of the commit, or of the commit of the tag object that `ref` names.
    peeled: Option<String>,
    origin: Option<String>,
}

impl RefSearch<'_> {
    fn has_all(&self) -> bool {
        self.has.is_some() && self.origin.is_some()
    }

    fn note(&mut self, path: &Path, from: SourceOrigin, found: ResolvedCommit) {
        if let Some(peeled) = found.commit.filter(|_| self.has.is_none()) {
            self.has = Some((path.to_owned(), from));
            self.peeled = Some(peeled);
        }
        self.origin = self.origin.take().or(found.origin);
    }

    fn warn(&self, message: String) {
        self.observer.event(Event::Warning { subject: self.request.subject(), message });
    }

    fn ask_mirror(&mut self, mirror: &Store) -> Result<(), SourceProblem> {
        if self.options.may_ask(mirror) {
            self.ask_for_bundle(mirror)?;
        }
        if self.has_all() { Ok(()) } else { self.ask_for_repository(mirror) }
    }

    /// Takes the commit's bundle from a mirror into the tree's cache.
    fn ask_for_bundle(&mut self, mirror: &Store) -> Result<(), SourceProblem> {
        let Self { request, wanted, options, observer, .. } = *self;
        let key = bundle::bundle_key(wanted.commit);
        let subject = request.subject();
        let transfer = StoreTransfer { subject: &subject, observer };
        let made = SourceProblem::io("unpack a git bundle");
        let found = cache::with_folder(request, options, observer, || {
            let folder = TemporaryFolder::create(&request.cache_dir).map_err(made)?;
            let (path, mut file) = bundle::coming(folder.path()).map_err(made)?;
            let kind = |error: &StoreError| Some(error.kind());
            let get = |place: &dyn Backend| place.get(&key, &mut file, &transfer);
            if mirror.item("a mirror", &transfer, kind, get)?.is_none() {
                return Ok(None);
            }
            let repository = folder.path().join("bundle.git");
            let found = match bundle::unpack(&path, &repository, || observer.is_interrupted()) {
                Ok(()) => git_foreign::look(&repository, wanted)?,
                Err(_) if observer.is_interrupted() => return Err(SourceProblem::Interrupted),
                Err(problem) => {
                    let (name, problem) = (mirror.backend().name(), with_causes(&problem));
                    self.warn(format!(
                        "the mirror's {name}/{key} is damaged and was not used: {problem}"
                    ));
                    return Ok(None);
                }
            };
            if found.commit.is_none() {
                let name = mirror.backend().name();
                self.warn(format!("the mirror's {name}/{key} does not hold its commit"));
                return Ok(None);
            }
            if self.has.is_none() {
                self.copy(&repository)?;
            }
            Ok(Some(found))
        })?;
        if let Some(found) = found {
            self.note(&cached_path(request), SourceOrigin::Mirror, found);
        }
        Ok(())
    }

    /// Takes the repository from a mirror: from a folder, or by git from a web server.
    fn ask_for_repository(&mut self, mirror: &Store) -> Result<(), SourceProblem> {
        if let Some(folder) = mirror.local_folder() {
            let path = match in_folder(folder, self.wanted.url) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                path => path.map_err(SourceProblem::io("find a mirror's git repository"))?,
            };
            let found = git_foreign::look(&path, self.wanted)?;
            return self.take(&path, found);
        }
        // Of a store of another kind, git could not clone.
        let Some(base) = mirror.base_url() else { return Ok(()) };
        for path in git_mirror_paths(self.wanted.url) {
            self.ask_by_git(mirror, &format!("{base}/git/{path}"))?;
            if self.has_all() {
                break;
            }
        }
        Ok(())
    }

    fn ask_by_git(&mut self, mirror: &Store, url: &str) -> Result<(), SourceProblem> {
        let Self { request, wanted, options, observer, .. } = *self;
        let own = GitMirror::open(request, wanted, url.into(), options, observer)?;
        let known = own.look()?;
        if !options.may_ask(mirror) || (known.commit.is_some() && known.origin.is_some()) {
            return self.take(own.folder(), known);
        }
        let subject = request.subject();
        let transfer = StoreTransfer { subject: &subject, observer };
        let asked = mirror.item("a mirror", &transfer, failure_of_mirror, |_| {
            own.bring_up_to_date(&redact(url))
        })?;
        match asked {
            Some(found) => self.take(own.folder(), found),
            None => Ok(()),
        }
    }

    /// Copies a repository with the commit into the tree's cache.
    fn take(&mut self, path: &Path, found: ResolvedCommit) -> Result<(), SourceProblem> {
        if found.commit.is_some() && self.has.is_none() {
            let Self { request, options, observer, .. } = *self;
            cache::with_folder(request, options, observer, || self.copy(path))?;
        }
        self.note(&cached_path(self.request), SourceOrigin::Mirror, found);
        Ok(())
    }

    fn copy(&self, path: &Path) -> Result<(), SourceProblem> {
        let made = SourceProblem::io("make a git mirror");
        let cached = cached_path(self.request);
        let folder = TemporaryFolder::create(&self.request.cache_dir).map_err(made)?;
        let new = folder.path().join("new");
        // The existing mirror may be another version's.
        let is_usable = git_foreign::look(&cached, self.wanted).is_ok();
        let folders = [Some(path), is_usable.then_some(cached.as_path())].into_iter().flatten();
        let objects: Vec<PathBuf> = folders.map(|folder| folder.join("objects")).collect();
        bare_copy(path, &objects, &redact(self.wanted.url), &new)
            .map_err(|error| error.into_problem(path))?;
        // An old one loses its name as a whole: half removed, it could be taken for a mirror.
        match fs_err::rename(&cached, folder.path().join("old")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(made(error)),
            _ => {}
        }
        fs_err::rename(&new, &cached).map_err(made)
    }

    /// Evaluates the results.
    fn finish(self, remote: Option<String>) -> Result<FetchedSource, SourceProblem> {
        let url = redact(self.wanted.url);
        let (commit, ref_origin) = (self.wanted.commit, self.wanted.ref_origin.to_owned());
        let Some(origin) = &self.origin else {
            return Err(SourceProblem::NoSuchOrigin { ref_origin, url });
        };
        let Some((path, from)) = &self.has else {
            return Err(SourceProblem::NoSuchCommit { commit: commit.clone(), ref_origin, url });
        };
        if self.peeled.as_ref() != Some(origin) {
            self.warn(format!(
                "ref_origin {ref_origin} is now {origin}, but ref is {commit}: that is built"
            ));
        }
        self.observer.event(Event::Source { subject: self.request.subject(), origin: *from });
        let (path, commit) = (path.clone(), commit.clone());
        Ok(FetchedSource::GitMirror { path, commit, remote, converted: None })
    }
}
