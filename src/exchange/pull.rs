//! From shared caches into a tree's cache.

use super::failure::{ExchangeError, ExchangeFailure};
use super::wanted::{ExchangeItem, WantedArtifacts, WantedBootstrap};
use crate::artifact::repository::RepositoryError;
use crate::artifact::shared_cache::{SOURCES, SharedCache, SharedCaches};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer, PackageOutcome};
use crate::base::parallel;
use crate::bootstrap::{SupplyError, bring_bootstrap};
use crate::build::project::Project;
use crate::package::PackageId;
use crate::package::contents::check;
use crate::source::{self, FetchOptions, SourceProblem, SourceRequest};
use crate::store::{FailureKind, Reach, StoreTransfer};
use crate::tree::PackageKey;

/// Result of a pull.
#[derive(Debug, Default)]
pub struct PullReport {
    /// Number of fetched artifacts.
    pub fetched: usize,
    /// Number of artifacts that the tree's cache had already.
    pub present: usize,
    /// Names of artifacts missing in all caches.
    pub missing: Vec<String>,
    /// Number of artifacts skipped because their cache had failed too often.
    pub skipped: usize,
    /// Failed artifacts.
    pub failures: Vec<ExchangeFailure>,
}

enum PullOutcome {
    Fetched,
    Present,
    Missing,
    Skipped,
}

struct PullRun<'w> {
    project: &'w Project,
    /// Caches to read, with their reachability.
    readable: Vec<(&'w SharedCache, Reach)>,
    /// Options for finding local sources only.
    here: FetchOptions,
    observer: &'w dyn Observer,
}

/// Fetches the artifacts of `wanted` from caches into the tree's cache, with limited parallelism.
pub fn pull(
    project: &Project,
    wanted: &WantedArtifacts,
    caches: &SharedCaches,
    threads: usize,
    observer: &dyn Observer,
) -> PullReport {
    let mut here = project.fetch_options().clone();
    here.offline = true;
    here.only_mirrors = false;
    // What is left to fetch from is this machine: mirrors and servers would hide that the cache
    // lacks a source.
    here.mirrors.clear();
    project.note(observer);
    let readable = caches.iter().filter(|cache| cache.reads());
    let readable = readable.map(|cache| (cache, Reach::default())).collect();
    let run = PullRun { project, readable, here, observer };
    let packages = wanted.packages.iter().map(|(key, id)| ExchangeItem::Package(key, id));
    let bootstraps = wanted.bootstraps.iter().map(ExchangeItem::Bootstrap);
    // The others, such as `git_local`, are never in a store.
    let is_kept = |request: &&SourceRequest| request.mirror_key().is_some();
    let sources = wanted.sources.iter().filter(is_kept);
    // Each package has its own copy.
    let sources = sources.map(|request| ExchangeItem::Source(vec![request]));
    let items: Vec<_> = packages.chain(bootstraps).chain(sources).collect();
    let results = parallel::each(&items, threads, observer, |item| run.fetch(item));
    let mut pulled = PullReport::default();
    for (item, result) in items.iter().zip(results) {
        match result {
            Some(Ok(PullOutcome::Fetched)) => pulled.fetched += 1,
            Some(Ok(PullOutcome::Present)) => pulled.present += 1,
            Some(Ok(PullOutcome::Missing)) => pulled.missing.push(item.name()),
            Some(Ok(PullOutcome::Skipped)) => pulled.skipped += 1,
            Some(Err(error)) => pulled.failures.push(ExchangeFailure::new(&item.name(), "", error)),
            None => {}
        }
    }
    pulled
}

