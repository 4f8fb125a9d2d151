//! The build of a job, in containers of this machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::budget::CopyBudget;
use super::document::{JobImage, JobLimits};
use super::error::PortableJobError;
use super::folder::{JobFolder, layer_name};
use super::inputs::{self, JobInputs};
use super::results::{self, JobOutcome, JobRecord, PackageSums, Results};
use super::unable::Unable;
use crate::archive::{ArchiveLimits, CompressionLevel};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer, PackageOutcome, Phase};
use crate::build::execute::demand;
use crate::build::id::FileHasher;
use crate::build::job::{BuildJob, BuildSettings};
use crate::build::jobserver::{Jobserver, Style};
use crate::build::package_runner::{CoreShare, PackageRunner, Phases, failed};
use crate::build::record::{BuildEnding, Record};
use crate::build::schedule::Cores;
use crate::build::supply::BuildError;
use crate::container::helper::HelperSlot;
use crate::container::namespace::Network;
use crate::runner::command::CommandRoot;
use crate::runner::home::Home;
use crate::runner::job::JobFailure;
use crate::runner::scratch::InputsFolder;
use crate::runner::session::{
    JobError as NoAnswer, RunLimits, RunnerSettings, Session, SessionError,
};
use crate::runner::uses::{self, Used};

/// Options of carrying a job out.
#[derive(Debug)]
pub struct JobRunOptions {
    /// Folder of the results; `out` in the job's folder by default.
    pub out: Option<PathBuf>,
    /// Settings of everything that runs in containers.
    pub runner: RunnerSettings,
    /// Number of cores.
    pub cores: usize,
    /// Way of announcing the jobserver; `None` for a fixed number of cores.
    pub jobserver: Option<Style>,
    /// True if the output of the build script is shown while it runs.
    pub shows_output: bool,
}

/// Build that came to an end.
struct Ended {
    /// Record, of a build that a helper has answered.
    record: Option<Record>,
    /// Package, or reason why there is none.
    result: Result<(), PortableJobError>,
}

impl From<PortableJobError> for Ended {
    fn from(error: PortableJobError) -> Self {
        Self { record: None, result: Err(error) }
    }
}

/// Carries a job out, and returns the path of the package. The record is written for a build that failed
/// and for a machine that is not able, too, but not for a job that is refused.
pub fn run(
    job: &JobFolder,
    options: &JobRunOptions,
    observer: &dyn Observer,
) -> Result<PathBuf, PortableJobError> {
    // Before anything else: results of an earlier run must not be taken for those of this one.
    let out = Results::prepare(options.out.as_deref(), job)?;
    let Ended { record, result } = build(job, options, &out, observer).unwrap_or_else(Ended::from);
    // A build that was killed looks as if it failed, and a copy that was cut off as if it were damaged.
    if result.is_err() && options.runner.interrupt.is_raised() {
        // Without a record, a log would be that of something else. A removal that fails leaves the log.
        drop(out.clear());
        return Err(PortableJobError::Interrupted);
    }
    let outcome = match &result {
        Ok(()) => JobOutcome::Built,
        Err(PortableJobError::Build(_)) => JobOutcome::Failed,
        Err(PortableJobError::Unable(_)) => JobOutcome::Unable,
        // The job is refused.
        Err(_) => return result.map(|()| out.path(results::PACKAGE)),
    };
    let package = match record.as_ref().map(|record| &record.ending) {
        Some(BuildEnding::Built(built)) => Some(PackageSums {
            sha256: built.sha256.clone(),
            sha1: built.sha1.clone(),
            bytes: built.bytes,
        }),
        _ => None,
    };
    let error = result.as_ref().err();
    let job_record = JobRecord {
        version: results::VERSION,
        id: job.document.id.clone(),
        job: job.sum.clone(),
        outcome,
        package,
        message: error.map(|error| with_causes(error)),
        hint: error.and_then(PortableJobError::hint),
        build: record,
    };
    out.write(&job_record).map_err(Unable::file("write the record"))?;
    result.map(|()| out.path(results::PACKAGE))
}

/// Limits of the machine, lowered by those of the job.
fn lowered(settings: &RunnerSettings, limits: &JobLimits) -> (RunLimits, ArchiveLimits) {
    fn least<N: Ord>(own: Option<N>, other: Option<N>) -> Option<N> {
        match (own, other) {
            (Some(own), Some(other)) => Some(own.min(other)),
            (own, other) => own.or(other),
        }
    }
    let (own, archives) = (settings.limits, settings.archives);
    let run = RunLimits {
        time: least(own.time, limits.time.map(Duration::from_secs)),
        memory: least(own.memory, limits.memory),
        processes: least(own.processes, limits.processes),
        log: own.log.min(limits.log.unwrap_or(u64::MAX)),
    };
    let archives = ArchiveLimits {
        max_bytes: archives.max_bytes.min(limits.unpacked.unwrap_or(u64::MAX)),
        max_entries: archives.max_entries.min(limits.entries.unwrap_or(u64::MAX)),
        ..archives
    };
    (run, archives)
}

