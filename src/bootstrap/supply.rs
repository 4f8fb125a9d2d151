//! Brings the bootstrap of a tree into the cache, with the files beside it (docs/format.md, "The cache
//! folder").

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{
    BootstrapError, BootstrapId, BootstrapOptions, active_json, complete_json, write_bootstrap,
};
use crate::archive::Limits;
use crate::artifact::repository::{Repository, RepositoryError};
use crate::base::atomic::{self, AtomicFile};
use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::build::cache::{Cache, is_file};
use crate::package::{PackageId, Variant};

/// A tree variant with its packages.
#[derive(Debug, Clone)]
pub struct TreePackages {
    /// The tree variant.
    pub variant: Variant,
    /// Its packages.
    pub packages: Vec<PackageId>,
    /// Those that its bootstrap is made of.
    pub bootstrap: Vec<PackageId>,
}

/// How bootstraps are made.
#[derive(Debug)]
pub struct SupplyOptions<'a> {
    /// The tree's cache.
    pub cache: &'a Cache,
    /// Where bootstraps may be taken from.
    pub repository: Option<&'a Repository>,
    /// What archives may hold.
    pub limits: Limits,
    /// The latest time in archives.
    pub source_date_epoch: u64,
    /// How many threads compress.
    pub threads: u32,
    /// A folder for temporary files.
    pub scratch: &'a Path,
    /// A folder for parts of bootstraps.
    pub parts: &'a Path,
    /// A folder for lock files.
    pub locks: &'a Path,
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
    /// What to do, where that is known.
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
    let folder = options.cache.bootstraps();
    let archive = folder.join(id.archive_name());
    let active = folder.join(id.active_name());
    let is_there = || is_file(&archive) && is_file(&active);
    if !is_there() {
        let lock = options.locks.join(format!("bootstrap-{id}.lock"));
        let _lock = FileLock::acquire_unless(&lock, || (), || observer.is_interrupted())
            .map_err(SupplyError::File)?
            .ok_or_else(|| SupplyError::File(interrupted()))?;
        atomic::sweep_temporaries(&folder).report(observer);
        if !is_there() && !fetch(tree, &id, options, observer)? {
            write(tree, &archive, options, observer)?;
            let text = active_json(&tree.bootstrap);
            atomic::write(&active, text.as_bytes()).map_err(SupplyError::File)?;
        }
    }
    atomic::write_if_changed(
        &options.cache.bootstrap_latest(&tree.variant),
        id.as_str().as_bytes(),
    )
    .map_err(SupplyError::File)?;
    Ok((id, archive))
}

fn fetch(
    tree: &TreePackages,
    id: &BootstrapId,
    options: &SupplyOptions<'_>,
    observer: &dyn Observer,
) -> Result<bool, SupplyError> {
    let Some(repository) = options.repository else { return Ok(false) };
    let active = active_json(&tree.bootstrap);
    repository
        .fetch_bootstrap(
            id.as_str(),
            &options.cache.bootstraps(),
            &active,
            &options.limits,
            observer,
        )
        .map_err(|source| SupplyError::Repository {
            variant: tree.variant.clone(),
            source: Box::new(source),
        })
}

fn write(
    tree: &TreePackages,
    archive: &Path,
    options: &SupplyOptions<'_>,
    observer: &dyn Observer,
) -> Result<(), SupplyError> {
    let mut file = AtomicFile::create(archive).map_err(SupplyError::File)?;
    let packages: Vec<(PackageId, PathBuf)> =
        tree.bootstrap.iter().map(|id| (id.clone(), options.cache.archive(id))).collect();
    let how = BootstrapOptions {
        source_date_epoch: options.source_date_epoch,
        threads: options.threads,
        limits: options.limits,
        scratch: options.scratch,
        parts: Some(options.parts),
    };
    write_bootstrap(&packages, WhileRunning { file: file.file(), observer }, &how)
        .map_err(|source| SupplyError::Bootstrap { variant: tree.variant.clone(), source })?;
    file.commit().map_err(SupplyError::File)
}

fn interrupted() -> io::Error {
    // Not the kind of that name: what has it is tried again.
    io::Error::other("interrupted")
}

/// A file that can't be written any more when the run is over.
struct WhileRunning<'a> {
    file: &'a mut File,
    observer: &'a dyn Observer,
}

impl Write for WhileRunning<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.file.write(buffer).map_err(|error| atomic::naming_file(self.file, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.observer.is_interrupted() { Err(interrupted()) } else { self.file.flush() }
    }
}
