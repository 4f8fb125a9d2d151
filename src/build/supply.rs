//! Making one package be in the cache: from there already, from a repository, or by a build in a helper.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::artifact::repository::Repository;
use crate::base::atomic::{self, PreparedFile};
use crate::base::event::{Event, Observer, PackageOutcome, Phase};
use crate::base::lock::FileLock;
use crate::base::remedy::with_hint;
use crate::container::helper::HelperSlot;
use crate::container::helper::Interrupt;
use crate::package::{PackageSource, SourceName};
use crate::runner::scratch::{Leftovers, ScratchDir};
use crate::source::{self, SourceId, SourceRequest};

use super::cache::Cache;
use super::delegate::DelegatedBuild;
use super::elsewhere::Elsewhere;
use super::job::{BuildJob, Built};
use super::kept::{self, Keeping};
use super::local::LocalBuilds;
use super::package_runner::{BuildFiles, CoreShare, PackageRunner, Phases, failed, interrupted};
use super::upload::{PackageUpload, UnprovenError, Uploads, build_again};

pub use super::failed::{BuildError, FailedBuild, OpenError};
pub use super::request::PackageRequest;

/// Builder of a run's packages.
#[derive(Debug)]
pub struct PackageBuilder {
    /// Cache of the tree.
    pub cache: Cache,
    /// Options of fetching sources.
    pub fetch: source::FetchOptions,
    /// Repository of prebuilt packages.
    pub repository: Option<Repository>,
    /// Builds on this machine.
    pub local: LocalBuilds,
    /// Engine that builds the packages elsewhere.
    pub elsewhere: Option<Elsewhere>,
    /// Time for which what failed builds leave is kept; `None` to keep nothing.
    pub keep_failed: Option<Duration>,
    /// Uploads to shared caches.
    pub uploads: Uploads,
}

/// Build of one package on this machine, whose inputs are at hand.
struct LocalBuild<'b> {
    request: &'b PackageRequest,
    runner: &'b PackageRunner,
    job: BuildJob,
    files: BuildFiles,
}

impl PackageBuilder {
    /// Ensures that a package is in the cache. `before` has the leftovers of the calling thread's
    /// previous build, which are removed meanwhile, and receives the leftovers of this build.
    pub fn supply(
        &self,
        request: &PackageRequest,
        share: &CoreShare,
        helper: &mut Option<HelperSlot>,
        before: &mut Option<Leftovers>,
        observer: &dyn Observer,
    ) -> Result<(), BuildError> {
        let began = Instant::now();
        let id = &request.package.id;
        let mut phases = Phases::new(id, observer);
        let result = self.supply_timed(request, share, helper, before, &mut phases);
        let (package, watch) = (id.to_string(), phases.watch);
        let took = began.elapsed();
        observer.event(match &result {
            Ok(how) => Event::Finished { package, how: *how, took },
            // Whatever the error says then, its cause is that the run is over.
            Err(_) if self.interrupt().is_raised() => {
                Event::Interrupted { package, phase: watch.phase(), took }
            }
            Err(error) => {
                let log = error.log().map(Path::to_owned);
                Event::Failed { package, phase: watch.phase(), took, log }
            }
        });
        result.map(drop)
    }

    /// Interruption of the run.
    pub fn interrupt(&self) -> &Arc<Interrupt> {
        &self.local.settings.interrupt
    }

