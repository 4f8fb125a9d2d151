//! Expanding upstreams: `cache/upstream/checkout` of a packages directory, and so on upwards.
//!
//! What a checkout is of is kept in the builder's own folder, so that it is made again only when
//! `upstream.json` says something else, or the checkout is gone.

use std::io;
use std::path::{Path, PathBuf};

use crate::archive::Limits;
use crate::base::atomic;
use crate::base::digest::Sha1Sum;
use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::source::{self, CheckOutError, FetchOptions, SourceError, SourceRequest};
use crate::tree::{self, TreeError, Upstream, UpstreamChain};

use super::cache::Cache;
use crate::runner::home::Home;

/// An upstream can't be expanded.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// Its declaration is wrong.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// It can't be had.
    #[error("{}: can't get the upstream", path.display())]
    Source {
        /// The `upstream.json`.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<SourceError>,
    },
    /// It can't be checked out.
    #[error("{}: can't check the upstream out", path.display())]
    CheckOut {
        /// The `upstream.json`.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: Box<CheckOutError>,
    },
    /// A file can't be written.
    #[error("{}: can't check the upstream out", path.display())]
    File {
        /// The `upstream.json`.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// Expands the upstream of a packages directory, and its upstream, and so on; gives their packages
/// directories, the nearest first.
pub fn expand(
    packages: &Path,
    home: &Home,
    fetch: &FetchOptions,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Vec<PathBuf>, UpstreamError> {
    let mut chain = UpstreamChain::default();
    let mut found = Vec::new();
    let mut at = packages.to_owned();
    while let Some(upstream) = tree::read_upstream(&at)? {
        chain.push(&at, &upstream)?;
        let checkout = check_out(&at, &upstream, home, fetch, limits, observer)?;
        at = checkout.join("packages");
        if !at.is_dir() {
            return Err(TreeError::UpstreamWithoutPackages(at).into());
        }
        found.push(at.clone());
    }
    Ok(found)
}

fn check_out(
    packages: &Path,
    upstream: &Upstream,
    home: &Home,
    fetch: &FetchOptions,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<PathBuf, UpstreamError> {
    let path = || upstream.path.clone();
    let failed = |source| UpstreamError::Source { path: path(), source: Box::new(source) };
    let file = |source| UpstreamError::File { path: path(), source };
    let cache = Cache::of(packages);
    let checkout = cache.upstream_checkout();
    let name = Sha1Sum::of(checkout.as_os_str().as_encoded_bytes());
    let lock = home.locks().join(format!("upstream-{name}.lock"));
    let _lock = FileLock::acquire(&lock, || ()).map_err(file)?;
    let request = SourceRequest {
        package: upstream_package(),
        package_dir: packages.to_owned(),
        cache_dir: checkout.with_file_name("source"),
        name: upstream_source(),
        source: upstream.source.clone(),
    };
    let id = source::identify(&request).map_err(failed)?;
    let known = home.root().join("upstreams").join(format!("{name}.json"));
    let says = serde_json::json!({ "id": id.to_value(), "source": upstream.source.as_written })
        .to_string();
    if checkout.is_dir() && fs_err::read_to_string(&known).is_ok_and(|text| text == says) {
        return Ok(checkout);
    }
    let fetched = source::fetch(&request, &id, fetch, observer).map_err(failed)?;
    let parent = checkout.parent().unwrap_or(packages);
    fs_err::create_dir_all(parent).map_err(file)?;
    atomic::sweep_under_lock(parent).report(observer);
    let fresh = atomic::TemporaryFolder::create(parent).map_err(file)?;
    let place = fresh.path().join("checkout");
    source::check_out(&fetched, &place, limits)
        .map_err(|source| UpstreamError::CheckOut { path: path(), source: Box::new(source) })?;
    // Until what it is of is written down, nobody knows what lies there.
    match fs_err::remove_file(&known) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(error)),
        _ => {}
    }
    if checkout.exists() {
        fs_err::rename(&checkout, fresh.path().join("old")).map_err(file)?;
    }
    fs_err::rename(&place, &checkout).map_err(file)?;
    atomic::write(&known, says.as_bytes()).map_err(file)?;
    Ok(checkout)
}

/// What an upstream is called where a package's name belongs.
fn upstream_package() -> crate::package::PackageName {
    UPSTREAM.parse().unwrap_or_else(|_| unreachable!("a valid name"))
}

fn upstream_source() -> crate::package::SourceName {
    UPSTREAM.parse().unwrap_or_else(|_| unreachable!("a valid name"))
}

const UPSTREAM: &str = "upstream";
