//! Carries a plan out.
//!
//! Stage 1 is complete in all storages before stage 2 begins, and within a stage `metadata.json`
//! comes last. So a reader who uses the `metadata.json` of a channel, and takes the named files
//! from its `reproducible_artifact_path`, has a consistent release at any time: those files are
//! complete before the channel's `metadata.json` names them, and do not change afterwards.
//!
//! A run that ended at any point can be repeated: existing objects are not stored again.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::artifact::ArtifactContent;
use super::content::{Local, is_equal};
use super::error::ReleaseError;
use super::parallel::each;
use super::plan::{ReleaseOperation, ReleasePlan, ReleaseTarget};
use super::storage::Storage;
use super::survey::{Surveyed, check_channel};
use crate::base::event::Observer;
use crate::store::{ObjectKey, Put, StoreError, StoreTransfer};

/// Number of objects that a run has stored, and left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredCounts {
    /// Number of written or copied objects.
    pub written: usize,
    /// Number of existing objects.
    pub left: usize,
}

/// Stores a release in storages, which were looked at before.
pub fn execute(
    plan: &ReleasePlan,
    storages: &[(&Storage, Surveyed)],
    observer: &dyn Observer,
) -> Result<StoredCounts, ReleaseError> {
    // Relaxed below is enough: they are read when all threads have ended.
    let (written, left) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let note = |is_written: bool| {
        let counter = if is_written { &written } else { &left };
        counter.fetch_add(1, Ordering::Relaxed);
    };
    // Stage by stage over all storages, so that no storage names files that another one lacks.
    for (number, stage) in plan.stages.iter().enumerate() {
        let failed = |storage: &Storage, failure: OperationFailure| match failure {
            OperationFailure::Release(error) => *error,
            OperationFailure::Store(source) => {
                let storage = storage.name.clone();
                ReleaseError::Stage { storage, stage: number + 1, source }
            }
        };
        let work: Vec<_> = storages
            .iter()
            .flat_map(|storage| stage.artifacts.iter().map(move |operations| (storage, operations)))
            .collect();
        each(&work, |((storage, surveyed), operations)| {
            for operation in *operations {
                let is_written = store(storage, surveyed, operation, observer)
                    .map_err(|failure| failed(storage, failure))?;
                note(is_written);
            }
            Ok::<(), ReleaseError>(())
        })?;
        for (storage, surveyed) in storages {
            let last = &stage.metadata;
            let is_written = if number == 1 && surveyed.is_free {
                claim(storage, plan, last, observer)
            } else {
                store(storage, surveyed, last, observer)
            };
            note(is_written.map_err(|failure| failed(storage, failure))?);
        }
    }
    Ok(StoredCounts { written: written.into_inner(), left: left.into_inner() })
}

/// Cause of a failed operation.
enum OperationFailure {
    Store(StoreError),
    Release(Box<ReleaseError>),
}

impl From<StoreError> for OperationFailure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Stores one object; `false` if it was there.
///
/// Objects of the channel are replaced, and those of an incomplete release that differed when they were
/// looked at. Any other object is put only if there is none: what appears meanwhile is another run's.
fn store(
    storage: &Storage,
    surveyed: &Surveyed,
    operation: &ReleaseOperation,
    observer: &dyn Observer,
) -> Result<bool, OperationFailure> {
    // Between two objects alone: each is stored by one request or not at all.
    if observer.is_interrupted() {
        return Err(StoreError::Interrupted.into());
    }
    let ReleaseOperation { key, source, .. } = operation;
    if surveyed.present.contains(key) {
        return Ok(false);
    }
    let (backend, about) = (storage.backend(), operation.about());
    let transfer = StoreTransfer { subject: key.as_str(), observer };
    let replaces = operation.target == ReleaseTarget::Channel || surveyed.stale.contains(key);
    let copied = match source {
        ArtifactContent::Stored { from, .. } if !surveyed.uncopied.contains(key) => {
            let copied = if replaces {
                backend.copy(from, key, &about, &transfer).map(|()| Put::Written)
            } else {
                backend.copy_new(from, key, &about, &transfer)
            };
            match copied {
                // A storage that did not have the release which is promoted. Within a release, it is a
                // fault.
                Err(error)
                    if error.is_not_found() && operation.target != ReleaseTarget::Channel =>
                {
                    None
                }
                copied => Some(copied?),
            }
        }
        _ => None,
    };
    let local = Local::of(source);
    let put = match copied {
        Some(put) => put,
        None if replaces => {
            backend.replace(key, local.content(key)?, &about, &transfer)?;
            Put::Written
        }
        None => backend.put_described(key, local.content(key)?, &about, &transfer)?,
    };
    match put {
        Put::Written => Ok(true),
        Put::WasThere if operation.serves() => Ok(false),
        Put::WasThere if is_equal(backend, key, local, &transfer)? == Some(true) => Ok(false),
        Put::WasThere => Err(raced(storage, key)),
    }
}

/// Names a release as that of a channel without any, unless another run does so at the same time.
fn claim(
    storage: &Storage,
    plan: &ReleasePlan,
    operation: &ReleaseOperation,
    observer: &dyn Observer,
) -> Result<bool, OperationFailure> {
    let key = &operation.key;
    let transfer = StoreTransfer { subject: key.as_str(), observer };
    let local = Local::Bytes(plan.metadata.as_bytes());
    let backend = storage.backend();
    let about = operation.about();
    // Only if there is none: of two runs that begin a channel, the store takes one.
    if backend.put_described(key, local.content(key)?, &about, &transfer)? == Put::Written {
        return Ok(true);
    }
    check_channel(storage, &plan.location, false, observer)
        .map_err(|error| OperationFailure::Release(Box::new(error)))?;
    match is_equal(backend, key, local, &transfer)? {
        Some(true) => Ok(false),
        _ => Err(raced(storage, key)),
    }
}

/// Makes the failure of an object that another run has stored meanwhile.
fn raced(storage: &Storage, key: &ObjectKey) -> OperationFailure {
    let (storage, key) = (storage.name.clone(), key.clone());
    OperationFailure::Release(Box::new(ReleaseError::Raced { storage, key }))
}