/// Settings of this machine's user, with the job's tier and limits.
fn settings(job: &JobFolder, own: &RunnerSettings) -> Result<RunnerSettings, Unable> {
    let mut settings = own.clone();
    match (own.isolation.tier, job.document.tier) {
        (Some(demanded), Some(wanted)) if demanded != wanted => {
            return Err(Unable::Tier { wanted, demanded });
        }
        // The machine's own demand counts more: a job may only ask.
        (own, wanted) => settings.isolation.tier = own.or(wanted),
    }
    (settings.limits, settings.archives) = lowered(own, &job.document.limits);
    Ok(settings)
}

/// Refuses a home or a scratch folder within the job's folder, before anything is made there.
fn check_places(job: &JobFolder, home: &Home) -> Result<(), Unable> {
    let places =
        [("the builder's own folder", home.root()), ("the scratch folder", home.scratch_path())];
    for (what, path) in places {
        let real = path.ancestors().find_map(|above| fs_err::canonicalize(above).ok());
        if real.is_some_and(|real| real.starts_with(job.path())) {
            return Err(Unable::InJob { what, path: path.to_owned() });
        }
    }
    Ok(())
}

fn build(
    job: &JobFolder,
    options: &JobRunOptions,
    out: &Results,
    observer: &dyn Observer,
) -> Result<Ended, PortableJobError> {
    let settings = settings(job, &options.runner)?;
    let home = &settings.home;
    check_places(job, home)?;
    let place = InputsFolder::create(home).map_err(Unable::file("make a scratch folder"))?;
    let build_settings = BuildSettings {
        source_date_epoch: job.document.source_date_epoch,
        compression: CompressionLevel::Default,
        // A job has all of its inputs.
        network: Network::None,
        time_limit: settings.limits.time,
        log_limit: settings.limits.log,
        keep: false,
        keep_failed: false,
    };
    let budget = CopyBudget::new(settings.archives, &settings.interrupt);
    let hasher = FileHasher::of(&settings);
    let inputs = inputs::prepare(job, &place.path(), &budget, &hasher, &build_settings)?;
    let used = used(job, &inputs);
    let waiting = || uses::say_waiting(observer);
    let registration = uses::register(home, &used, waiting)
        .map_err(Unable::file("use the builder's own folder"))?;
    let (session, helper) = Session::open(&settings, observer).map_err(no_session)?;
    check_layers(job, session.layers(), &budget)?;
    let shows_output = options.shows_output;
    let runner =
        PackageRunner::of_one_build(&inputs.build, &settings, session, registration, shows_output)
            .map_err(Unable::file("use the builder's own folder"))?;
    let scratch = runner.session.scratch();
    let jobserver = Jobserver::start_if_useful(scratch, options.cores, options.jobserver, observer);
    let carried_out = carry_out(
        &runner,
        helper,
        &inputs,
        &place.path(),
        (options.cores, jobserver.as_ref()),
        out,
        observer,
    );
    // Before the session, whose scratch folder has the fifo.
    drop(jobserver);
    carried_out
}

fn no_session(error: SessionError) -> Unable {
    Unable::Session(Box::new(error))
}

/// Items of the home that the build uses.
fn used(job: &JobFolder, inputs: &JobInputs) -> Used {
    let mut used = Used::default();
    if let CommandRoot::Layers(layers) = &inputs.build.root {
        used.layers.extend(layers.iter().map(|layer| layer.diff_id.hex().to_owned()));
    }
    if let JobImage::Layers { id, .. } = &job.document.image {
        used.images.insert(id.to_string());
    }
    used
}

/// Checks the layers that are not unpacked yet.
fn check_layers(
    job: &JobFolder,
    unpacked: &Path,
    budget: &CopyBudget<'_>,
) -> Result<(), PortableJobError> {
    let JobImage::Layers { layers, .. } = &job.document.image else { return Ok(()) };
    // An image may have a layer twice.
    let mut seen = BTreeSet::new();
    for layer in layers {
        if seen.insert(layer.hex()) && !unpacked.join(layer.hex()).is_dir() {
            job.check(&layer_name(layer), layer.sum(), budget)?;
        }
    }
    Ok(())
}

