//! From a tree's cache into shared caches.
//!
//! An archive that a store has already, with the same sum, is not sent and needs no evidence; any other is
//! sent only with [`Evidence`] that it is the artifact of its id. After three failures in a row, or a refused
//! connection, a store is not asked again.

use std::collections::BTreeMap;
use std::path::Path;

use super::failure::{ExchangeError, ExchangeFailure};
use super::wanted::{ExchangeItem, WantedArtifacts, WantedBootstrap};
use crate::artifact::publish::{
    Published, has, has_image, publish, publish_bootstrap, publish_image,
};
use crate::artifact::shared_cache::{SOURCES, SharedCache, SharedCaches};
use crate::base::event::{Event, Observer, WithoutDownloads};
use crate::base::parallel;
use crate::bootstrap::BootstrapUpload;
use crate::build::cache::is_file;
use crate::build::project::Project;
use crate::build::upload::{Evidence, PackageUpload, SourceUpload, unknown};
use crate::package::paths::{bootstrap_path, package_path};
use crate::package::{ImageName, PackageId};
use crate::source::{self, FetchOptions, SourceRequest};
use crate::store::{ObjectKey, Put, Reach, StoreTransfer};

/// Result of a push at one store.
#[derive(Debug, Default)]
pub struct PushReport {
    /// Name of the store.
    pub store: String,
    /// Number of artifacts that the store has taken.
    pub sent: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Number of artifacts that the store had already.
    pub present: usize,
    /// Number of artifacts that were not sent, as the store had failed.
    pub skipped: usize,
    /// Failed artifacts.
    pub failures: Vec<ExchangeFailure>,
}

/// Result for one artifact at one store.
enum PushOutcome {
    Taken(u64),
    Present,
    Skipped,
    Failed(ExchangeError),
}

struct PushRun<'w> {
    project: &'w Project,
    caches: &'w SharedCaches,
    /// Writable caches, with their reachability.
    targets: Vec<(&'w SharedCache, Reach)>,
    evidence: Evidence<'w>,
    /// Options for finding local sources only.
    here: FetchOptions,
    scratch: &'w Path,
    observer: &'w dyn Observer,
}

/// Uploads the artifacts of `wanted` in a tree's cache to all writable caches, with limited
/// parallelism; returns the result for each, in their order. `scratch` is a folder for temporary
/// files.
pub fn push(
    project: &Project,
    wanted: &WantedArtifacts,
    caches: &SharedCaches,
    evidence: Evidence<'_>,
    (threads, scratch): (usize, &Path),
    observer: &dyn Observer,
) -> Vec<PushReport> {
    let targets: Vec<_> = caches.iter().filter(|cache| cache.writes()).collect();
    let mut pushed: Vec<PushReport> = targets
        .iter()
        .map(|cache| PushReport { store: cache.name(), ..PushReport::default() })
        .collect();
    let mut here = project.fetch_options().clone();
    here.offline = true;
    here.only_mirrors = false;
    here.mirrors.clear();
    let targets = targets.into_iter().map(|cache| (cache, Reach::default())).collect();
    let run = PushRun { project, caches, targets, evidence, here, scratch, observer };
    let items = run.items(wanted);
    let results = parallel::each(&items, threads, observer, |item| run.send(item));
    for (item, results) in items.iter().zip(results) {
        for (pushed, result) in pushed.iter_mut().zip(results.into_iter().flatten()) {
            match result {
                PushOutcome::Taken(bytes) => {
                    pushed.sent += 1;
                    pushed.bytes += bytes;
                }
                PushOutcome::Present => pushed.present += 1,
                PushOutcome::Skipped => pushed.skipped += 1,
                PushOutcome::Failed(error) => {
                    pushed.failures.push(ExchangeFailure::new(&item.name(), &pushed.store, error));
                }
            }
        }
    }
    pushed
}

