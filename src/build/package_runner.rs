//! Runs the build of one package whose inputs are at hand: the one place where a [`BuildJob`] is made.
//!
//! The inputs come from a tree ([`super::supply`]) or from a portable job. The scratch folder, copies for
//! the container's root, registration and the helper are the same for both.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::atomic::AtomicFile;
use crate::base::event::{Event, Observer, Phase};
use crate::container::helper::{HelperError, HelperSlot, Interrupt};
use crate::package::{PackageId, SourceName};
use crate::runner::aliases::Aliases;
use crate::runner::follow::following;
use crate::runner::home::{Home, give_folder};
use crate::runner::job::JobFailure;
use crate::runner::log_tail::last_lines;
use crate::runner::readable::InputCopies;
use crate::runner::scratch::ScratchDir;
use crate::runner::session::{JobError, Ran, RunnerSettings, Session};
use crate::runner::uses::{Registration, Used};
use crate::source::FetchedSource;

use super::archive_sums::ArchiveSums;
use super::failed::{BuildError, FailedBuild};
use super::job::{BuildJob, Built, Dependency, PackageBuild};
use super::jobserver::{Jobserver, JobserverAccess};
use super::record::{BuildEnding, Stopwatch};
use super::schedule::Share;

/// Runner of package builds in a session of containers.
#[derive(Debug)]
pub struct PackageRunner {
    /// Folder of the builder itself.
    pub home: Home,
    /// Containers of the run.
    pub session: Session,
    /// Interruption of the run.
    pub interrupt: Arc<Interrupt>,
    /// Registration of the run, extended by the unpacked packages that a build uses.
    pub registration: Arc<Registration>,
    /// Sums of archives, each found out once.
    pub sums: ArchiveSums,
    /// True if the output of build scripts is shown while they run.
    pub shows_output: bool,
}

/// A build's share of the machine's cores.
#[derive(Debug, Clone)]
pub struct CoreShare {
    /// Number of cores announced to the build.
    pub told: u32,
    /// Access to the jobserver.
    pub jobserver: Option<JobserverAccess>,
}

impl CoreShare {
    /// Begins the use of a share, with tokens of a jobserver.
    pub fn new(share: &Share, jobserver: Option<&Jobserver>) -> Self {
        Self {
            told: u32::try_from(share.told).unwrap_or(u32::MAX),
            jobserver: jobserver.map(|jobserver| jobserver.begin(share.own, share.is_shared())),
        }
    }
}

/// Files and folders of a build.
#[derive(Debug)]
pub struct BuildFiles {
    /// Scratch folder.
    pub scratch: ScratchDir,
    /// Archive under a temporary name.
    pub output: AtomicFile,
    /// Folder with log and record.
    pub kept: PathBuf,
}

/// Phases of one package, timed and reported.
pub struct Phases<'a> {
    /// Package.
    pub package: &'a PackageId,
    /// Times.
    pub watch: Stopwatch,
    /// Observer of the run.
    pub observer: &'a dyn Observer,
}

impl std::fmt::Debug for Phases<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Phases").field("package", self.package).finish_non_exhaustive()
    }
}

impl<'a> Phases<'a> {
    /// Phases of a package that begins now.
    pub fn new(package: &'a PackageId, observer: &'a dyn Observer) -> Self {
        Self { package, watch: Stopwatch::default(), observer }
    }

    /// Ends the current phase, and starts another one.
    pub fn enter(&mut self, phase: Phase) {
        tracing::debug!(package = %self.package, phase = phase.as_str(), "entering a phase");
        self.watch.enter(phase);
        self.observer.event(Event::Phase { package: self.package.to_string(), phase });
    }

    /// Ending of a build, for its record.
    pub fn ending(&self, result: &Result<Built, JobFailure>) -> BuildEnding {
        match result {
            Ok(built) => BuildEnding::Built(built.clone()),
            Err(failure) => {
                BuildEnding::Failed { phase: self.watch.phase(), message: failure.message.clone() }
            }
        }
    }
}

