//! Contents of an index, read from a store.

use std::collections::{BTreeMap, BTreeSet};

use crate::artifact::publish::record_path;
use crate::artifact::record::{self, PackageRecord};
use crate::artifact::repository::LONGEST_LIST;
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer, WithoutDownloads};
use crate::base::parallel;
use crate::base::total::total;
use crate::bootstrap::BootstrapId;
use crate::exchange::contents::{SUBJECT, StoreContents};
use crate::package::paths::active_path;
use crate::package::{PackageId, PackageName};
use crate::store::{Backend, ObjectKey, Store, StoreError, StoreTransfer};

/// A store cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The index cannot be written on this machine.
    #[error("the index cannot be written")]
    File(#[source] std::io::Error),
}

impl IndexError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::File(_) => None,
        }
    }
}

/// Version of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PackageVersion {
    pub(super) id: PackageId,
    /// Size of the archive in bytes.
    pub(super) size: u64,
    pub(super) is_signed: bool,
    /// Statements of the record, if there is one.
    pub(super) recorded: Option<RecordedPackage>,
    /// Ids of the bootstraps that have the package.
    pub(super) bootstraps: BTreeSet<String>,
}

/// Statements of a record about a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RecordedPackage {
    pub(super) sha256: Sha256Sum,
    pub(super) variant: Option<String>,
    /// All packages that the package requires, by way of others, too.
    pub(super) requires: BTreeSet<PackageId>,
}

/// A bootstrap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bootstrap {
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) is_signed: bool,
    /// Packages; `None` if the list is missing or not the bootstrap's.
    pub(super) packages: Option<BTreeSet<PackageId>>,
}

/// Description of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreIndex {
    pub(super) packages: BTreeMap<PackageName, Vec<PackageVersion>>,
    pub(super) bootstraps: Vec<Bootstrap>,
    /// Number and bytes of the sources.
    pub(super) sources: (usize, u64),
}

impl StoreIndex {
    /// Number of packages, and of their versions.
    pub fn counts(&self) -> (usize, usize) {
        (self.packages.len(), self.packages.values().map(Vec::len).sum())
    }
}

/// Describes a store, reading so many small objects at once.
pub fn read_index(
    store: &Store,
    threads: usize,
    observer: &dyn Observer,
) -> Result<StoreIndex, IndexError> {
    // Many small transfers are of no interest one by one.
    let observer: &dyn Observer = &WithoutDownloads(observer);
    let backend = store.backend();
    let contents = StoreContents::list(backend, observer)?;
    let listed: Vec<_> = contents.bootstraps.iter().collect();
    let lists = parallel::each(&listed, threads, observer, |(id, parts)| {
        let size = parts.archive?;
        let is_signed = parts.signature.is_some();
        let packages = parts.list.and_then(|_| list_of(backend, id, observer));
        Some(Bootstrap { id: (*id).clone(), size, is_signed, packages })
    });
    let bootstraps: Vec<Bootstrap> = lists.into_iter().flatten().flatten().collect();
    let held: Vec<_> = contents.packages.iter().collect();
    let recorded = parallel::each(&held, threads, observer, |(id, parts)| {
        parts.record.and_then(|_| recorded_of(backend, id, observer))
    });
    if observer.is_interrupted() {
        // Otherwise what was not read would be missing in an index that looks complete.
        return Err(StoreError::Interrupted.into());
    }
    let mut packages: BTreeMap<PackageName, Vec<PackageVersion>> = BTreeMap::new();
    for ((id, parts), recorded) in held.into_iter().zip(recorded) {
        let Some(size) = parts.archive else { continue };
        let has = |bootstrap: &&Bootstrap| {
            bootstrap.packages.as_ref().is_some_and(|packages| packages.contains(id))
        };
        let in_bootstraps = bootstraps.iter().filter(has).map(|bootstrap| bootstrap.id.clone());
        packages.entry(id.name().clone()).or_default().push(PackageVersion {
            id: id.clone(),
            size,
            is_signed: parts.signature.is_some(),
            recorded: recorded.flatten(),
            bootstraps: in_bootstraps.collect(),
        });
    }
    let bytes = total(contents.sources.iter().map(|source| source.size));
    Ok(StoreIndex { packages, bootstraps, sources: (contents.sources.len(), bytes) })
}

/// Reads a small object; a failure is a warning.
fn small(
    backend: &dyn Backend,
    name: &str,
    longest: u64,
    observer: &dyn Observer,
) -> Option<Vec<u8>> {
    let key: ObjectKey = name.parse().ok()?;
    let mut text = Vec::new();
    let transfer = StoreTransfer { subject: SUBJECT, observer };
    match backend.get_range(&key, 0..longest, &mut text, &transfer) {
        Ok(_) => Some(text),
        Err(error) => {
            let (subject, message) = (name.to_owned(), crate::base::causes::with_causes(&error));
            observer.event(Event::Warning { subject, message });
            None
        }
    }
}

fn list_of(
    backend: &dyn Backend,
    id: &str,
    observer: &dyn Observer,
) -> Option<BTreeSet<PackageId>> {
    let text = small(backend, &active_path(id), LONGEST_LIST, observer)?;
    let ids: BTreeSet<PackageId> = serde_json::from_slice(&text).ok()?;
    // A list that does not give its id is damaged, and says nothing of the bootstrap.
    (BootstrapId::of(&ids).as_str() == id).then_some(ids)
}

fn recorded_of(
    backend: &dyn Backend,
    id: &PackageId,
    observer: &dyn Observer,
) -> Option<RecordedPackage> {
    let text = small(backend, &record_path(id), record::LONGEST, observer)?;
    let record = PackageRecord::parse(&text, id)?;
    Some(RecordedPackage {
        sha256: record.sha256.clone(),
        variant: record.variant().map(str::to_owned),
        requires: record.requires().iter().filter_map(|id| id.parse().ok()).collect(),
    })
}
