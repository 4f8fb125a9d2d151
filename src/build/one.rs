//! Building one package: from "it isn't in the cache" to "it is", by way of a helper.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::artifact::repository::Repository;
use crate::base::atomic::{self, AtomicFile, PreparedFile};
use crate::base::event::{Event, Observer, Outcome, Phase};
use crate::base::lock::FileLock;
use crate::container::cgroup::{Cgroup, Delegation, Limits};
use crate::container::helper::{HelperError, HelperPlace, Interrupt};
use crate::package::{PackageId, Source, SourceName, Variant};
use crate::source::{self, SourceId, SourceRequest};

use super::cache::Cache;
use super::failed::last_lines;
use super::home::Home;
use super::job::{Answer, BuildJob, Built, Failure, Job};
use super::jobserver::Jobserver;
use super::readable;
use super::record::{Ending, Stopwatch};
use super::scratch::{Leftovers, ScratchFolder};

pub use super::failed::{BuildError, FailedBuild};

/// What all builds of a run share.
#[derive(Debug)]
pub struct Workshop {
    /// The builder's own folder.
    pub home: Home,
    /// The tree's cache.
    pub cache: Cache,
    /// How sources are fetched.
    pub fetch: source::FetchOptions,
    /// Where packages may be taken from.
    pub repository: Option<Repository>,
    /// Limits of memory and processes, and the cgroups in which they can be set.
    pub limits: Option<(Limits, Delegation)>,
    /// The run's scratch folder.
    pub scratch: PathBuf,
    /// An empty folder, on which each helper mounts its view.
    pub view: PathBuf,
    /// By what builds share the cores, if not by fixed shares.
    pub jobserver: Option<Jobserver>,
    /// Ends everything.
    pub interrupt: Arc<Interrupt>,
}

/// A package to be built.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its variant, for `latest`.
    pub key: crate::package::Requirement,
    /// The helper's job; sources, scratch folder and files are filled in here.
    pub job: BuildJob,
    /// Its sources.
    pub sources: Vec<(SourceName, Source, SourceId)>,
}

/// How much longer than its time limit a build may take before its helper is taken for stopped.
const GRACE: Duration = Duration::from_secs(10);

impl Workshop {
    /// Makes a package be in the cache. What its build left may still be on its way out then, and is
    /// in the place of `before`, what an earlier one left, which has gone meanwhile.
    pub fn supply(
        &self,
        order: &Order,
        place: &mut HelperPlace,
        before: &mut Option<Leftovers>,
        observer: &dyn Observer,
    ) -> Result<(), BuildError> {
        let began = Instant::now();
        let mut watch = Stopwatch::default();
        let result = self.supply_timed(order, place, before, &mut watch, observer);
        let package = order.job.id.to_string();
        let took = began.elapsed();
        observer.event(match &result {
            Ok(how) => Event::Finished { package, how: *how, took },
            // Whatever the error says then, its cause is that the run is over.
            Err(_) if self.interrupt.is_raised() => {
                Event::Interrupted { package, phase: watch.phase(), took }
            }
            Err(error) => {
                let log = error.log().map(Path::to_owned);
                Event::Failed { package, phase: watch.phase(), took, log }
            }
        });
        result.map(drop)
    }

    fn supply_timed(
        &self,
        order: &Order,
        place: &mut HelperPlace,
        before: &mut Option<Leftovers>,
        watch: &mut Stopwatch,
        observer: &dyn Observer,
    ) -> Result<Outcome, BuildError> {
        let id = &order.job.id;
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let mut enter = |watch: &mut Stopwatch, phase: Phase| {
            tracing::debug!(package = %id, phase = phase.as_str(), "entering a phase");
            watch.enter(phase);
            observer.event(Event::Phase { package: id.to_string(), phase });
        };
        let lock = self.home.package_lock(self.cache.root(), id);
        let waiting = || enter(watch, Phase::Wait);
        let _lock = FileLock::acquire_unless(&lock, waiting, || self.interrupt.is_raised())
            .map_err(file("take the package's lock"))?
            .ok_or_else(|| interrupted(id))?;
        if self.cache.has(id) {
            // Another process built it in the meantime.
            self.cache.write_latest(id, &order.key.variant).map_err(file("write latest"))?;
            return Ok(Outcome::Cached);
        }
        enter(watch, Phase::Fetch);
        self.sweep(id).map_err(file("sweep the package's folder"))?;
        if self.fetch_package(id, &order.job, observer)? {
            self.cache.write_latest(id, &order.key.variant).map_err(file("write latest"))?;
            return Ok(Outcome::Fetched);
        }
        let mut job = order.job.clone();
        job.sources = self.fetch_sources(order, observer)?;
        let variant = &order.key.variant;
        let leftovers = self.build(job, variant, place, before, watch, &mut enter)?;
        *before = Some(leftovers);
        Ok(Outcome::Built)
    }

