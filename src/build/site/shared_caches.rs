//! Fetching packages from caches before anything is built.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{Site, SiteError};
use crate::artifact::shared_cache::SharedCaches;
use crate::base::atomic;
use crate::base::event::{Event, Observer, Outcome};
use crate::base::lock::FileLock;
use crate::build::plan::{Plan, Step};
use crate::package::PackageId;
use crate::package::contents::check;

/// Number of packages that are looked up at once: a store far away answers after its latency, and most
/// packages are small.
const AT_ONCE: usize = 32;

impl Site {
    /// Fetches from caches what a plan would build, and returns the ids of all packages that are there
    /// then. Faults of a cache are warnings.
    pub(super) fn fetch_cached(
        &self,
        plan: &Plan,
        caches: &SharedCaches,
        observer: &dyn Observer,
    ) -> Result<BTreeSet<PackageId>, SiteError> {
        let steps: Vec<&Step> = plan.to_build().collect();
        if steps.is_empty() || !caches.read() {
            return Ok(BTreeSet::new());
        }
        let next = AtomicUsize::new(0);
        let found = Mutex::new((BTreeSet::new(), None));
        let work = || {
            while let Some(step) = steps.get(next.fetch_add(1, Ordering::Relaxed)) {
                if observer.is_interrupted() {
                    return;
                }
                let result = self.fetch_one(step, caches, observer);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                match result {
                    Ok(true) => _ = found.0.insert(step.id.clone()),
                    Ok(false) => {}
                    Err(error) => found.1 = Some(error),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(steps.len()) {
                scope.spawn(work);
            }
        });
        match found.into_inner().unwrap_or_else(PoisonError::into_inner) {
            _ if observer.is_interrupted() => Err(SiteError::Interrupted),
            (_, Some(error)) => Err(error),
            (ids, None) => Ok(ids),
        }
    }

    fn fetch_one(
        &self,
        step: &Step,
        caches: &SharedCaches,
        observer: &dyn Observer,
    ) -> Result<bool, SiteError> {
        let began = Instant::now();
        let Step { key, id, .. } = step;
        let lock = self.options.runner.home.package_lock(self.cache.root(), id);
        let lock = FileLock::acquire_unless(&lock, || (), || observer.is_interrupted())
            .map_err(SiteError::Cache)?;
        if lock.is_none() {
            return Ok(false);
        }
        let how = if self.cache.has(id) {
            Outcome::Cached
        } else {
            atomic::sweep_temporaries(&self.cache.package_folder(id.name())).report(observer);
            let limits = self.options.runner.archives;
            let archive = self.cache.archive(id);
            let fetched = caches.fetch_package(id, &archive, &limits, &check, observer);
            let fetched = fetched.map_err(|source| SiteError::SharedCache {
                id: id.clone(),
                source: Box::new(source),
            })?;
            if !fetched {
                return Ok(false);
            }
            Outcome::Fetched
        };
        self.cache.write_latest(id, &key.variant).map_err(SiteError::Cache)?;
        observer.event(Event::Finished { package: id.to_string(), how, took: began.elapsed() });
        Ok(true)
    }
}
