//! Uploads of built and fetched artifacts, while other packages build.
//!
//! Each writable cache has a thread and a queue. A failed upload is a warning: the build has its
//! inputs. The run ends when the queues are empty, or at once on an interruption.

mod evidence;
mod source;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::archive::{ArchiveLimits, verify_package};
use crate::artifact::publish::{Publication, PublishError, Published};
use crate::artifact::record::{self, PackageRecord};
use crate::artifact::shared_cache::{SharedCache, SharedCaches};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer, WithoutDownloads};
use crate::base::regular::open_regular;
use crate::base::remedy::with_hint;
use crate::container::helper::Interrupt;
use crate::package::PackageId;
use crate::source::{FetchOptions, FetchedSource, SourceRequest};
use crate::store::{About, ObjectKey, Put};

use super::job::Built;

pub use evidence::{Evidence, Ground, UnprovenError, build_again, own_level, unknown};
pub use source::{SourceUpload, UploadError};

/// A package to be uploaded, whose archive is to be believed ([`Evidence`]).
#[derive(Debug, Clone)]
pub struct PackageUpload {
    archive: PathBuf,
    record: PackageRecord,
    /// Signature of the archive by another machine.
    signature: Option<String>,
}

impl PackageUpload {
    /// Creates an upload of a package built in this run; `buildinfo_full` is the text of its
    /// `buildinfo.full.json`. Returns `None` for a build of a helper that reports no digest of the
    /// tar.
    pub fn new(
        id: &PackageId,
        archive: PathBuf,
        built: &Built,
        buildinfo_full: &str,
    ) -> Option<Self> {
        let buildinfo = serde_json::from_str(buildinfo_full).unwrap_or_default();
        let record = record_of_built(id, built, buildinfo)?;
        Some(Self { archive, record, signature: None })
    }

    /// Creates an upload of a package of a tree's cache, if the archive is to be believed.
    pub fn of_cached(
        id: &PackageId,
        archive: PathBuf,
        evidence: &Evidence<'_>,
        limits: &ArchiveLimits,
    ) -> Result<Self, UnprovenError> {
        let (sha256, ground) = evidence.of_package(id, &archive)?;
        let read = |buildinfo| {
            let ends = || evidence.observer.is_interrupted();
            PackageRecord::of_archive(id, &archive, buildinfo, limits, ends)
                .map_err(UnprovenError::File)
        };
        let (record, signature) = match ground {
            Ground::Built { built, .. } if !built.compression.is_default() => {
                return Err(UnprovenError::Level { archive, level: built.compression });
            }
            Ground::Built { built, buildinfo } => {
                let known = record_of_built(id, &built, buildinfo.clone());
                (known.map_or_else(|| read(buildinfo), Ok)?, None)
            }
            Ground::Signed(text) => {
                let file = open_regular(&archive).map_err(UnprovenError::File)?;
                let index = verify_package(file, limits);
                let index = index.map_err(|error| UnprovenError::File(io::Error::other(error)))?;
                let buildinfo = index.buildinfo.unwrap_or_default();
                (read(serde_json::from_slice(&buildinfo).unwrap_or_default())?, Some(text))
            }
        };
        // Read once more since the check; what is sent must be what was believed.
        if record.sha256 != sha256 {
            return Err(unknown(&archive, &record.sha256));
        }
        Ok(Self { archive, record, signature })
    }

    /// Digests and origin.
    pub fn record(&self) -> &PackageRecord {
        &self.record
    }

