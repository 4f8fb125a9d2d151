//! Brings the bootstrap of a tree into the cache, with the files beside it (docs/format.md, "The cache
//! folder").

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::record::BootstrapRecord;
use super::upload::BootstrapUpload;
use super::{
    BootstrapError, BootstrapId, BootstrapOptions, active_json, complete_json, write_bootstrap,
};
use crate::archive::ArchiveLimits;
use crate::artifact::repository::{Repository, RepositoryError};
use crate::artifact::shared_cache::{SharedCache, SharedCaches};
use crate::base::atomic::{self, AtomicFile};
use crate::base::causes::with_causes;
use crate::base::digest::{Sha256, Sha256Sum};
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::build::cache::{Cache, is_file};
use crate::build::upload::Evidence;
use crate::package::{PackageId, Variant};
use crate::runner::home::Home;
use crate::store::signature::TrustedKeys;

/// Tree variant with its packages.
#[derive(Debug, Clone)]
pub struct TreePackages {
    /// The tree variant.
    pub variant: Variant,
    /// Packages of the tree.
    pub packages: Vec<PackageId>,
    /// Packages of the bootstrap.
    pub bootstrap: Vec<PackageId>,
}

/// Options for making bootstraps.
#[derive(Debug)]
pub struct SupplyOptions<'a> {
    /// The tree's cache.
    pub cache: &'a Cache,
    /// Repository of prebuilt bootstraps.
    pub repository: Option<&'a Repository>,
    /// Shared caches to look up bootstraps in, and to upload new ones to.
    pub shared_caches: &'a SharedCaches,
    /// Keys whose signatures allow other builders' packages in an uploaded bootstrap.
    pub trusted_keys: &'a TrustedKeys,
    /// Limits for archives.
    pub limits: ArchiveLimits,
    /// The latest time in archives.
    pub source_date_epoch: u64,
    /// Number of compressing threads.
    pub threads: u32,
    /// A folder for temporary files.
    pub scratch: &'a Path,
    /// The builder's own folder.
    pub home: &'a Home,
}

