//! Lists objects: the tags of the repository, and the manifests of those that lie below the folder.
//!
//! The tags have the keys, but not the sizes, and do not identify our artifacts. The manifests are
//! fetched a few at a time; manifests of other folders are skipped, as far as tags tell. The
//! registry's list of referrers would have all annotations in one response, but many registries
//! lack the list, and its substitute there is a tag that writers overwrite for each other.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::artifact::{self, ArtifactError};
use super::error::OciError;
use super::{OciBackend, fetch, tag};
use crate::base::event::Event;
use crate::store::backend::{Backend, Listed, StoreTransfer};
use crate::store::error::StoreError;
use crate::store::key::ObjectKey;
use crate::store::registry::{RegistryExchangeError, RegistryWire, tags};

/// Number of manifests that are fetched at a time.
const AT_ONCE: usize = 16;

impl OciBackend {
    pub(super) fn list_objects(
        &self,
        below: Option<&ObjectKey>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        self.find_all(below, transfer).map_err(|error| match error {
            OciError::Exchange(RegistryExchangeError::Interrupted) => StoreError::Interrupted,
            error => StoreError::List {
                store: self.name(),
                failure: error.kind(),
                error: Box::new(error.hinted(&self.url)),
            },
        })
    }

    fn find_all(
        &self,
        below: Option<&ObjectKey>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, OciError> {
        let wire = self.wire(transfer)?;
        let tags = match tags::all(&wire, transfer.subject) {
            Ok(tags) => tags,
            // A repository begins to exist with its first tag.
            Err(RegistryExchangeError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        let is_wanted = |tag: &String| match below {
            None => tag::read(tag).is_some(),
            Some(folder) => tag::may_be_below(tag, folder),
        };
        let tags: Vec<String> = tags.into_iter().filter(is_wanted).collect();
        let mut found = describe_all(&wire, &tags, transfer)?;
        found.retain(|listed| below.is_none_or(|folder| listed.key.is_below(folder)));
        found.sort_unstable();
        Ok(found)
    }
}

/// Describes the objects of tags, several at a time; the first failure ends all.
fn describe_all(
    wire: &RegistryWire<'_>,
    tags: &[String],
    transfer: &StoreTransfer<'_>,
) -> Result<Vec<Listed>, OciError> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let found = Mutex::new(Ok(Vec::new()));
    let work = || {
        while let Some(tag) = tags.get(next.fetch_add(1, Ordering::Relaxed)) {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            let described = describe(wire, tag, transfer);
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            match (described, &mut *found) {
                (Ok(listed), Ok(found)) => found.extend(listed),
                (Err(error), Ok(_)) => {
                    *found = Err(error);
                    is_over.store(true, Ordering::Relaxed);
                }
                (_, Err(_)) => return,
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(tags.len()) {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Describes the object of a tag. Images and artifacts of other programs are passed over; of an artifact
/// that ought to be an object and is not, a warning tells.
fn describe(
    wire: &RegistryWire<'_>,
    tag: &str,
    transfer: &StoreTransfer<'_>,
) -> Result<Option<Listed>, OciError> {
    let Some((_, bytes)) = fetch(wire, tag, transfer.subject)? else { return Ok(None) };
    let problem = match artifact::read_any(&bytes) {
        Ok((key, blob)) if tag::of(&key) == tag => {
            return Ok(Some(Listed { key, size: blob.size }));
        }
        Ok((key, _)) => ArtifactError::OtherKey { found: key.to_string() },
        Err(ArtifactError::Foreign { .. }) => return Ok(None),
        Err(problem) => problem,
    };
    let error = OciError::Artifact { tag: tag.to_owned(), problem };
    let subject = transfer.subject.to_owned();
    let message = format!("an object is left out of the list: {error}");
    transfer.observer.event(Event::Warning { subject, message });
    Ok(None)
}