    /// Calls a function with what is to be published, of a tree at a commit.
    pub fn publish<T>(&self, commit: Option<&str>, put: impl FnOnce(&Publication<'_>) -> T) -> T {
        let requires = self.record.requires();
        let about = About {
            name: Some(self.record.id.name().as_str()),
            version: Some(self.record.id.version().as_str()),
            variant: self.record.variant(),
            requires: &requires,
            commit,
            ..About::default()
        };
        let (record, archive, signature) =
            (&self.record, &*self.archive, self.signature.as_deref());
        put(&Publication { record, archive, signature, about })
    }

    /// Puts the package into a cache, and reports a failure as a warning.
    pub fn put(
        &self,
        cache: &SharedCache,
        caches: &SharedCaches,
        observer: &dyn Observer,
    ) -> Option<Published> {
        let put = |package: &Publication<'_>| cache.publish(package, caches.signer(), observer);
        let result = self.publish(caches.commit(), put);
        warning_of(result, &self.record.id.to_string(), cache, observer)
    }
}

/// Reports the failure of an upload as a warning.
pub fn warning_of(
    result: Result<Option<Published>, PublishError>,
    subject: &str,
    cache: &SharedCache,
    observer: &dyn Observer,
) -> Option<Published> {
    result.unwrap_or_else(|error| {
        let message = format!("not uploaded to {}: {}", cache.name(), with_causes(&error));
        let message = with_hint(message, error.hint().as_deref());
        observer.event(Event::Warning { subject: subject.to_owned(), message });
        None
    })
}

/// Record of a package that a helper built; `None` if the helper gave no digest of the tar.
fn record_of_built(
    id: &PackageId,
    built: &Built,
    buildinfo: serde_json::Value,
) -> Option<PackageRecord> {
    Some(PackageRecord {
        version: record::VERSION,
        id: id.clone(),
        sha256: built.sha256.clone(),
        size: built.bytes,
        tar_sha256: built.tar_sha256.clone()?,
        tar_size: built.unpacked,
        buildinfo,
    })
}

/// Something to be uploaded.
#[derive(Debug)]
enum UploadItem {
    Package(PackageUpload),
    Source(Box<SourceUpload>),
}

/// Uploads of a run.
#[derive(Debug)]
pub struct Uploads {
    caches: SharedCaches,
    lanes: Vec<Lane>,
    interrupt: Arc<Interrupt>,
    fetch: FetchOptions,
    scratch: PathBuf,
    /// Sources in the queue so far.
    sources: Mutex<BTreeSet<ObjectKey>>,
}

/// Queue of a cache.
#[derive(Debug)]
pub struct Lane {
    cache: SharedCache,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Arc<UploadItem>>,
    is_closed: bool,
}

impl Uploads {
    /// Creates the queues of all caches that are written to. `scratch` is a folder for temporary files.
    pub fn new(
        caches: SharedCaches,
        interrupt: &Arc<Interrupt>,
        fetch: FetchOptions,
        scratch: PathBuf,
    ) -> Self {
        let lane = |cache: &SharedCache| Lane {
            cache: cache.clone(),
            queue: Mutex::default(),
            changed: Condvar::new(),
        };
        let lanes = caches.iter().filter(|cache| cache.writes()).map(lane).collect();
        let (interrupt, sources) = (Arc::clone(interrupt), Mutex::default());
        Self { caches, lanes, interrupt, fetch, scratch, sources }
    }

    /// Queues a package for every cache.
    pub fn add_package(&self, package: Option<PackageUpload>) {
        if let Some(package) = package {
            self.add(&Arc::new(UploadItem::Package(package)));
        }
    }

    /// Queues a source for every cache, once.
    pub fn add_source(&self, request: &SourceRequest, fetched: &FetchedSource) {
        if self.lanes.is_empty() {
            return;
        }
        let Some(source) = SourceUpload::new(request, fetched) else { return };
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if known.insert(source.key().clone()) {
            self.add(&Arc::new(UploadItem::Source(Box::new(source))));
        }
    }

    fn add(&self, upload: &Arc<UploadItem>) {
        for lane in &self.lanes {
            lane.lock().waiting.push_back(Arc::clone(upload));
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

    /// Uploads items of a queue until the queue is closed.
    pub fn work(&self, lane: &Lane, observer: &dyn Observer) {
        let observer = &WithoutDownloads(observer);
        let (mut written, mut count) = (0_usize, 0_usize);
        while let Some(upload) = lane.next(&self.interrupt) {
            count += 1;
            let is_new = match &*upload {
                UploadItem::Package(package) => {
                    package.put(&lane.cache, &self.caches, observer) == Some(Published::Written)
                }
                UploadItem::Source(source) => {
                    source.put(&lane.cache, &self.scratch, &self.fetch, observer)
                        == Some(Put::Written)
                }
            };
            written += usize::from(is_new);
        }
        tracing::info!(cache = lane.cache.name(), written, count, "uploads are done");
    }
}

impl Lane {
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next upload; `None` if there will be none.
    fn next(&self, interrupt: &Interrupt) -> Option<Arc<UploadItem>> {
        let mut queue = self.lock();
        loop {
            if interrupt.is_raised() {
                return None;
            }
            if let Some(upload) = queue.waiting.pop_front() {
                return Some(upload);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
