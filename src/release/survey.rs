//! Survey of a release's storages: existing objects, and permission to store the rest. Nothing is
//! written.
//!
//! A channel belongs to the commit in its `metadata.json`. A release whose own `metadata.json` is there is
//! complete, and people read it: its objects never change. What a channel has is compared with the release,
//! if the channel is the release's; otherwise all of it is stored.

use std::collections::BTreeSet;
use std::path::Path;

use super::artifact::ArtifactContent;
use super::content::{Local, is_equal};
use super::error::ReleaseError;
use super::layout::{LayoutError, ReleaseLocation};
use super::metadata::{LONGEST, METADATA, Metadata};
use super::parallel::each;
use super::plan::{ReleaseOperation, ReleasePlan};
use super::storage::Storage;
use crate::base::event::Observer;
use crate::store::{ObjectKey, StoreTransfer};

/// State of a storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Objects that need not be stored.
    pub(super) present: BTreeSet<ObjectKey>,
    /// Objects of an incomplete release with other content.
    pub(super) stale: BTreeSet<ObjectKey>,
    /// Objects that are not copied from the release that is promoted: it has other content than this
    /// machine.
    pub(super) uncopied: BTreeSet<ObjectKey>,
    /// True if the channel has no release.
    pub(super) is_free: bool,
}

/// Survey of storages before a release is stored in them.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "an observer is not shown")]
pub struct Survey<'s> {
    /// Plan of the release.
    pub plan: &'s ReleasePlan,
    /// The preferred storage.
    pub preferred: &'s Storage,
    /// True if the channel may be that of another commit.
    pub replaces: bool,
    /// Observer of progress.
    pub observer: &'s dyn Observer,
}

impl Survey<'_> {
    /// Looks at a storage.
    pub fn look(&self, storage: &Storage) -> Result<Surveyed, ReleaseError> {
        let plan = self.plan;
        let [first, second] = &plan.stages;
        let channel = read(storage, &second.metadata.key, self.observer)?;
        let is_ours = |text: &Option<Vec<u8>>| text.as_deref() == Some(plan.metadata.as_bytes());
        if let Some(text) = channel.as_deref().filter(|_| !is_ours(&channel)) {
            // First of all, as it needs one request, and the rest may need thousands.
            check_owner(storage, &plan.location, text, self.replaces)?;
        }
        let release = read(storage, &first.metadata.key, self.observer)?;
        let is_released = is_ours(&release);
        let released = |key: &ObjectKey| {
            let (storage, key) = (storage.name.clone(), key.clone());
            ReleaseError::Released { storage, key, commit: plan.location.commit().clone() }
        };
        if release.is_some() && !is_released {
            return Err(released(&first.metadata.key));
        }
        let mut found = Surveyed { is_free: channel.is_none(), ..Surveyed::default() };
        let operations: Vec<&ReleaseOperation> = first.artifacts.iter().flatten().collect();
        let states = each(&operations, |operation| self.state(storage, operation))?;
        for (operation, state) in operations.iter().zip(states) {
            let key = operation.key.clone();
            match state {
                ObjectState::Serves => drop(found.present.insert(key)),
                ObjectState::Differs if operation.is_reproducible() => {
                    return Err(self.different(storage, operation, &key));
                }
                ObjectState::Differs if is_released => return Err(released(&key)),
                ObjectState::Differs => {
                    self.check_copy(storage, operation, &mut found)?;
                    found.stale.insert(key);
                }
                ObjectState::Absent => self.check_copy(storage, operation, &mut found)?,
            }
        }
        if is_released {
            found.present.insert(first.metadata.key.clone());
        }
        // A run for another commit may have ended within stage 2, and left some of its files here.
        if is_ours(&channel) {
            let operations: Vec<&ReleaseOperation> = second.artifacts.iter().flatten().collect();
            let states = each(&operations, |operation| self.state(storage, operation))?;
            let present =
                operations.iter().zip(states).filter(|(_, state)| *state == ObjectState::Serves);
            found.present.extend(present.map(|(operation, _)| operation.key.clone()));
            found.present.insert(second.metadata.key.clone());
        }
        Ok(found)
    }

    /// Compares the object that an operation would copy with the content of this machine, which is the one
    /// that templates are made of.
    fn check_copy(
        &self,
        storage: &Storage,
        operation: &ReleaseOperation,
        found: &mut Surveyed,
    ) -> Result<(), ReleaseError> {
        let ArtifactContent::Stored { from, .. } = &operation.source else { return Ok(()) };
        if operation.serves() {
            return Ok(());
        }
        let transfer = StoreTransfer { subject: from.as_str(), observer: self.observer };
        let equal = is_equal(storage.backend(), from, Local::of(&operation.source), &transfer);
        match equal.map_err(ReleaseError::reading(&storage.name))? {
            Some(false) if operation.is_reproducible() => {
                Err(self.different(storage, operation, from))
            }
            Some(false) => {
                found.uncopied.insert(operation.key.clone());
                Ok(())
            }
            Some(true) | None => Ok(()),
        }
    }

    /// Makes the error of an object that differs from the file of this machine. Without the file, the
    /// command would take the preferred storage's object, if that is the one.
    fn different(
        &self,
        storage: &Storage,
        operation: &ReleaseOperation,
        key: &ObjectKey,
    ) -> ReleaseError {
        let is_source = match &operation.source {
            ArtifactContent::Stored { from, .. } => from == key,
            ArtifactContent::Bytes(_) | ArtifactContent::File(_) => self.plan.location.is_testing(),
            ArtifactContent::Signature(_) => false,
        };
        let is_taken =
            is_source && storage.name == self.preferred.name && super::layout::is_bootstrap(key);
        let file = Local::of(&operation.source).path().filter(|_| is_taken);
        let (storage, key) = (storage.name.clone(), key.clone());
        ReleaseError::Different { storage, key, file: file.map(Path::to_owned) }
    }

    /// Looks for an object.
    fn state(
        &self,
        storage: &Storage,
        operation: &ReleaseOperation,
    ) -> Result<ObjectState, ReleaseError> {
        if self.observer.is_interrupted() {
            return Err(ReleaseError::Interrupted);
        }
        let (backend, key) = (storage.backend(), &operation.key);
        let transfer = StoreTransfer { subject: key.as_str(), observer: self.observer };
        let found = if operation.serves() {
            match backend.head(key, &transfer) {
                Ok(_) => Ok(Some(true)),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        } else {
            is_equal(backend, key, Local::of(&operation.source), &transfer)
        };
        match found.map_err(ReleaseError::reading(&storage.name))? {
            None => Ok(ObjectState::Absent),
            Some(true) => Ok(ObjectState::Serves),
            Some(false) => Ok(ObjectState::Differs),
        }
    }
}