impl PackageRunner {
    /// Makes the runner of a single build, and gives the folder of unpacked packages to the root of
    /// the session's containers.
    pub fn of_one_build(
        build: &PackageBuild,
        settings: &RunnerSettings,
        session: Session,
        registration: Registration,
        shows_output: bool,
    ) -> io::Result<Self> {
        give_folder(&settings.home.packages(), &session.machine().map)?;
        Ok(Self {
            home: settings.home.clone(),
            session,
            interrupt: Arc::clone(&settings.interrupt),
            registration: Arc::new(registration),
            sums: ArchiveSums::of(&build.dependencies),
            shows_output,
        })
    }

    /// Makes the files and folders of a build: an archive that will be at `archive`, and an empty log in
    /// the folder `kept`.
    pub fn files(
        &self,
        id: &PackageId,
        archive: &Path,
        kept: PathBuf,
    ) -> Result<BuildFiles, BuildError> {
        let file = |what| move |source| BuildError::File { id: id.clone(), what, source };
        let scratch = self.session.scratch_dir("build-").map_err(file("make a scratch folder"))?;
        let output = AtomicFile::create(archive).map_err(file("start the archive"))?;
        fs_err::create_dir_all(&kept).map_err(file("make the build's folder"))?;
        start_log(&kept.join("log")).map_err(file("start the log"))?;
        Ok(BuildFiles { scratch, output, kept })
    }

    /// The helper's job, with copies of inputs that only real root can read.
    pub fn job(
        &self,
        package: &PackageBuild,
        share: &CoreShare,
        sources: &[(SourceName, FetchedSource)],
        files: &BuildFiles,
    ) -> Result<BuildJob, BuildError> {
        let id = &package.id;
        let map = &self.session.machine().map;
        let home = files.scratch.path().join("inputs");
        let limits = self.session.archive_limits();
        let mut copies = InputCopies::new(map, home, limits, &self.interrupt);
        let mut aliases = Aliases::new(files.scratch.path().join("names"));
        let mut copied = || -> io::Result<_> {
            let mut package = package.clone();
            self.sums.fill(&mut package.dependencies, limits, &self.interrupt)?;
            // Before the copies: from here on, a collection leaves the unpacked packages alone.
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
    fn register(&self, package: &PackageBuild) -> io::Result<()> {
        let packages = package.dependencies.iter().map(Dependency::folder).collect();
        self.registration.add(&Used { packages, ..Used::default() }, || ())
    }

    /// Has a helper do a job, and waits for its answer.
    pub fn run(
        &self,
        job: &BuildJob,
        scratch: ScratchDir,
        helper: &mut HelperSlot,
        observer: &dyn Observer,
        on_phase: impl FnMut(Phase),
    ) -> Result<Ran<Built>, BuildError> {
        let id = &job.package.id;
        tracing::info!(package = %id, scratch = %scratch.path().display(), cores = job.threads, "sending it to a helper");
        let run = || self.session.run(helper, &id.to_string(), job, scratch, on_phase);
        let ran = if self.shows_output {
            following(&job.log, &id.to_string(), observer, run)
        } else {
            run()
        };
        ran.map_err(|source| BuildError::Job { id: id.clone(), source })
    }
}

/// Empties the log, which may be shown meanwhile. A symlink or a FIFO in its place is removed: the one may lead anywhere,
/// and the other would be waited for.
pub(super) fn start_log(log: &Path) -> io::Result<()> {
    if fs_err::symlink_metadata(log).is_ok_and(|data| !data.is_file()) {
        fs_err::remove_file(log)?;
    }
    fs_err::write(log, "")
}

/// Error of a failed build, with the end of its log.
pub fn failed(job: &BuildJob, phase: Phase, failure: JobFailure) -> BuildError {
    let log = failure.see_log.then(|| job.log.clone());
    let tail = log.as_deref().map(last_lines).unwrap_or_default();
    let id = job.package.id.clone();
    BuildError::Failed(Box::new(FailedBuild { id, phase, failure, log, tail, is_kept: false }))
}

/// Error of a build whose run was interrupted.
pub fn interrupted(id: &PackageId) -> BuildError {
    BuildError::Job { id: id.clone(), source: JobError::Helper(HelperError::Interrupted) }
}
