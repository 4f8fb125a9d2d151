//! Expanding upstreams: `cache/upstream/checkout` of a packages directory, and so on upwards.
//!
//! The origin of a checkout, and the state of all its files, are recorded in the builder's own
//! folder. The checkout is made again only if `upstream.json` has changed, or if a file differs
//! from the recorded one: inode number and change time cannot be given to another file. A checkout
//! that came with the tree is never trusted.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::ArchiveLimits;
use crate::base::atomic;
use crate::base::confinement;
use crate::base::digest::{Sha1Sum, Sha256, Sha256Sum};
use crate::base::event::{Observer, Silent};
use crate::base::lock::FileLock;
use crate::base::regular::read_own;
use crate::source::{
    self, CheckOutError, FetchOptions, LocalPermission, LocalScope, SourceError, SourceId,
    SourceRequest,
};
use crate::tree::lock::{LockFault, LockFaults, SourceKey, TreeLock, WantedSource, is_own};
use crate::tree::{self, TreeError, Upstream, UpstreamChain};

use super::cache::Cache;
use crate::runner::home::Home;

/// An upstream can't be expanded.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The declaration of the upstream is not valid.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The lock has another one, or none.
    #[error(transparent)]
    Lock(Box<LockFaults>),
    /// The upstream cannot be fetched.
    #[error("{}: can't get the upstream", path.display())]
    Source {
        /// The `upstream.json`.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<SourceError>,
    },
    /// The upstream cannot be checked out.
    #[error("{}: can't check the upstream out", path.display())]
    CheckOut {
        /// The `upstream.json`.
        path: PathBuf,
        /// Cause.
        #[source]
        source: Box<CheckOutError>,
    },
    /// A file can't be written.
    #[error("{}: can't check the upstream out", path.display())]
    File {
        /// The `upstream.json`.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl UpstreamError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tree(error) => error.hint(),
            Self::Lock(faults) => Some(faults.hint()),
            Self::Source { source, .. } => source.problem.hint(),
            Self::CheckOut { .. } | Self::File { .. } => None,
        }
    }
}

/// Expands the upstream of a packages directory, and its upstream, and so on; returns their
/// packages directories, nearest first.
pub fn expand(
    packages: &Path,
    home: &Home,
    fetch: &FetchOptions,
    limits: &ArchiveLimits,
    local: &LocalPermission,
    lock: Option<&TreeLock>,
    observer: &dyn Observer,
) -> Result<Vec<PathBuf>, UpstreamError> {
    let mut chain = UpstreamChain::default();
    let mut found = Vec::new();
    let mut at = packages.to_owned();
    while let Some(upstream) = tree::read_upstream(&at)? {
        // Fails where an upstream leads back to itself, which would be expanded without end.
        chain.push(&at, &upstream)?;
        let local = scope(&at, packages, local);
        if let Some(lock) = lock {
            check_lock(lock, packages, &request(&at, &upstream, local.clone()), &upstream, fetch)?;
        }
        let checkout = check_out(&at, &upstream, local, home, fetch, limits, observer)?;
        at = packages_of(&checkout)
            .ok_or_else(|| TreeError::UpstreamWithoutPackages(checkout.join("packages")))?;
        found.push(at.clone());
    }
    Ok(found)
}

/// Scope in which an upstream may be local: the checkout that names the upstream, or the tree itself.
fn scope(at: &Path, packages: &Path, local: &LocalPermission) -> LocalScope {
    match at.parent() {
        Some(checkout) if at != packages => LocalScope::checkout(local, checkout),
        _ => LocalScope::under(local, at),
    }
}

/// Packages directory of a checkout, if it is a folder below the checkout.
fn packages_of(checkout: &Path) -> Option<PathBuf> {
    let packages = checkout.join("packages");
    let stays = confinement::locate_below(checkout, Path::new("packages")).is_ok();
    (stays && packages.is_dir()).then_some(packages)
}

/// Packages directories of the upstreams that are expanded and current, the nearest first, and the `upstream.json`
/// of the first one that is not. Nothing is fetched or written.
pub fn expanded(
    packages: &Path,
    home: &Home,
    fetch: &FetchOptions,
    local: &LocalPermission,
) -> Result<(Vec<PathBuf>, Option<PathBuf>), UpstreamError> {
    let mut chain = UpstreamChain::default();
    let mut found = Vec::new();
    let mut at = packages.to_owned();
    while let Some(upstream) = tree::read_upstream(&at)? {
        chain.push(&at, &upstream)?;
        let request = request(&at, &upstream, scope(&at, packages, local));
        let id = source::identify(&request, fetch, &Silent);
        let checkout = Cache::of(&at).upstream_checkout();
        let is_current = id.is_ok_and(|id| CheckoutNote::of(&checkout, home).is_of(&upstream, &id));
        match packages_of(&checkout) {
            Some(packages) if is_current => at = packages,
            _ => return Ok((found, Some(upstream.path))),
        }
        found.push(at.clone());
    }
    Ok((found, None))
}