/// Refuses a channel that may not be written to, before anything is built for a release. With `replaces`,
/// the channel may have the release of another commit.
pub fn check_channel(
    storage: &Storage,
    location: &ReleaseLocation,
    replaces: bool,
    observer: &dyn Observer,
) -> Result<(), ReleaseError> {
    let key = metadata_key(location)?;
    match read(storage, &key, observer)? {
        None => Ok(()),
        Some(text) => check_owner(storage, location, &text, replaces),
    }
}

/// Key of a channel's `metadata.json`.
fn metadata_key(location: &ReleaseLocation) -> Result<ObjectKey, ReleaseError> {
    Ok(location.of_channel(&METADATA.parse().map_err(LayoutError::from)?)?)
}

/// Refuses a channel of another commit, or of other files.
fn check_owner(
    storage: &Storage,
    location: &ReleaseLocation,
    text: &[u8],
    replaces: bool,
) -> Result<(), ReleaseError> {
    let storage = storage.name.clone();
    match Metadata::parse(text) {
        Err(reason) => {
            Err(ReleaseError::Metadata { storage, key: metadata_key(location)?, reason })
        }
        Ok(other) if other.commit != *location.commit() && !replaces => Err(ReleaseError::Taken {
            storage,
            channel: location.channel_path(),
            theirs: other.commit,
            ours: location.commit().clone(),
        }),
        Ok(_) => Ok(()),
    }
}

/// State of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ObjectState {
    Absent,
    Serves,
    Differs,
}

/// Reads a small object; `None` if there is none.
pub(super) fn read(
    storage: &Storage,
    key: &ObjectKey,
    observer: &dyn Observer,
) -> Result<Option<Vec<u8>>, ReleaseError> {
    let transfer = StoreTransfer { subject: key.as_str(), observer };
    let mut text = Vec::new();
    match storage.backend().get_range(key, 0..LONGEST + 1, &mut text, &transfer) {
        Ok(_) => {}
        Err(error) if error.is_not_found() => return Ok(None),
        Err(source) => return Err(ReleaseError::reading(&storage.name)(source)),
    }
    if text.len() as u64 > LONGEST {
        let reason = format!("it has more than {LONGEST} bytes");
        let (storage, key) = (storage.name.clone(), key.clone());
        return Err(ReleaseError::Metadata { storage, key, reason });
    }
    Ok(Some(text))
}

/// Reads the release at a path of a storage.
pub fn read_release(
    storage: &Storage,
    path: &str,
    observer: &dyn Observer,
) -> Result<Metadata, ReleaseError> {
    let (key, text) = read_text(storage, path, observer)?;
    let name = storage.name.clone();
    Metadata::parse(&text).map_err(|reason| ReleaseError::Metadata { storage: name, key, reason })
}

/// Reads the text of the release at a path of a storage.
pub(super) fn read_text(
    storage: &Storage,
    path: &str,
    observer: &dyn Observer,
) -> Result<(ObjectKey, Vec<u8>), ReleaseError> {
    let path = path.trim_end_matches('/');
    let key: ObjectKey = format!("{path}/{METADATA}").parse().map_err(LayoutError::from)?;
    let text = read(storage, &key, observer)?.ok_or_else(|| ReleaseError::NoRelease {
        storage: storage.name.clone(),
        path: path.to_owned(),
    })?;
    Ok((key, text))
}