impl PullRun<'_> {
    fn fetch(&self, item: &ExchangeItem<'_>) -> Result<PullOutcome, ExchangeError> {
        let got = match item {
            ExchangeItem::Package(key, id) => self.fetch_package(key, id),
            ExchangeItem::Bootstrap(bootstrap) => self.fetch_bootstrap(bootstrap),
            ExchangeItem::Source(requests) => self.fetch_source(requests[0]),
            // Ids contain the ids of builder images, so these were fetched with the ids.
            ExchangeItem::Builder(_) => Ok(PullOutcome::Present),
        }?;
        // A cache that is not asked any more may have had it.
        let is_any_skipped = || self.readable.iter().any(|(_, reach)| reach.is_skipped());
        Ok(match got {
            PullOutcome::Missing if is_any_skipped() => PullOutcome::Skipped,
            got => got,
        })
    }

    /// Asks the caches in their order until one gives the artifact. A failure counts if none of the others
    /// does; else it is a warning.
    fn first<E: std::error::Error + 'static>(
        &self,
        subject: &str,
        mut ask: impl FnMut(&SharedCache) -> Result<bool, E>,
        kind: impl Fn(&E) -> Option<FailureKind>,
    ) -> Result<bool, E> {
        let mut failed = None;
        for (cache, reach) in &self.readable {
            if reach.is_skipped() {
                continue;
            }
            match ask(cache) {
                Ok(found) => {
                    // Before the answer is looked at: a store that lacks an artifact works.
                    reach.answered();
                    if !found {
                        continue;
                    }
                    if let Some(error) = failed {
                        let (subject, message) = (subject.to_owned(), with_causes(&error));
                        self.observer.event(Event::Warning { subject, message });
                    }
                    return Ok(true);
                }
                Err(error) => {
                    if let Some(kind) = kind(&error) {
                        reach.failed(kind);
                    }
                    if let Some(before) = failed.replace(error) {
                        // Only one error can be returned; the one before it must not get lost.
                        let (subject, message) = (subject.to_owned(), with_causes(&before));
                        self.observer.event(Event::Warning { subject, message });
                    }
                }
            }
        }
        failed.map_or(Ok(false), Err)
    }

    fn fetch_package(
        &self,
        key: &PackageKey,
        id: &PackageId,
    ) -> Result<PullOutcome, ExchangeError> {
        let limits = self.project.archive_limits();
        let brought = self.project.bring(key, id, self.observer, |archive| {
            let ask = |cache: &SharedCache| {
                let repository = cache.sole_repository();
                repository.fetch_package(id, archive, &limits, &check, self.observer)
            };
            self.first(&id.to_string(), ask, RepositoryError::kind)
        })?;
        Ok(match brought {
            Some(PackageOutcome::Cached) => PullOutcome::Present,
            Some(_) => PullOutcome::Fetched,
            None => PullOutcome::Missing,
        })
    }

    fn fetch_bootstrap(&self, bootstrap: &WantedBootstrap) -> Result<PullOutcome, ExchangeError> {
        let (id, active) = (bootstrap.id.as_str(), &bootstrap.active);
        let (cache, limits) = (&self.project.cache, self.project.archive_limits());
        let folder = cache.bootstraps();
        let was_there =
            bring_bootstrap(&bootstrap.tree, cache, self.project.home(), self.observer, || {
                let ask = |cache: &SharedCache| {
                    let repository = cache.sole_repository();
                    repository.fetch_bootstrap(id, &folder, active, &limits, self.observer)
                };
                let fetched = self.first(&format!("bootstrap {id}"), ask, RepositoryError::kind);
                fetched.map_err(|source| SupplyError::Repository {
                    variant: bootstrap.tree.variant.clone(),
                    source: Box::new(source),
                })
            })?;
        Ok(match was_there {
            Some(true) => PullOutcome::Present,
            Some(false) => PullOutcome::Fetched,
            None => PullOutcome::Missing,
        })
    }

    fn fetch_source(&self, request: &SourceRequest) -> Result<PullOutcome, ExchangeError> {
        let id = source::identify(request, &self.here, self.observer)?;
        if source::fetch(request, &id, &self.here, self.observer).is_ok() {
            return Ok(PullOutcome::Present);
        }
        let Some(key) = request.mirror_key() else { return Ok(PullOutcome::Missing) };
        let subject = request.subject();
        let transfer = StoreTransfer { subject: &subject, observer: self.observer };
        let ask = |cache: &SharedCache| -> Result<bool, ExchangeError> {
            let store = cache.store().folder(SOURCES);
            match store.backend().head(&key, &transfer) {
                Err(error) if error.is_not_found() => return Ok(false),
                // Some servers refuse HEAD for files that they have.
                Err(error) if error.kind() != FailureKind::Unsupported => {
                    return Err(error.into());
                }
                _ => {}
            }
            let mut options = self.here.clone();
            options.only_mirrors = true;
            options.mirrors = vec![store];
            match source::fetch(request, &id, &options, self.observer) {
                Ok(_) => Ok(true),
                // The cause was a warning.
                Err(error) if matches!(*error.problem, SourceProblem::Offline(_)) => {
                    Err(ExchangeError::Unusable)
                }
                Err(error) => Err(error.into()),
            }
        };
        let found = self.first(&subject, ask, ExchangeError::kind)?;
        Ok(if found { PullOutcome::Fetched } else { PullOutcome::Missing })
    }
}
