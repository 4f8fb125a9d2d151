//! Survey of a release's storages: existing objects, and permission to store the rest. Nothing is
//! written.
//!
//! A channel belongs to the commit in its `metadata.json`. A release with its own `metadata.json`
//! is complete and public: its objects do not change.

use std::collections::BTreeSet;

use super::artifact::Existing;
use super::content::{Local, is_equal};
use super::error::ReleaseError;
use super::layout::{LayoutError, ReleasePlace};
use super::metadata::{LONGEST, METADATA, Metadata};
use super::parallel::each;
use super::plan::{Operation, Plan, Target};
use super::storage::Storage;
use crate::base::event::Observer;
use crate::store::{Key, Transfer};

/// State of a storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surveyed {
    /// Objects of stage 1 that need not be stored.
    pub(super) present: BTreeSet<Key>,
    /// True if the channel has no release.
    pub(super) is_free: bool,
    /// True if the channel has this release, complete.
    pub(super) is_published: bool,
}

/// Looks at a storage.
///
/// With `replaces`, a channel of another commit and a complete release with other content are no errors.
pub fn survey(
    storage: &Storage,
    plan: &Plan,
    replaces: bool,
    observer: &dyn Observer,
) -> Result<Surveyed, ReleaseError> {
    let [first, second] = &plan.stages;
    let channel = read(storage, &second.metadata.key, observer)?;
    let is_ours = |text: &Option<Vec<u8>>| text.as_deref() == Some(plan.metadata.as_bytes());
    if !replaces && let Some(text) = channel.as_deref().filter(|_| !is_ours(&channel)) {
        check_owner(storage, &plan.place, text)?;
    }
    let release = read(storage, &first.metadata.key, observer)?;
    let is_released = is_ours(&release);
    if release.is_some() && !is_released && !replaces {
        let (storage, key) = (storage.name.clone(), first.metadata.key.clone());
        return Err(ReleaseError::Released { storage, key });
    }
    let operations: Vec<&Operation> = first.artifacts.iter().flatten().collect();
    let look = |operation: &&Operation| look(storage, operation, observer);
    let states = each(&operations, look)?;
    let mut present = BTreeSet::new();
    for (operation, state) in operations.iter().zip(states) {
        let (storage, key) = (storage.name.clone(), operation.key.clone());
        match state {
            State::Serves => drop(present.insert(key)),
            State::Differs if operation.is_reproducible() => {
                return Err(ReleaseError::Different { storage, key });
            }
            State::Differs if is_released && !replaces => {
                return Err(ReleaseError::Released { storage, key });
            }
            State::Differs | State::Absent => {}
        }
    }
    let is_whole = present.len() == operations.len();
    if is_released {
        present.insert(first.metadata.key.clone());
    }
    Ok(Surveyed {
        is_free: channel.is_none(),
        is_published: is_ours(&channel) && is_released && is_whole,
        present,
    })
}

/// Refuses a channel that may not be written to, before anything is built for a release.
pub fn check_channel(
    storage: &Storage,
    place: &ReleasePlace,
    observer: &dyn Observer,
) -> Result<(), ReleaseError> {
    let key = metadata_key(place)?;
    match read(storage, &key, observer)? {
        None => Ok(()),
        Some(text) => check_owner(storage, place, &text),
    }
}

/// Key of a channel's `metadata.json`.
fn metadata_key(place: &ReleasePlace) -> Result<Key, ReleaseError> {
    Ok(place.of_channel(&METADATA.parse().map_err(LayoutError::from)?)?)
}

/// Refuses a channel of another commit, or of other files.
fn check_owner(storage: &Storage, place: &ReleasePlace, text: &[u8]) -> Result<(), ReleaseError> {
    let storage = storage.name.clone();
    match Metadata::parse(text) {
        Err(reason) => Err(ReleaseError::Metadata { storage, key: metadata_key(place)?, reason }),
        Ok(other) if other.commit != *place.commit() => Err(ReleaseError::Taken {
            storage,
            channel: place.channel_path(),
            theirs: other.commit,
            ours: place.commit().clone(),
        }),
        Ok(_) => Ok(()),
    }
}

enum State {
    Absent,
    Serves,
    Differs,
}

/// Looks for an object.
fn look(
    storage: &Storage,
    operation: &Operation,
    observer: &dyn Observer,
) -> Result<State, ReleaseError> {
    if observer.is_interrupted() {
        return Err(ReleaseError::Interrupted);
    }
    let (backend, key) = (storage.backend(), &operation.key);
    let transfer = Transfer { subject: key.as_str(), observer };
    let found = if operation.target == Target::Repository && operation.existing == Existing::Serves
    {
        match backend.head(key, &transfer) {
            Ok(_) => Ok(Some(true)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    } else {
        is_equal(backend, key, Local::of(&operation.source), &transfer)
    };
    match found.map_err(ReleaseError::reading(&storage.name))? {
        None => Ok(State::Absent),
        Some(true) => Ok(State::Serves),
        Some(false) => Ok(State::Differs),
    }
}

/// Reads a small object; `None` if missing.
pub(super) fn read(
    storage: &Storage,
    key: &Key,
    observer: &dyn Observer,
) -> Result<Option<Vec<u8>>, ReleaseError> {
    let transfer = Transfer { subject: key.as_str(), observer };
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
    let path = path.trim_end_matches('/');
    let key: Key = format!("{path}/{METADATA}").parse().map_err(LayoutError::from)?;
    let text = read(storage, &key, observer)?.ok_or_else(|| ReleaseError::NoRelease {
        storage: storage.name.clone(),
        path: path.to_owned(),
    })?;
    let name = storage.name.clone();
    Metadata::parse(&text).map_err(|reason| ReleaseError::Metadata { storage: name, key, reason })
}
