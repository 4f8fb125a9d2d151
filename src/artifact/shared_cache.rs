//! Shared caches: stores in which artifacts are looked up before they are built, and put after
//! (docs/format.md, "Shared caches").
//!
//! ```text
//! <cache>/packages/<name>/<id>.tar.xz, .sha256, .minisig   as in a repository
//! <cache>/bootstrap/<id>.bootstrap.tar.xz, .active.json, …  as in a repository
//! <cache>/records/<name>/<id>.json                         digests and origin of a package ([`super::record`])
//! <cache>/sources/sha1/…, bundles/…                        as in a mirror
//! <cache>/images/…                                         builder images (`build::images`)
//! ```
//!
//! A cache is never needed: a fault of one is a warning, and the package is built. After three items in a
//! row that failed, a cache is not asked again in the run ([`Store::item`]). A damaged object is reported and
//! neither used nor overwritten.

use std::path::Path;
use std::sync::Arc;

use super::publish::{
    self, BootstrapPublication, Publication, PublishError, Published, publish_bootstrap,
};
use super::repository::{ContentCheck, Repository, RepositoryError};
use crate::archive::ArchiveLimits;
use crate::base::event::Observer;
use crate::package::PackageId;
use crate::store::signature::{Signer, TrustedKeys};
use crate::store::{Store, StoreTransfer};

/// Folder of sources in a cache.
pub const SOURCES: &str = "sources";
/// Name of a cache in warnings.
const ROLE: &str = "the cache";

/// Store with its role in this run.
#[derive(Debug, Clone)]
pub struct SharedCache {
    store: Store,
    repository: Repository,
    keys: Option<Arc<TrustedKeys>>,
    reads: bool,
    writes: bool,
}

/// Shared caches in lookup order.
#[derive(Debug, Clone, Default)]
pub struct SharedCaches {
    caches: Vec<SharedCache>,
    signer: Option<Arc<Signer>>,
    commit: Option<String>,
}

impl SharedCache {
    /// Creates a cache in a store. With `keys`, only packages signed by one of the keys are used.
    pub fn new(store: Store, reads: bool, writes: bool, keys: Option<&TrustedKeys>) -> Self {
        // The same store, so that faults of reading and of writing are counted together.
        let repository = Repository::cache(store.clone());
        let repository = match keys {
            Some(keys) => repository.requiring(keys.clone()),
            None => repository,
        };
        Self { store, repository, keys: keys.cloned().map(Arc::new), reads, writes }
    }

    /// Store of the cache.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Name for messages.
    pub fn name(&self) -> String {
        self.store.backend().name()
    }

    /// True if artifacts are looked up in the cache.
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Keys of which one must have signed each artifact, if signatures are required.
    pub fn required_keys(&self) -> Option<&TrustedKeys> {
        self.keys.as_deref()
    }

    /// Packages and bootstraps in the cache, with every fault as an error.
    pub fn sole_repository(&self) -> Repository {
        self.repository.clone().sole()
    }

    /// True if artifacts are put into the cache.
    pub fn writes(&self) -> bool {
        self.writes
    }

    /// Puts a package into the cache. Returns `None` if the cache failed or is skipped, with a warning in
    /// the first case; an error is this machine's, or says that the cache has something else there.
    pub fn publish(
        &self,
        package: &Publication<'_>,
        signer: Option<&Signer>,
        observer: &dyn Observer,
    ) -> Result<Option<Published>, PublishError> {
        let subject = package.record.id.to_string();
        let transfer = StoreTransfer { subject: &subject, observer };
        self.store.item(ROLE, &transfer, PublishError::kind, |backend| {
            publish::publish(backend, package, signer, observer)
        })
    }

    /// Puts a bootstrap into the cache, as [`SharedCache::publish`] does a package.
    pub fn publish_bootstrap(
        &self,
        bootstrap: &BootstrapPublication<'_>,
        signer: Option<&Signer>,
        observer: &dyn Observer,
    ) -> Result<Option<Published>, PublishError> {
        let subject = format!("bootstrap {}", bootstrap.id);
        let transfer = StoreTransfer { subject: &subject, observer };
        self.store.item(ROLE, &transfer, PublishError::kind, |backend| {
            publish_bootstrap(backend, bootstrap, signer, observer)
        })
    }
}

impl SharedCaches {
    /// Creates a list of caches; `signer` signs uploaded packages.
    pub fn new(caches: Vec<SharedCache>, signer: Option<Signer>) -> Self {
        Self { caches, signer: signer.map(Arc::new), commit: None }
    }

    /// Returns the list for artifacts of a tree at a commit of its git repository, as descriptions of objects
    /// tell people.
    #[must_use]
    pub fn at_commit(self, commit: Option<String>) -> Self {
        Self { commit, ..self }
    }

    /// Commit of the tree.
    pub fn commit(&self) -> Option<&str> {
        self.commit.as_deref()
    }

    /// The caches that can be asked without a network.
    #[must_use]
    pub fn local(&self) -> Self {
        let is_local = |cache: &&SharedCache| !cache.store.is_remote();
        Self {
            caches: self.caches.iter().filter(is_local).cloned().collect(),
            signer: self.signer.clone(),
            commit: self.commit.clone(),
        }
    }

    /// The caches in their order.
    pub fn iter(&self) -> impl Iterator<Item = &SharedCache> {
        self.caches.iter()
    }

    /// Stores of sources in the caches that are read, each with the layout of a mirror.
    pub fn sources(&self) -> Vec<Store> {
        let read = self.caches.iter().filter(|cache| cache.reads);
        read.map(|cache| cache.store.folder(SOURCES)).collect()
    }

    /// True if at least one cache is read.
    pub fn read(&self) -> bool {
        self.caches.iter().any(|cache| cache.reads)
    }

    /// Key for signing packages.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_deref()
    }

    /// Fetches a bootstrap and its list into a folder, from the first cache that has it; `false` if none
    /// has. The list has to be equal to `active`.
    pub fn fetch_bootstrap(
        &self,
        id: &str,
        folder: &Path,
        active: &str,
        limits: &ArchiveLimits,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        for cache in self.caches.iter().filter(|cache| cache.reads) {
            if cache.repository.fetch_bootstrap(id, folder, active, limits, observer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fetches a package to `target`, from the first cache with the package; returns `false` if all
    /// lack it.
    pub fn fetch_package(
        &self,
        id: &PackageId,
        target: &Path,
        limits: &ArchiveLimits,
        check: &ContentCheck<'_>,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        for cache in self.caches.iter().filter(|cache| cache.reads) {
            if cache.repository.fetch_package(id, target, limits, check, observer)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
