//! Making one package be in the cache: from there already, from a repository, or by a build in a helper.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::artifact::repository::Repository;
use crate::base::atomic::{self, AtomicFile, PreparedFile};
use crate::base::event::{Event, Observer, Outcome, Phase};
use crate::base::lock::FileLock;
use crate::container::helper::{HelperError, HelperSlot, Interrupt};
use crate::package::{PackageId, Source, SourceName};
use crate::runner::aliases::Aliases;
use crate::runner::follow::following;
use crate::runner::home::Home;
use crate::runner::log_tail::last_lines;
use crate::runner::readable::InputCopies;
use crate::runner::scratch::{Leftovers, ScratchDir};
use crate::runner::session::{JobError, Session};
use crate::runner::uses::{Registration, Used};
use crate::source::{self, LocalScope, SourceId, SourceRequest};

use super::archive_sums::ArchiveSums;
use super::cache::Cache;
use super::job::{BuildJob, Dependency, PackageBuild};
use super::jobserver::{Access, Jobserver};
use super::record::{self, Declared, Ending, Stopwatch};
use super::upload::{PackageUpload, Uploads};

pub use super::failed::{BuildError, FailedBuild};

/// Builder of a run's packages.
#[derive(Debug)]
pub struct PackageBuilder {
    /// Folder of the builder itself.
    pub home: Home,
    /// Cache of the tree.
    pub cache: Cache,
    /// Options of fetching sources.
    pub fetch: source::FetchOptions,
    /// Repository of prebuilt packages.
    pub repository: Option<Repository>,
    /// Jobserver of the run; without one, builds have fixed shares of the cores.
    // Declared before the session, whose scratch folder contains the fifo.
    pub jobserver: Option<Jobserver>,
    /// Containers of the run.
    pub session: Session,
    /// Interruption of the run.
    pub interrupt: Arc<Interrupt>,
    /// Registration of the run, extended by the unpacked packages that a build uses.
    pub registration: Registration,
    /// Sums of archives, each found out once.
    pub sums: ArchiveSums,
    /// Uploads to shared caches.
    pub uploads: Uploads,
    /// True if the output of build scripts is shown while they run.
    pub shows_output: bool,
}

/// A package to be built, as the plan knows it.
#[derive(Debug, Clone)]
pub struct PackageRequest {
    /// Name and variant.
    pub key: crate::package::Requirement,
    /// Inputs of the build.
    pub package: PackageBuild,
    /// Declarations for the record.
    pub declared: Declared,
    /// Declared sources.
    pub sources: Vec<(SourceName, Source, SourceId)>,
    /// Folders in which `git_local` sources may lie.
    pub local: LocalScope,
}

/// A build's share of the machine's cores.
#[derive(Debug, Clone)]
pub struct CoreShare {
    /// Number of cores announced to the build.
    pub told: u32,
    /// Access to the jobserver.
    pub jobserver: Option<Access>,
}

/// Files and folders of a build.
struct BuildFiles {
    scratch: ScratchDir,
    output: AtomicFile,
    /// Folder with log and record.
    kept: PathBuf,
}

/// Phases of one package, timed and reported.
struct Phases<'a> {
    package: &'a PackageId,
    watch: Stopwatch,
    observer: &'a dyn Observer,
}

impl Phases<'_> {
    fn enter(&mut self, phase: Phase) {
        tracing::debug!(package = %self.package, phase = phase.as_str(), "entering a phase");
        self.watch.enter(phase);
        self.observer.event(Event::Phase { package: self.package.to_string(), phase });
    }
}