/// The files of a tree can't be written.
#[derive(Debug, thiserror::Error)]
pub enum SupplyError {
    /// The bootstrap can't be made.
    #[error("the bootstrap of tree {variant}")]
    Bootstrap {
        /// The tree variant.
        variant: Variant,
        /// Reason.
        #[source]
        source: BootstrapError,
    },
    /// The repository gave something that can't be used.
    #[error("the bootstrap of tree {variant}")]
    Repository {
        /// The tree variant.
        variant: Variant,
        /// Cause.
        #[source]
        source: Box<RepositoryError>,
    },
    /// A file of the cache can't be written.
    #[error("can't write the tree's cache")]
    File(#[source] io::Error),
}

impl SupplyError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bootstrap { source: BootstrapError::Install(error), .. } => error.hint(),
            Self::Repository { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// Makes a tree's bootstrap be there, if one is wanted, and writes `complete.latest.json`. Gives
/// the bootstrap's archive.
pub fn supply(
    tree: &TreePackages,
    wanted: bool,
    options: &SupplyOptions<'_>,
    observer: &dyn Observer,
) -> Result<Option<PathBuf>, SupplyError> {
    let made = if wanted { Some(supply_bootstrap(tree, options, observer)?) } else { None };
    let id = made.as_ref().map(|(id, _)| id);
    let complete = complete_json(id, &tree.packages);
    atomic::write_if_changed(&options.cache.complete_latest(&tree.variant), complete.as_bytes())
        .map_err(SupplyError::File)?;
    Ok(made.map(|(_, archive)| archive))
}

fn supply_bootstrap(
    tree: &TreePackages,
    options: &SupplyOptions<'_>,
    observer: &dyn Observer,
) -> Result<(BootstrapId, PathBuf), SupplyError> {
    let id = BootstrapId::of(&tree.bootstrap);
    let archive = options.cache.bootstraps().join(id.archive_name());
    bring_bootstrap(tree, options.cache, options.home, observer, || {
        if !fetch(tree, &id, options, observer)? {
            make(tree, &id, options, observer)?;
        }
        Ok(true)
    })?;
    Ok((id, archive))
}

/// Ensures that a tree's bootstrap is in the cache, by a function that fetches or makes a missing
/// one. Returns true if the bootstrap was present, and `None` if the function did not provide it.
pub fn bring_bootstrap(
    tree: &TreePackages,
    cache: &Cache,
    home: &Home,
    observer: &dyn Observer,
    bring: impl FnOnce() -> Result<bool, SupplyError>,
) -> Result<Option<bool>, SupplyError> {
    let id = BootstrapId::of(&tree.bootstrap);
    let folder = cache.bootstraps();
    let (archive, active) = (folder.join(id.archive_name()), folder.join(id.active_name()));
    // Both: the list is written last, and without it the archive may be from a killed run's time.
    let is_there = || is_file(&archive) && is_file(&active);
    let mut was_there = is_there();
    if !was_there {
        let lock = home.bootstrap_lock(id.as_str());
        let _lock = FileLock::acquire_unless(&lock, || (), || observer.is_interrupted())
            .map_err(SupplyError::File)?
            .ok_or_else(|| SupplyError::File(interrupted()))?;
        atomic::sweep_temporaries(&folder).report(observer);
        // Again: another run may have made it while the lock was waited for.
        was_there = is_there();
        if !was_there && !bring()? {
            return Ok(None);
        }
    }
    atomic::write_if_changed(&cache.bootstrap_latest(&tree.variant), id.as_str().as_bytes())
        .map_err(SupplyError::File)?;
    Ok(Some(was_there))
}

fn fetch(
    tree: &TreePackages,
    id: &BootstrapId,
    options: &SupplyOptions<'_>,
    observer: &dyn Observer,
) -> Result<bool, SupplyError> {
    let active = active_json(&tree.bootstrap);
    let (id, folder, limits) = (id.as_str(), options.cache.bootstraps(), &options.limits);
    let failed = |source| SupplyError::Repository {
        variant: tree.variant.clone(),
        source: Box::new(source),
    };
    let caches = options.shared_caches;
    if caches.fetch_bootstrap(id, &folder, &active, limits, observer).map_err(failed)? {
        return Ok(true);
    }
    let Some(repository) = options.repository else { return Ok(false) };
    repository.fetch_bootstrap(id, &folder, &active, limits, observer).map_err(failed)
}

/// Makes the bootstrap of packages of the cache, and uploads it.
fn make(
    tree: &TreePackages,
    id: &BootstrapId,
    options: &SupplyOptions<'_>,
    observer: &dyn Observer,
) -> Result<(), SupplyError> {
    let folder = options.cache.bootstraps();
    let record = write(tree, id, &folder.join(id.archive_name()), options, observer)?;
    let active = active_json(&tree.bootstrap);
    atomic::write(&folder.join(id.active_name()), active.as_bytes()).map_err(SupplyError::File)?;
    // Before the upload, which asks for the record as evidence.
    record.keep(options.home).map_err(SupplyError::File)?;
    if !options.shared_caches.iter().any(SharedCache::writes) {
        return Ok(());
    }
    let (home, keys, limits) = (options.home, options.trusted_keys, options.limits);
    let evidence = Evidence { home, keys, limits, observer };
    let variant = tree.variant.name().map(str::to_owned);
    match BootstrapUpload::of_cached(id.as_str(), active, variant, options.cache, &evidence) {
        Ok(upload) => upload.put(options.shared_caches, observer),
        Err(error) => {
            // A note, and no error: the bootstrap was made, and only stays on this machine.
            let message = format!("bootstrap {id}: {}", with_causes(&error));
            observer.event(Event::Note { message });
        }
    }
    Ok(())
}

fn write(
    tree: &TreePackages,
    id: &BootstrapId,
    archive: &Path,
    options: &SupplyOptions<'_>,
    observer: &dyn Observer,
) -> Result<BootstrapRecord, SupplyError> {
    let mut file = AtomicFile::create(archive).map_err(SupplyError::File)?;
    let packages: Vec<(PackageId, PathBuf)> =
        tree.bootstrap.iter().map(|id| (id.clone(), options.cache.archive(id))).collect();
    let parts = options.home.parts();
    let how = BootstrapOptions {
        source_date_epoch: options.source_date_epoch,
        threads: options.threads,
        limits: options.limits,
        scratch: options.scratch,
        parts: Some(&parts),
    };
    let mut out = WhileRunning { file: file.file(), sum: Sha256::new(), observer };
    let summary = write_bootstrap(&packages, &mut out, &how)
        .map_err(|source| SupplyError::Bootstrap { variant: tree.variant.clone(), source })?;
    let sha256 = Sha256Sum::from_hasher(out.sum);
    file.commit().map_err(SupplyError::File)?;
    Ok(BootstrapRecord::new(id.as_str(), sha256, summary.packages))
}

fn interrupted() -> io::Error {
    // Not `ErrorKind::Interrupted`, which is retried.
    io::Error::other("interrupted")
}

/// Writer into a file that fails at the end of the run, with the digest of the written bytes.
struct WhileRunning<'a> {
    file: &'a mut File,
    sum: Sha256,
    observer: &'a dyn Observer,
}

impl Write for WhileRunning<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buffer);
        let count = written.map_err(|error| atomic::naming_file(self.file, error))?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        // The writer of blocks flushes at intervals, also while all threads compress.
        if self.observer.is_interrupted() { Err(interrupted()) } else { self.file.flush() }
    }
}