/// Builds the package in a folder of our own, and puts copies of the results in place.
fn carry_out(
    runner: &PackageRunner,
    mut helper: HelperSlot,
    inputs: &JobInputs,
    place: &Path,
    (cores, jobserver): (usize, Option<&Jobserver>),
    out: &Results,
    observer: &dyn Observer,
) -> Result<Ended, PortableJobError> {
    let began = Instant::now();
    let JobInputs { build, sources, declared } = inputs;
    let demand = demand(jobserver, build);
    let share = Cores::new(cores, 1).take(0, demand);
    let share = CoreShare::new(&share, jobserver);
    let archive = place.join(results::PACKAGE);
    let files = runner.files(&build.id, &archive, place.join("kept")).map_err(unanswered)?;
    let job = runner.job(build, &share, sources, &files).map_err(unanswered)?;
    let mut phases = Phases::new(&build.id, observer);
    let ran = runner.run(&job, files.scratch, &mut helper, observer, |phase| phases.enter(phase));
    let phase = phases.watch.phase();
    let took = began.elapsed();
    let package = build.id.to_string();
    // Before the outcome is looked at: a failed build is explained by its log.
    out.put(&job.log, results::LOG).map_err(Unable::file("copy the log"))?;
    let log = Some(out.path(results::LOG));
    let ran = ran.map_err(|error| {
        let error = unanswered(error);
        if matches!(error, PortableJobError::Build(_)) {
            let (package, log) = (package.clone(), log.clone());
            observer.event(Event::Failed { package, phase, took, log });
        }
        error
    })?;
    let ending = phases.ending(&ran.result);
    let record = phases.watch.record(declared, &job, ending);
    let Err(failure) = ran.result else {
        files.output.commit().map_err(Unable::file("keep the archive"))?;
        out.put(&archive, results::PACKAGE).map_err(Unable::file("copy the package"))?;
        observer.event(Event::Finished { package, how: PackageOutcome::Built, took });
        return Ok(Ended { record: Some(record), result: Ok(()) });
    };
    observer.event(Event::Failed { package, phase, took, log: log.clone() });
    let error = failed_build(&job, phase, failure, log);
    Ok(Ended { record: Some(record), result: Err(error) })
}

/// Classifies a failure that a helper has reported. `log` is a copy of the job's log, which stays.
fn failed_build(
    job: &BuildJob,
    phase: Phase,
    failure: JobFailure,
    log: Option<PathBuf>,
) -> PortableJobError {
    if failure.no_room {
        let JobFailure { message, hint, .. } = failure;
        return Unable::NoRoom { message, hint }.into();
    }
    // Inputs that cannot be prepared are a matter of the machine, unless a command says otherwise.
    let of_machine = phase == Phase::Prepare && !failure.see_log;
    let mut error = failed(job, phase, failure);
    if of_machine {
        return Unable::Helper(Box::new(error)).into();
    }
    if let BuildError::Failed(failed) = &mut error {
        failed.log = failed.log.take().and(log);
    }
    PortableJobError::Build(Box::new(error))
}

/// Classifies the error of a build that came to no answer: a time limit is the build's, all else the machine's.
fn unanswered(error: BuildError) -> PortableJobError {
    match error {
        error if error.is_interruption() => PortableJobError::Interrupted,
        BuildError::Job { source: NoAnswer::TimeLimit { .. }, .. } => {
            PortableJobError::Build(Box::new(error))
        }
        error => Unable::Helper(Box::new(error)).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runner::isolation::TierRequest;

    #[test]
    fn limits_are_lowered_and_never_raised() {
        let limits = RunLimits {
            time: Some(Duration::from_secs(60)),
            memory: None,
            processes: Some(10),
            log: 1000,
        };
        let own = RunnerSettings {
            home: Home::new("/h".into(), None),
            isolation: TierRequest { tier: None, root_range: None, search_path: String::new() },
            limits,
            archives: ArchiveLimits { max_bytes: 50, max_entries: 60, ..ArchiveLimits::NONE },
            interrupt: Arc::default(),
            notes: Arc::default(),
        };
        let higher = JobLimits {
            time: Some(61),
            memory: Some(5),
            processes: Some(11),
            log: Some(1001),
            unpacked: Some(51),
            entries: Some(u64::MAX),
        };
        let (run, archives) = lowered(&own, &higher);
        // Where the user sets no limit, the job may.
        assert_eq!(run, RunLimits { memory: Some(5), ..limits });
        assert_eq!(archives, own.archives);
        let lower = JobLimits { time: Some(59), log: Some(1), unpacked: Some(2), ..higher };
        let (run, archives) = lowered(&own, &lower);
        assert_eq!((run.time, run.log), (Some(Duration::from_secs(59)), 1));
        assert_eq!((archives.max_bytes, archives.max_entries), (2, 60));
        assert_eq!(lowered(&own, &JobLimits::default()), (limits, own.archives));
    }
}