    fn supply_timed(
        &self,
        request: &PackageRequest,
        share: &CoreShare,
        helper: &mut Option<HelperSlot>,
        before: &mut Option<Leftovers>,
        phases: &mut Phases<'_>,
    ) -> Result<PackageOutcome, BuildError> {
        let id = &request.package.id;
        let variant = &request.key.variant;
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let lock = self.local.settings.home.package_lock(self.cache.root(), id);
        let waiting = || phases.enter(Phase::Wait);
        // Held until the package is in the cache: a second run waits for this build instead of
        // doing it again.
        let _lock = FileLock::acquire_unless(&lock, waiting, || self.interrupt().is_raised())
            .map_err(file("take the package's lock"))?
            .ok_or_else(|| interrupted(id))?;
        if self.cache.has(id) {
            // Another process built it in the meantime.
            self.cache.write_latest(id, variant).map_err(file("write latest"))?;
            return Ok(PackageOutcome::Cached);
        }
        phases.enter(Phase::Fetch);
        // Temporary archives that dead runs have left.
        atomic::sweep_temporaries(&self.cache.package_folder(id.name())).report(phases.observer);
        // Before the sources, which a package from a repository does not need.
        if self.fetch_package(request, phases.observer)? {
            self.cache.write_latest(id, variant).map_err(file("write latest"))?;
            return Ok(PackageOutcome::Fetched);
        }
        let sources = self.fetch_sources(request, phases.observer)?;
        let place = self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.local.take());
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|_engine| place.is_none()) {
            let delegation = DelegatedBuild {
                elsewhere,
                cache: &self.cache,
                settings: &self.local.settings,
                shows_output: self.local.shows_output,
                request,
                sources: &sources,
            };
            if let Some(built) = delegation.build(phases)? {
                self.upload(request, &built, phases.observer);
                self.cache.write_latest(id, variant).map_err(file("write latest"))?;
                return Ok(PackageOutcome::Built);
            }
        }
        let opened = self.local.enter(helper, phases.observer);
        let opened = opened.map_err(|source| match source {
            _ if self.interrupt().is_raised() => interrupted(id),
            source => BuildError::Containers { id: id.clone(), source: Box::new(source) },
        })?;
        let Some(helper) = helper else { unreachable!("an opened run has a helper") };
        let runner = &opened.runner;
        let kept = runner.home.build(id);
        let files = runner.files(id, &self.cache.archive(id), kept)?;
        let job = runner.job(&request.package, share, &sources, &files)?;
        let build = LocalBuild { request, runner, job, files };
        let leftovers = self.build(build, helper, before, phases)?;
        *before = Some(leftovers);
        Ok(PackageOutcome::Built)
    }

    fn fetch_package(
        &self,
        request: &PackageRequest,
        observer: &dyn Observer,
    ) -> Result<bool, BuildError> {
        let Some(repository) = &self.repository else { return Ok(false) };
        let id = &request.package.id;
        let (archive, limits) = (self.cache.archive(id), &self.local.settings.archives);
        repository
            .fetch_package(id, &archive, limits, &crate::package::contents::check, observer)
            .map_err(|source| BuildError::Repository { id: id.clone(), source: Box::new(source) })
    }

    fn fetch_sources(
        &self,
        request: &PackageRequest,
        observer: &dyn Observer,
    ) -> Result<Vec<(SourceName, source::FetchedSource)>, BuildError> {
        let fetch = |(name, declared, source_id): &(SourceName, PackageSource, SourceId)| {
            let wanted = SourceRequest {
                package: request.key.name.clone(),
                package_dir: request.package.folder.clone(),
                cache_dir: self.cache.source(&request.key.name, name),
                name: name.clone(),
                source: declared.clone(),
                local: request.local.clone(),
                original_mirror: None,
            };
            let fetched = source::fetch(&wanted, source_id, &self.fetch, observer);
            let fetched = fetched.map_err(|source| BuildError::Source {
                id: request.package.id.clone(),
                name: name.clone(),
                source: Box::new(source),
            })?;
            self.uploads.add_source(&wanted, &fetched);
            Ok((name.clone(), fetched))
        };
        request.sources.iter().map(fetch).collect()
    }

    /// Sends a package to the shared caches.
    fn upload(&self, request: &PackageRequest, built: &Built, observer: &dyn Observer) {
        let id = &request.package.id;
        let (archive, text) = (self.cache.archive(id), &request.package.buildinfo_full);
        if !built.compression.is_default() {
            if !self.uploads.lanes().is_empty() {
                let level = built.compression;
                let message = UnprovenError::Level { archive: archive.clone(), level }.to_string();
                let message = with_hint(message, Some(&build_again(&archive)));
                observer.event(Event::Warning { subject: id.to_string(), message });
            }
            return;
        }
        self.uploads.add_package(PackageUpload::new(id, archive, built, text));
    }

    /// Builds a package in a helper; returns what the build leaves.
    fn build(
        &self,
        build: LocalBuild<'_>,
        helper: &mut HelperSlot,
        before: &mut Option<Leftovers>,
        phases: &mut Phases<'_>,
    ) -> Result<Leftovers, BuildError> {
        let LocalBuild { request, runner, job, files } = build;
        let (id, variant) = (&request.package.id, &request.key.variant);
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let BuildFiles { scratch, output, kept } = files;
        let mut latest = None;
        let observer = phases.observer;
        let ran = runner.run(&job, scratch, helper, observer, |phase| {
            phases.enter(phase);
            // The thread is idle until the next message.
            if before.as_ref().is_some_and(Leftovers::are_cleared) {
                *before = None;
            }
            if phase == Phase::Build {
                // Written while the script runs, so that after it only a rename is left.
                latest = Some(self.cache.prepare_latest(id, variant));
            }
        })?;
        let (phase, ending) = (phases.watch.phase(), phases.ending(&ran.result));
        let watch = phases.watch.clone();
        let record = watch.record(&request.declared, &job, ending);
        // Before the archive: a killed run leaves a record without its package at worst, and that
        // is built again.
        record.write(&kept).map_err(file("write the record"))?;
        match ran.result {
            Ok(built) => {
                tracing::info!(package = %id, notes = ?built.notes, "a helper is done");
                // Before the archive has its name: with the archive there, the package would not be
                // built again for its `src`.
                if job.package.keep {
                    let folder = self.cache.package_folder(id.name());
                    let kept = ran.leftovers.scratch().keep(&["src", "result"], &folder);
                    kept.map_err(file("keep src and result"))?;
                }
                output.commit().map_err(file("put the archive in place"))?;
                runner.sums.note(&self.cache.archive(id), built.sha256.clone());
                self.upload(request, &built, phases.observer);
                let latest = latest.unwrap_or_else(|| self.cache.prepare_latest(id, variant));
                latest
                    .and_then(|latest| latest.map_or(Ok(()), PreparedFile::put_in_place))
                    .map_err(file("write latest"))?;
                Ok(ran.leftovers)
            }
            Err(failure) => {
                let is_kept = self.keep(request, &job, ran.leftovers.scratch(), observer);
                let mut error = failed(&job, phase, failure);
                if let BuildError::Failed(failed) = &mut error {
                    failed.is_kept = is_kept;
                }
                Err(error)
            }
        }
    }

    /// Keeps what a failed build left, if that is wanted; true if it is kept.
    fn keep(
        &self,
        request: &PackageRequest,
        job: &BuildJob,
        scratch: &ScratchDir,
        observer: &dyn Observer,
    ) -> bool {
        let Some(age) = self.keep_failed else { return false };
        let (home, cache) = (&self.local.settings.home, self.cache.root());
        let keeping = Keeping { home, cache, variant: &request.key.variant, age };
        kept::keep(&keeping, &request.package, job, scratch).unwrap_or_else(|error| {
            let message = format!("what the failed build left is not kept: {error}");
            let subject = request.package.id.to_string();
            observer.event(Event::Warning { subject, message });
            false
        })
    }
}