impl<'w> PushRun<'w> {
    /// Lists the artifacts of the tree's cache. Sources are found when their turn comes.
    fn items(&self, wanted: &'w WantedArtifacts) -> Vec<ExchangeItem<'w>> {
        let cache = &self.project.cache;
        let packages = wanted.packages.iter().filter(|(_, id)| cache.has(id));
        let is_there = |bootstrap: &&WantedBootstrap| {
            is_file(&cache.bootstraps().join(bootstrap.id.archive_name()))
        };
        let bootstraps = wanted.bootstraps.iter().filter(is_there);
        // Several packages may name one source, of which not all have fetched it.
        let mut sources: BTreeMap<ObjectKey, Vec<&SourceRequest>> = BTreeMap::new();
        for request in &wanted.sources {
            if let Some(key) = request.mirror_key() {
                sources.entry(key).or_default().push(request);
            }
        }
        packages
            .map(|(key, id)| ExchangeItem::Package(key, id))
            .chain(bootstraps.map(ExchangeItem::Bootstrap))
            .chain(sources.into_values().map(ExchangeItem::Source))
            .chain(wanted.images.iter().map(ExchangeItem::Builder))
            .collect()
    }

    /// Sends an artifact to each store.
    fn send(&self, item: &ExchangeItem<'_>) -> Vec<PushOutcome> {
        match item {
            ExchangeItem::Package(_, id) => self.send_package(id),
            ExchangeItem::Bootstrap(bootstrap) => self.send_bootstrap(bootstrap),
            ExchangeItem::Source(requests) => self.send_source(requests),
            ExchangeItem::Builder(name) => self.send_builder(name),
        }
    }

    /// Sends an artifact to each store that still answers.
    fn at_each(
        &self,
        what: &str,
        size: u64,
        mut ask: impl FnMut(&SharedCache) -> Result<Option<Published>, ExchangeError>,
    ) -> Vec<PushOutcome> {
        let mut results = Vec::new();
        for (cache, reach) in &self.targets {
            if reach.is_skipped() {
                results.push(PushOutcome::Skipped);
                continue;
            }
            let result = ask(cache);
            match result.as_ref().err().and_then(ExchangeError::kind) {
                None => reach.answered(),
                Some(kind) => _ = reach.failed(kind),
            }
            results.push(match result {
                Ok(Some(Published::Written)) => {
                    let (subject, place) = (what.to_owned(), cache.name());
                    self.observer.event(Event::Sent { subject, place, bytes: size });
                    PushOutcome::Taken(size)
                }
                Ok(Some(Published::WasThere) | None) => PushOutcome::Present,
                Err(error) => PushOutcome::Failed(error),
            });
        }
        results
    }

    /// Asks each store if it has an archive that must not be sent: then nothing is to be done. `reason`
    /// is asked for each store that lacks the archive.
    fn only_present(
        &self,
        what: &str,
        archive: &Path,
        reason: impl Fn() -> Option<ExchangeError>,
    ) -> Vec<PushOutcome> {
        let uploading = WithoutDownloads(self.observer);
        self.at_each(what, 0, |cache| {
            let sum = self.evidence.sum(archive)?;
            if has(cache.store().backend(), what, &sum, &uploading)? {
                return Ok(None);
            }
            Err(reason().unwrap_or_else(|| unknown(archive, &sum).into()))
        })
    }

    /// Sends the image of a `docker/` folder, if this machine has built it.
    fn send_builder(&self, name: &ImageName) -> Vec<PushOutcome> {
        let upload = match self.project.builder_upload(name, self.observer) {
            Ok(Some(upload)) => upload,
            Ok(None) => return Vec::new(),
            Err(error) => return vec![PushOutcome::Failed(error.into())],
        };
        let observer = WithoutDownloads(self.observer);
        let what = upload.publication.documents.last().cloned().unwrap_or_default();
        self.at_each(&what, upload.size, |cache| {
            let (backend, image) = (cache.store().backend(), &upload.publication);
            if upload.is_own {
                return Ok(Some(publish_image(backend, image, self.caches.signer(), &observer)?));
            }
            if has_image(backend, image, &observer)? {
                return Ok(None);
            }
            Err(ExchangeError::UnprovenImage(name.clone()))
        })
    }

    fn send_package(&self, id: &PackageId) -> Vec<PushOutcome> {
        let archive = self.project.cache.archive(id);
        let what = package_path(id);
        let limits = self.project.archive_limits();
        let prove = || PackageUpload::of_cached(id, archive.clone(), &self.evidence, &limits);
        let Ok(upload) = prove() else {
            // Found out anew for each store that lacks the archive, as an error cannot be copied.
            let reason = || Some(prove().err()?.into());
            return self.only_present(&what, &archive, reason);
        };
        let size = upload.record().size;
        let uploading = WithoutDownloads(self.observer);
        self.at_each(&what, size, |cache| {
            let published = upload.publish(self.caches.commit(), |package| {
                publish(cache.store().backend(), package, self.caches.signer(), &uploading)
            });
            Ok(published.map(Some)?)
        })
    }

    fn send_bootstrap(&self, bootstrap: &WantedBootstrap) -> Vec<PushOutcome> {
        let id = bootstrap.id.as_str();
        let what = bootstrap_path(id);
        let archive = self.project.cache.root().join(&what);
        let variant = bootstrap.tree.variant.name().map(str::to_owned);
        let prove = || {
            let active = bootstrap.active.clone();
            let cache = &self.project.cache;
            BootstrapUpload::of_cached(id, active, variant.clone(), cache, &self.evidence)
        };
        let Ok(upload) = prove() else {
            let reason = || Some(prove().err()?.into());
            return self.only_present(&what, &archive, reason);
        };
        let uploading = WithoutDownloads(self.observer);
        self.at_each(&what, upload.size(), |cache| {
            let put = upload.publish(self.caches.commit(), |bootstrap| {
                let backend = cache.store().backend();
                publish_bootstrap(backend, bootstrap, self.caches.signer(), &uploading)
            });
            Ok(put.map(Some)?)
        })
    }

    /// Sends a source from the first package with a local copy; sources without a local copy are
    /// skipped.
    fn send_source(&self, requests: &[&SourceRequest]) -> Vec<PushOutcome> {
        let uploading = WithoutDownloads(self.observer);
        let fetched = requests.iter().find_map(|request| {
            let id = source::identify(request, &self.here, &uploading).ok()?;
            Some((*request, source::fetch(request, &id, &self.here, &uploading).ok()?))
        });
        let Some((request, fetched)) = fetched else { return Vec::new() };
        let Some(upload) = SourceUpload::new(request, &fetched) else { return Vec::new() };
        let what = format!("{SOURCES}/{}", upload.key());
        let size = fs_err::metadata(fetched.path()).map_or(0, |data| data.len());
        let subject = request.subject();
        self.at_each(&what, size, |cache| {
            let transfer = StoreTransfer { subject: &subject, observer: &uploading };
            let store = cache.store().folder(SOURCES);
            let put = upload.upload(store.backend(), self.scratch, &self.here, &transfer)?;
            let is_new = put == Put::Written;
            Ok(Some(if is_new { Published::Written } else { Published::WasThere }))
        })
    }
}