    /// Removes what runs that died have left of a package's archives.
    fn sweep(&self, id: &PackageId) -> std::io::Result<()> {
        match atomic::sweep_temporaries(&self.cache.package_folder(id.name())) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn fetch_package(
        &self,
        id: &PackageId,
        job: &BuildJob,
        observer: &dyn Observer,
    ) -> Result<bool, BuildError> {
        let Some(repository) = &self.repository else { return Ok(false) };
        repository
            .fetch_package(
                id,
                &self.cache.archive(id),
                &job.limits,
                &crate::package::contents::check,
                observer,
            )
            .map_err(|source| BuildError::Repository { id: id.clone(), source: Box::new(source) })
    }

    fn fetch_sources(
        &self,
        order: &Order,
        observer: &dyn Observer,
    ) -> Result<Vec<(SourceName, source::Fetched)>, BuildError> {
        let fetch = |(name, declared, source_id): &(SourceName, Source, SourceId)| {
            let request = SourceRequest {
                package: order.key.name.clone(),
                package_dir: order.job.package_folder.clone(),
                cache_dir: self.cache.source(&order.key.name, name),
                name: name.clone(),
                source: declared.clone(),
            };
            let fetched =
                source::fetch(&request, source_id, &self.fetch, observer).map_err(|source| {
                    BuildError::Source {
                        id: order.job.id.clone(),
                        name: name.clone(),
                        source: Box::new(source),
                    }
                })?;
            Ok((name.clone(), fetched))
        };
        order.sources.iter().map(fetch).collect()
    }

    fn build(
        &self,
        mut job: BuildJob,
        variant: &Variant,
        place: &mut HelperPlace,
        before: &mut Option<Leftovers>,
        watch: &mut Stopwatch,
        enter: &mut dyn FnMut(&mut Stopwatch, Phase),
    ) -> Result<Leftovers, BuildError> {
        let id = job.id.clone();
        let file = |what| {
            let id = id.clone();
            move |source| BuildError::File { id, what, source }
        };
        let scratch = ScratchFolder::create(&self.scratch, &self.view, &job)
            .map_err(file("make a scratch folder"))?;
        job.scratch.clone_from(&scratch.path);
        job.view.clone_from(&self.view);
        let output =
            AtomicFile::create(&self.cache.archive(&id)).map_err(file("start the archive"))?;
        output.temporary_path().clone_into(&mut job.output);
        let kept = self.home.build(&id);
        fs_err::create_dir_all(&kept).map_err(file("make the build's folder"))?;
        job.log = kept.join("log");
        fs_err::write(&job.log, "").map_err(file("start the log"))?;
        let cgroup = match &self.limits {
            Some((limits, delegation)) => Some(
                delegation
                    .create(&id.to_string(), *limits)
                    .map_err(|source| BuildError::Limits { id: id.clone(), source })?,
            ),
            None => None,
        };
        readable::make_readable(&mut job, &self.interrupt).map_err(|source| {
            if self.interrupt.is_raised() {
                return interrupted(&id);
            }
            BuildError::File { id: id.clone(), what: "copy what only root may read", source }
        })?;
        tracing::info!(package = %id, scratch = %scratch.path.display(), cores = job.threads, "handing it to a helper");
        let mut latest = None;
        let deadline = Cell::new(None);
        let time_limit = job.time_limit;
        let wrapped = Job::Build(Box::new(job));
        let hear = |answer| match answer {
            Answer::Phase(phase) => {
                enter(watch, phase);
                let until = || Instant::now().checked_add(time_limit?.checked_add(GRACE)?);
                deadline.set(if phase == Phase::Build { until() } else { None });
                // There is nothing else to do here until the next answer.
                if before.as_ref().is_some_and(Leftovers::are_cleared) {
                    *before = None;
                }
                if phase == Phase::Build {
                    latest = Some(self.cache.prepare_latest(&id, variant));
                }
                None
            }
            Answer::Built(built) => Some(Ok(built)),
            Answer::Failed(failure) => Some(Err(failure)),
            Answer::Probed(_)
            | Answer::Removed
            | Answer::Measured(_)
            | Answer::Copied
            | Answer::Unpacked => None,
        };
        let heard = place.run(&wrapped, cgroup.as_ref(), &deadline, hear);
        let Job::Build(job) = wrapped else { unreachable!("it was made above") };
        let (mut result, process) =
            heard.map_err(|source| BuildError::Helper { id: id.clone(), source })?;
        if let Err(failure) = &mut result
            && cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory)
        {
            failure.hint =
                Some("the build ran out of memory: raise limits.memory in mkpanda.toml, or MKPANDA_LIMITS_MEMORY".to_owned());
        }
        write_record(&kept, &job, watch.clone(), &result).map_err(file("write the record"))?;
        match result {
            Ok(built) => {
                tracing::info!(package = %id, notes = ?built.notes, "a helper is done");
                if job.keep {
                    scratch
                        .keep(&self.cache.package_folder(id.name()))
                        .map_err(file("keep src and result"))?;
                }
                output.commit().map_err(file("put the archive in place"))?;
                let latest = latest.unwrap_or_else(|| self.cache.prepare_latest(&id, variant));
                latest
                    .and_then(|latest| latest.map_or(Ok(()), PreparedFile::put_in_place))
                    .map_err(file("write latest"))?;
                Ok(Leftovers { process, _cgroup: cgroup, _scratch: scratch })
            }
            Err(failure) => {
                let log = failure.see_log.then(|| job.log.clone());
                let tail = log.as_deref().map(last_lines).unwrap_or_default();
                Err(BuildError::Failed(Box::new(FailedBuild { id, failure, log, tail })))
            }
        }
    }
}

fn interrupted(id: &PackageId) -> BuildError {
    BuildError::Helper { id: id.clone(), source: HelperError::Interrupted }
}

fn write_record(
    kept: &Path,
    job: &BuildJob,
    watch: Stopwatch,
    result: &Result<Built, Failure>,
) -> std::io::Result<()> {
    let ending = match result {
        Ok(built) => Ending::Built(built.clone()),
        Err(failure) => Ending::Failed { phase: failure.phase, message: failure.message.clone() },
    };
    let text = serde_json::to_string_pretty(&watch.record(job, ending))?;
    // Not synced: a record that is lost with the power is no loss.
    let temporary = kept.join(format!("{}record.json", atomic::TEMPORARY_PREFIX));
    let written = fs_err::write(&temporary, text)
        .and_then(|()| fs_err::rename(&temporary, kept.join("record.json")));
    if written.is_err() {
        // On a full disk, it would only be in the way.
        drop(fs_err::remove_file(temporary));
    }
    written
}