impl PackageBuilder {
    /// Ensures that a package is in the cache. `before` has the leftovers of the calling thread's
    /// previous build, which are removed meanwhile, and receives the leftovers of this build.
    pub fn supply(
        &self,
        request: &PackageRequest,
        share: &CoreShare,
        helper: &mut HelperSlot,
        before: &mut Option<Leftovers>,
        observer: &dyn Observer,
    ) -> Result<(), BuildError> {
        let began = Instant::now();
        let id = &request.package.id;
        let mut phases = Phases { package: id, watch: Stopwatch::default(), observer };
        let result = self.supply_timed(request, share, helper, before, &mut phases);
        let (package, watch) = (id.to_string(), phases.watch);
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
        request: &PackageRequest,
        share: &CoreShare,
        helper: &mut HelperSlot,
        before: &mut Option<Leftovers>,
        phases: &mut Phases<'_>,
    ) -> Result<Outcome, BuildError> {
        let id = &request.package.id;
        let variant = &request.key.variant;
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let lock = self.home.package_lock(self.cache.root(), id);
        let waiting = || phases.enter(Phase::Wait);
        let _lock = FileLock::acquire_unless(&lock, waiting, || self.interrupt.is_raised())
            .map_err(file("take the package's lock"))?
            .ok_or_else(|| interrupted(id))?;
        if self.cache.has(id) {
            // Another process built it in the meantime.
            self.cache.write_latest(id, variant).map_err(file("write latest"))?;
            return Ok(Outcome::Cached);
        }
        phases.enter(Phase::Fetch);
        // Temporary archives that dead runs have left.
        atomic::sweep_temporaries(&self.cache.package_folder(id.name())).report(phases.observer);
        if self.fetch_package(request, phases.observer)? {
            self.cache.write_latest(id, variant).map_err(file("write latest"))?;
            return Ok(Outcome::Fetched);
        }
        let sources = self.fetch_sources(request, phases.observer)?;
        let files = self.files(id)?;
        let job = self.job(request, share, &sources, &files)?;
        let leftovers = self.build(request, &job, files, helper, before, phases)?;
        *before = Some(leftovers);
        Ok(Outcome::Built)
    }

    fn fetch_package(
        &self,
        request: &PackageRequest,
        observer: &dyn Observer,
    ) -> Result<bool, BuildError> {
        let Some(repository) = &self.repository else { return Ok(false) };
        let id = &request.package.id;
        let (archive, limits) = (self.cache.archive(id), self.session.archive_limits());
        repository
            .fetch_package(id, &archive, limits, &crate::package::contents::check, observer)
            .map_err(|source| BuildError::Repository { id: id.clone(), source: Box::new(source) })
    }

