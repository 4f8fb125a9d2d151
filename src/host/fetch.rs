//! Parallel fetching of packages, with events in the order of the request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::repository::{Add, HostRepositoryError, PackageRepository};
use crate::artifact::repository::Repository;
use crate::base::event::{Interruptible, Observer};
use crate::package::PackageId;

/// Number of packages that are fetched at once: one waits for the network while another is unpacked.
const AT_ONCE: usize = 4;

/// Event for one package after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchStep<'a> {
    /// The package is awaited.
    Began(&'a PackageId),
    /// The package is present.
    Done(&'a PackageId, Add),
    /// The package cannot be fetched.
    Failed(&'a PackageId),
}

impl PackageRepository<'_> {
    /// Fetches packages. The events of each go to `tell` after those of its predecessors; the first
    /// failure ends the fetch.
    pub fn fetch_all(
        &self,
        ids: &[PackageId],
        from: &Repository,
        observer: &dyn Observer,
        tell: &mut dyn FnMut(FetchStep<'_>),
    ) -> Result<(), HostRepositoryError> {
        let _lock = self.lock()?;
        let mut ids_once = ids.to_vec();
        // A package that is named twice must not be unpacked by two threads into one folder.
        ids_once.sort_unstable();
        ids_once.dedup();
        let (next, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let observer = Interruptible::new(observer, || {
            over.load(Ordering::Relaxed) || observer.is_interrupted()
        });
        let (sender, results) = mpsc::channel();
        let fetched = thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(ids_once.len()) {
                let (sender, observer) = (sender.clone(), &observer);
                let (next, ids) = (&next, &ids_once);
                scope.spawn(move || {
                    while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if observer.is_interrupted()
                            || sender.send((id, self.fetch(id, from, observer))).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            // Otherwise `recv` would wait forever after the last thread's end.
            drop(sender);
            let mut waiting = BTreeMap::new();
            for id in ids {
                tell(FetchStep::Began(id));
                while !waiting.contains_key(id) {
                    let Ok((done, result)) = results.recv() else {
                        tell(FetchStep::Failed(id));
                        return Err(HostRepositoryError::Interrupted(id.clone()));
                    };
                    waiting.insert(done, result);
                }
                // What stands for an id that is named again: by then the package is there.
                match waiting.insert(id, Ok(Add::There)) {
                    Some(Ok(add)) => tell(FetchStep::Done(id, add)),
                    Some(Err(error)) => {
                        // The scope waits for the other threads: they see this as an interruption
                        // at their next read.
                        over.store(true, Ordering::Relaxed);
                        tell(FetchStep::Failed(id));
                        return Err(error);
                    }
                    None => {}
                }
            }
            Ok(())
        });
        if fetched.is_err() {
            // A failed fetch has removed its partial files, if possible.
            self.sweep();
        }
        fetched
    }
}
