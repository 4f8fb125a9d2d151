//! Fetching packages from caches before anything is built.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use super::{Project, ProjectError};
use crate::artifact::repository::RepositoryError;
use crate::artifact::shared_cache::SharedCaches;
use crate::base::atomic;
use crate::base::event::{Event, Observer, PackageOutcome};
use crate::base::lock::FileLock;
use crate::base::parallel;
use crate::build::plan::{BuildPlan, PlanEntry};
use crate::package::PackageId;
use crate::package::contents::check;
use crate::tree::PackageKey;

/// Number of packages that are looked up at once: a store far away answers after its latency, and most
/// packages are small.
const AT_ONCE: usize = 32;

impl Project {
    /// Fetches the packages that a plan would build from caches, and returns the ids of all
    /// packages that are present then. Faults of a cache are warnings.
    pub(super) fn fetch_cached(
        &self,
        plan: &BuildPlan,
        caches: &SharedCaches,
        observer: &dyn Observer,
    ) -> Result<BTreeSet<PackageId>, ProjectError> {
        let entries: Vec<&PlanEntry> = plan.to_build().collect();
        if entries.is_empty() || !caches.read() {
            return Ok(BTreeSet::new());
        }
        let results = parallel::each(&entries, AT_ONCE, observer, |entry| {
            self.fetch_one(entry, caches, observer).map(|found| found.then(|| entry.id.clone()))
        });
        if observer.is_interrupted() {
            return Err(ProjectError::Interrupted);
        }
        let found: Result<Vec<_>, _> = results.into_iter().flatten().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    fn fetch_one(
        &self,
        entry: &PlanEntry,
        caches: &SharedCaches,
        observer: &dyn Observer,
    ) -> Result<bool, ProjectError> {
        let PlanEntry { key, id, .. } = entry;
        let limits = self.options.runner.archives;
        let brought = self.bring(key, id, observer, |archive| {
            caches.fetch_package(id, archive, &limits, &check, observer)
        })?;
        Ok(brought.is_some())
    }

    /// Brings a missing package into the tree's cache, by a function that fetches the archive.
    /// Returns `None` if the function finds none, or the run is over.
    pub fn bring(
        &self,
        key: &PackageKey,
        id: &PackageId,
        observer: &dyn Observer,
        fetch: impl FnOnce(&Path) -> Result<bool, RepositoryError>,
    ) -> Result<Option<PackageOutcome>, ProjectError> {
        let began = Instant::now();
        let lock = self.options.runner.home.package_lock(self.cache.root(), id);
        // The same lock as a build's: another run may be building the package.
        let lock = FileLock::acquire_unless(&lock, || (), || observer.is_interrupted())
            .map_err(ProjectError::Cache)?;
        if lock.is_none() {
            return Ok(None);
        }
        let how = if self.cache.has(id) {
            PackageOutcome::Cached
        } else {
            atomic::sweep_temporaries(&self.cache.package_folder(id.name())).report(observer);
            let fetched = fetch(&self.cache.archive(id)).map_err(|source| {
                ProjectError::SharedCache { id: id.clone(), source: Box::new(source) }
            })?;
            if !fetched {
                return Ok(None);
            }
            PackageOutcome::Fetched
        };
        self.cache.write_latest(id, &key.variant).map_err(ProjectError::Cache)?;
        observer.event(Event::Finished { package: id.to_string(), how, took: began.elapsed() });
        Ok(Some(how))
    }
}