/// A checkout, and the file of the builder's own folder that says what it is of.
struct CheckoutNote<'a> {
    checkout: &'a Path,
    path: PathBuf,
}

impl<'a> CheckoutNote<'a> {
    fn of(checkout: &'a Path, home: &Home) -> Self {
        let name = Sha1Sum::of(checkout.as_os_str().as_encoded_bytes());
        Self { checkout, path: home.root().join("upstreams").join(format!("{name}.json")) }
    }

    /// Text of the file for a checkout in a state.
    fn text(upstream: &Upstream, id: &SourceId, state: &Sha256Sum) -> String {
        let source = &upstream.source.shown();
        serde_json::json!({ "id": id.to_value(), "source": source, "state": state.as_str() })
            .to_string()
    }

    /// True if the checkout is of an upstream, and no file of it has changed.
    fn is_of(&self, upstream: &Upstream, id: &SourceId) -> bool {
        read_own(&self.path).is_ok_and(|text| {
            state(self.checkout)
                .is_ok_and(|state| Self::text(upstream, id, &state).as_bytes() == text)
        })
    }
}

/// The sources of the upstreams that are known: that of a packages directory, that of its checkout, and so on
/// upwards to the first one that is not expanded.
pub fn requests(
    packages: &Path,
    local: &LocalPermission,
) -> Result<Vec<SourceRequest>, UpstreamError> {
    let mut chain = UpstreamChain::default();
    let mut found = Vec::new();
    let mut at = packages.to_owned();
    while let Some(upstream) = tree::read_upstream(&at)? {
        chain.push(&at, &upstream)?;
        let scope = match at.parent() {
            Some(checkout) if at != packages => LocalScope::checkout(local, checkout),
            _ => LocalScope::under(local, &at),
        };
        found.push(request(&at, &upstream, scope));
        let checkout = Cache::of(&at).upstream_checkout();
        at = checkout.join("packages");
        if confinement::locate_below(&checkout, Path::new("packages")).is_err() {
            break;
        }
    }
    Ok(found)
}

fn request(packages: &Path, upstream: &Upstream, local: LocalScope) -> SourceRequest {
    let checkout = Cache::of(packages).upstream_checkout();
    SourceRequest {
        package: upstream_package(),
        package_dir: packages.to_owned(),
        cache_dir: checkout.with_file_name("source"),
        original_mirror: Some(checkout.with_file_name("cache.git")),
        name: upstream_source(),
        source: upstream.source.clone(),
        local,
    }
}

/// Fails if a lock has another upstream, or none.
fn check_lock(
    lock: &TreeLock,
    packages: &Path,
    request: &SourceRequest,
    upstream: &Upstream,
    fetch: &FetchOptions,
) -> Result<(), UpstreamError> {
    if is_own(packages, &request.package_dir, &upstream.source.spec) {
        return Ok(());
    }
    let failed =
        |source| UpstreamError::Source { path: upstream.path.clone(), source: Box::new(source) };
    let head = match source::identify(request, fetch, &Silent).map_err(failed)? {
        SourceId::Commit(commit) => Some(commit),
        SourceId::DownloadedSha1(_) => None,
    };
    let Some(key) = SourceKey::of(&upstream.source.spec, head.as_ref()) else { return Ok(()) };
    let wanted = WantedSource { key, users: [request.subject()].into() };
    match LockFault::of_source(&lock.upstreams, &wanted) {
        None => Ok(()),
        Some(fault) => {
            let (path, items) = (lock.path.clone(), vec![fault]);
            Err(UpstreamError::Lock(Box::new(LockFaults { path, items })))
        }
    }
}

