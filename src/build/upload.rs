//! Uploads of what a run builds and fetches, while other packages build.
//!
//! Each cache that is written to has a thread and a queue. An upload that fails is a warning: the build has
//! what it needs. The run ends when the queues are empty, or at once when it is interrupted.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::artifact::publish::Published;
use crate::artifact::record::{self, PackageRecord};
use crate::artifact::shared_cache::{Publication, SharedCache, SharedCaches};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer};
use crate::container::helper::Interrupt;
use crate::package::PackageId;
use crate::store::About;

use super::job::Built;

/// A built package to be uploaded.
#[derive(Debug, Clone)]
pub struct PackageUpload {
    archive: PathBuf,
    record: PackageRecord,
}

impl PackageUpload {
    /// Creates an upload of a package that this run built; `buildinfo_full` is the text of its
    /// `buildinfo.full.json`. Returns `None` for a build of a helper that gives no digest of the tar.
    pub fn new(
        id: &PackageId,
        archive: PathBuf,
        built: &Built,
        buildinfo_full: &str,
    ) -> Option<Self> {
        let record = PackageRecord {
            version: record::VERSION,
            id: id.clone(),
            sha256: built.sha256.clone(),
            size: built.bytes,
            tar_sha256: built.tar_sha256.clone()?,
            tar_size: built.unpacked,
            buildinfo: serde_json::from_str(buildinfo_full).unwrap_or_default(),
        };
        Some(Self { archive, record })
    }

    /// Puts the package into a cache, and reports a failure as a warning.
    pub fn put(
        &self,
        cache: &SharedCache,
        caches: &SharedCaches,
        observer: &dyn Observer,
    ) -> Option<Published> {
        let requires = self.record.requires();
        let about = About {
            name: Some(self.record.id.name().as_str()),
            version: Some(self.record.id.version().as_str()),
            variant: self.record.variant(),
            requires: &requires,
            commit: None,
        };
        let package = Publication { record: &self.record, archive: &self.archive, about };
        match cache.publish(&package, caches.signer(), observer) {
            Ok(published) => published,
            Err(error) => {
                let message = format!("not uploaded to {}: {}", cache.name(), with_causes(&error));
                let message = match error.hint() {
                    Some(hint) => format!("{message}\n  hint: {hint}"),
                    None => message,
                };
                observer.event(Event::Warning { subject: self.record.id.to_string(), message });
                None
            }
        }
    }
}

/// Uploads of a run.
#[derive(Debug, Default)]
pub struct Uploads {
    caches: SharedCaches,
    lanes: Vec<Lane>,
    interrupt: Arc<Interrupt>,
}

/// Queue of one cache.
#[derive(Debug)]
pub struct Lane {
    cache: SharedCache,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<PackageUpload>>,
    is_closed: bool,
}

impl Uploads {
    /// Creates the queues of all caches that are written to.
    pub fn new(caches: SharedCaches, interrupt: &Arc<Interrupt>) -> Self {
        let lane = |cache: &SharedCache| Lane {
            cache: cache.clone(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        };
        let lanes = caches.iter().filter(|cache| cache.writes()).map(lane).collect();
        Self { caches, lanes, interrupt: Arc::clone(interrupt) }
    }

    /// Queues a package for every cache.
    pub fn add(&self, package: Option<PackageUpload>) {
        let Some(package) = package.map(Arc::new) else { return };
        for lane in &self.lanes {
            lane.lock().waiting.push_back(Arc::clone(&package));
            lane.changed.notify_all();
        }
    }

    /// The queues.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Ends [`Uploads::work`] once the queues are empty.
    pub fn close(&self) {
        for lane in &self.lanes {
            lane.lock().is_closed = true;
            lane.changed.notify_all();
        }
    }

    /// Uploads what a queue gets, until it is closed.
    pub fn work(&self, lane: &Lane, observer: &dyn Observer) {
        let (mut written, mut count) = (0_usize, 0_usize);
        while let Some(package) = lane.next(&self.interrupt) {
            count += 1;
            match package.put(&lane.cache, &self.caches, observer) {
                Some(Published::Written) => written += 1,
                Some(Published::WasThere) | None => {}
            }
        }
        tracing::info!(cache = lane.cache.name(), written, count, "uploads are done");
    }
}

impl Lane {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next upload; `None` if there will be none.
    fn next(&self, interrupt: &Interrupt) -> Option<Arc<PackageUpload>> {
        let mut queue = self.lock();
        loop {
            if interrupt.is_raised() {
                return None;
            }
            if let Some(package) = queue.waiting.pop_front() {
                return Some(package);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