    fn fetch_sources(
        &self,
        request: &PackageRequest,
        observer: &dyn Observer,
    ) -> Result<Vec<(SourceName, source::Fetched)>, BuildError> {
        let fetch = |(name, declared, source_id): &(SourceName, Source, SourceId)| {
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

    /// Makes the files and folders of a build.
    fn files(&self, id: &PackageId) -> Result<BuildFiles, BuildError> {
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let scratch = self.session.scratch_dir("build-").map_err(file("make a scratch folder"))?;
        let output =
            AtomicFile::create(&self.cache.archive(id)).map_err(file("start the archive"))?;
        let kept = self.home.build(id);
        fs_err::create_dir_all(&kept).map_err(file("make the build's folder"))?;
        start_log(&kept.join("log")).map_err(file("start the log"))?;
        Ok(BuildFiles { scratch, output, kept })
    }

    /// The helper's job, with copies of inputs that only real root can read.
    fn job(
        &self,
        request: &PackageRequest,
        share: &CoreShare,
        sources: &[(SourceName, source::Fetched)],
        files: &BuildFiles,
    ) -> Result<BuildJob, BuildError> {
        let id = &request.package.id;
        let map = &self.session.machine().map;
        let home = files.scratch.path().join("inputs");
        let mut copies =
            InputCopies::new(map, home, self.session.archive_limits(), &self.interrupt);
        let mut aliases = Aliases::new(files.scratch.path().join("names"));
        let mut copied = || -> std::io::Result<_> {
            let mut package = request.package.clone();
            self.sums.fill(
                &mut package.dependencies,
                self.session.archive_limits(),
                &self.interrupt,
            )?;
            self.register(&package)?;
            let mut package = package.readable(&mut copies)?;
            package.folder = aliases.named(&package.folder)?;
            for needed in &mut package.dependencies {
                needed.archive = aliases.named(&needed.archive)?;
            }
            let mut sources = sources.to_vec();
            for (_, source) in &mut sources {
                *source.path_mut() = aliases.named(&copies.readable(source.path())?)?;
                if let Some(converted) = source.converted_mut() {
                    *converted = aliases.named(&copies.readable(converted)?)?;
                }
            }
            Ok((package, sources, aliases.named(files.output.temporary_path())?))
        };
        let (package, sources, output) = copied().map_err(|source| {
            if self.interrupt.is_raised() {
                return interrupted(id);
            }
            BuildError::File { id: id.clone(), what: "prepare the build's inputs", source }
        })?;
        let packages = self.home.packages();
        Ok(BuildJob {
            command: package.command(&packages, share.told),
            package,
            folders: self.session.job_folders(&files.scratch),
            packages,
            sources,
            threads: share.told,
            jobserver: share.jobserver.clone(),
            output,
            log: files.kept.join("log"),
        })
    }

    /// Keeps a collection from the unpacked packages that a build is about to use.
    fn register(&self, package: &PackageBuild) -> std::io::Result<()> {
        let packages = package.dependencies.iter().map(Dependency::folder).collect();
        self.registration.add(&Used { packages, ..Used::default() }, || ())
    }

    fn build(
        &self,
        request: &PackageRequest,
        job: &BuildJob,
        files: BuildFiles,
        helper: &mut HelperSlot,
        before: &mut Option<Leftovers>,
        phases: &mut Phases<'_>,
    ) -> Result<Leftovers, BuildError> {
        let (id, variant) = (&request.package.id, &request.key.variant);
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let BuildFiles { scratch, output, kept } = files;
        tracing::info!(package = %id, scratch = %scratch.path().display(), cores = job.threads, "sending it to a helper");
        let mut latest = None;
        let observer = phases.observer;
        let run = || {
            self.session.run(helper, &id.to_string(), job, scratch, |phase| {
                phases.enter(phase);
                // The thread is idle until the next message.
                if before.as_ref().is_some_and(Leftovers::are_cleared) {
                    *before = None;
                }
                if phase == Phase::Build {
                    latest = Some(self.cache.prepare_latest(id, variant));
                }
            })
        };
        let ran = if self.shows_output {
            following(&job.log, &id.to_string(), observer, run)
        } else {
            run()
        };
        let ran = ran.map_err(|source| BuildError::Job { id: id.clone(), source })?;
        let phase = phases.watch.phase();
        let ending = match &ran.result {
            Ok(built) => Ending::Built(built.clone()),
            Err(failure) => Ending::Failed { phase, message: failure.message.clone() },
        };
        let watch = phases.watch.clone();
        write_record(&kept, &request.declared, job, watch, ending)
            .map_err(file("write the record"))?;
        match ran.result {
            Ok(built) => {
                tracing::info!(package = %id, notes = ?built.notes, "a helper is done");
                if job.package.keep {
                    let folder = self.cache.package_folder(id.name());
                    let kept = ran.leftovers.scratch().keep(&["src", "result"], &folder);
                    kept.map_err(file("keep src and result"))?;
                }
                output.commit().map_err(file("put the archive in place"))?;
                let archive = self.cache.archive(id);
                self.sums.note(&archive, built.sha256.clone());
                let text = &request.package.buildinfo_full;
                self.uploads.add_package(PackageUpload::new(id, archive, &built, text));
                let latest = latest.unwrap_or_else(|| self.cache.prepare_latest(id, variant));
                latest
                    .and_then(|latest| latest.map_or(Ok(()), PreparedFile::put_in_place))
                    .map_err(file("write latest"))?;
                Ok(ran.leftovers)
            }
            Err(failure) => {
                let log = failure.see_log.then(|| job.log.clone());
                let tail = log.as_deref().map(last_lines).unwrap_or_default();
                let id = id.clone();
                Err(BuildError::Failed(Box::new(FailedBuild { id, phase, failure, log, tail })))
            }
        }
    }
}

fn interrupted(id: &PackageId) -> BuildError {
    BuildError::Job { id: id.clone(), source: JobError::Helper(HelperError::Interrupted) }
}

/// Empties the log, which may be shown meanwhile. A symlink or a FIFO in its place is removed: the one may lead anywhere,
/// and the other would be waited for.
fn start_log(log: &Path) -> std::io::Result<()> {
    if fs_err::symlink_metadata(log).is_ok_and(|data| !data.is_file()) {
        fs_err::remove_file(log)?;
    }
    fs_err::write(log, "")
}

fn write_record(
    kept: &Path,
    declared: &Declared,
    job: &BuildJob,
    watch: Stopwatch,
    ending: Ending,
) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(&watch.record(declared, job, ending))?;
    // Not synced: a record that is lost with the power is no loss.
    let temporary = kept.join(format!("{}record.json", atomic::TEMPORARY_PREFIX));
    let written = fs_err::write(&temporary, text)
        .and_then(|()| fs_err::rename(&temporary, record::path(kept)));
    if written.is_err() {
        // On a full disk, the rest would only be in the way.
        drop(fs_err::remove_file(temporary));
    }
    written
}