fn check_out(
    packages: &Path,
    upstream: &Upstream,
    local: LocalScope,
    home: &Home,
    fetch: &FetchOptions,
    limits: &ArchiveLimits,
    observer: &dyn Observer,
) -> Result<PathBuf, UpstreamError> {
    let path = || upstream.path.clone();
    let failed = |source| UpstreamError::Source { path: path(), source: Box::new(source) };
    let file = |source| UpstreamError::File { path: path(), source };
    let cache = Cache::of(packages);
    let checkout = cache.upstream_checkout();
    let name = Sha1Sum::of(checkout.as_os_str().as_encoded_bytes());
    // In the home: a lock in the tree could be a file of whoever made the tree.
    let lock = home.locks().join(format!("upstream-{name}.lock"));
    let _lock = FileLock::acquire(&lock, || ()).map_err(file)?;
    let request = request(packages, upstream, local);
    let id = source::identify(&request, fetch, observer).map_err(failed)?;
    let note = CheckoutNote::of(&checkout, home);
    if note.is_of(upstream, &id) {
        return Ok(checkout);
    }
    let note = note.path;
    let fetched = source::fetch(&request, &id, fetch, observer).map_err(failed)?;
    let parent = checkout.parent().unwrap_or(packages);
    fs_err::create_dir_all(parent).map_err(file)?;
    atomic::sweep_under_lock(parent).report(observer);
    let fresh = atomic::TemporaryFolder::create(parent).map_err(file)?;
    let place = fresh.path().join("checkout");
    source::check_out(&fetched, &place, limits)
        .map_err(|source| UpstreamError::CheckOut { path: path(), source: Box::new(source) })?;
    // Until its origin is recorded, a checkout is unknown.
    match fs_err::remove_file(&note) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(error)),
        _ => {}
    }
    if fs_err::symlink_metadata(&checkout).is_ok() {
        // Into the temporary folder, with which it is removed: no moment has two halves under one
        // name.
        fs_err::rename(&checkout, fresh.path().join("old")).map_err(file)?;
    }
    fs_err::rename(&place, &checkout).map_err(file)?;
    let state = state(&checkout).map_err(file)?;
    let text = CheckoutNote::text(upstream, &id, &state);
    atomic::write(&note, text.as_bytes()).map_err(file)?;
    Ok(checkout)
}

/// Digest of the metadata of all files in a folder.
fn state(folder: &Path) -> io::Result<Sha256Sum> {
    use std::os::unix::fs::MetadataExt;
    let mut digest = Sha256::new();
    for entry in walkdir::WalkDir::new(folder).sort_by_file_name() {
        let entry = entry?;
        let data = entry.metadata()?;
        let path = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        digest.update(path.as_os_str().as_encoded_bytes());
        let (mode, size, file) = (data.mode(), data.size(), data.ino());
        let changed = (data.ctime(), data.ctime_nsec());
        // The NUL ends the path, which has none: no two lists of files read the same.
        digest.update(format!("\0{mode} {size} {file} {changed:?}\n").as_bytes());
    }
    Ok(Sha256Sum::from_hasher(digest))
}

/// Name of an upstream, where a package's name is required.
fn upstream_package() -> crate::package::PackageName {
    UPSTREAM.parse().unwrap_or_else(|_| unreachable!("a valid name"))
}

fn upstream_source() -> crate::package::SourceName {
    UPSTREAM.parse().unwrap_or_else(|_| unreachable!("a valid name"))
}

const UPSTREAM: &str = "upstream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_file_is_another_state() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("checkout");
        let write = |name: &str, text: &str| fs_err::write(root.join(name), text).unwrap();
        fs_err::create_dir_all(root.join("packages/p")).unwrap();
        write("packages/p/build", "one");
        fs_err::os::unix::fs::symlink("build", root.join("packages/p/link")).unwrap();
        let mut known = vec![state(&root).unwrap()];
        assert_eq!(state(&root).unwrap(), known[0]);
        let time = fs_err::metadata(root.join("packages/p/build")).unwrap().modified().unwrap();
        let mut is_new = |what: &str| {
            let state = state(&root).unwrap();
            assert!(!known.contains(&state), "{what}");
            known.push(state);
            // The kernel's clock has to go on.
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        std::thread::sleep(std::time::Duration::from_millis(20));
        write("packages/p/build", "two");
        let file =
            fs_err::OpenOptions::new().write(true).open(root.join("packages/p/build")).unwrap();
        file.file().set_modified(time).unwrap();
        is_new("content of the same length and time");
        fs_err::copy(root.join("packages/p/build"), place.path().join("copy")).unwrap();
        fs_err::rename(place.path().join("copy"), root.join("packages/p/build")).unwrap();
        is_new("another file of that name");
        fs_err::remove_file(root.join("packages/p/link")).unwrap();
        is_new("a file less");
        fs_err::os::unix::fs::symlink("other", root.join("packages/p/link")).unwrap();
        is_new("another link");
        write("packages/p/more", "");
        is_new("a file more");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        fs_err::set_permissions(root.join("packages/p/build"), open).unwrap();
        is_new("another mode");
    }
}
