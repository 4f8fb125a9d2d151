//! The build of a job, in containers of this machine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::budget::Budget;
use super::document::{JobImage, JobLimits};
use super::error::{JobError, Unable};
use super::folder::{JobFolder, layer_name};
use super::inputs::{self, JobInputs};
use super::results::{self, JobRecord, Outcome, PackageSums, Results};
use crate::archive::Limits as ArchiveLimits;
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer, Outcome as EventOutcome, Phase};
use crate::build::archive_sums::ArchiveSums;
use crate::build::execute::demand;
use crate::build::id::FileHasher;
use crate::build::job::BuildSettings;
use crate::build::jobserver::{Jobserver, Style};
use crate::build::package_runner::{CoreShare, PackageRunner, Phases, failed};
use crate::build::record::{Ending, Record};
use crate::build::schedule::{Cores, Demand};
use crate::build::supply::BuildError;
use crate::container::helper::HelperSlot;
use crate::container::namespace::Network;
use crate::runner::command::CommandRoot;
use crate::runner::home::{Home, give_folder};
use crate::runner::scratch::InputsFolder;
use crate::runner::session::{
    JobError as NoAnswer, RunLimits, RunnerSettings, Session, SessionError,
};
use crate::runner::uses::{self, Used};

/// Options of carrying a job out.
#[derive(Debug)]
pub struct RunOptions {
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

/// Record of a build, and its error.
type Built = (Option<Record>, Option<JobError>);

/// Carries a job out, and returns the path of the package. The record is written for a build that failed
/// and for a machine that is not able, too, but not for a job that is refused.
pub fn run(
    job: &JobFolder,
    options: &RunOptions,
    observer: &dyn Observer,
) -> Result<PathBuf, JobError> {
    let out = Results::prepare(options.out.as_deref(), job)?;
    let (build, error) = match build(job, options, &out, observer) {
        Ok(built) => built,
        Err(error) => (None, Some(error)),
    };
    // A build that was killed looks as if it failed, and a copy that was cut off as if it were damaged.
    if error.is_some() && options.runner.interrupt.is_raised() {
        // Without a record, a log would be that of something else. A removal that fails leaves the log.
        drop(out.clear());
        return Err(JobError::Interrupted);
    }
    let outcome = match &error {
        None => Outcome::Built,
        Some(JobError::Build(_)) => Outcome::Failed,
        Some(JobError::Unable(_)) => Outcome::Unable,
        Some(_) => return Err(error.unwrap_or(JobError::Interrupted)),
    };
    let package = match build.as_ref().map(|record| &record.ending) {
        Some(Ending::Built(built)) => Some(PackageSums {
            sha256: built.sha256.clone(),
            sha1: built.sha1.clone(),
            bytes: built.bytes,
        }),
        _ => None,
    };
    let record = JobRecord {
        version: 1,
        id: job.document.id.clone(),
        job: job.sum.clone(),
        outcome,
        package,
        message: error.as_ref().map(|error| with_causes(error)),
        hint: error.as_ref().and_then(hint),
        build,
    };
    out.write(&record).map_err(|source| Unable::File { doing: "write the record", source })?;
    error.map_or(Ok(out.path(results::PACKAGE)), Err)
}

fn hint(error: &JobError) -> Option<String> {
    match error {
        JobError::Build(error) => match &**error {
            BuildError::Failed(failed) => failed.failure.hint.clone(),
            _ => None,
        },
        error => error.hint(),
    }
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
    options: &RunOptions,
    out: &Results,
    observer: &dyn Observer,
) -> Result<Built, JobError> {
    let settings = settings(job, &options.runner)?;
    let home = &settings.home;
    check_places(job, home)?;
    let unable = |doing| move |source| Unable::File { doing, source };
    let place = InputsFolder::create(home).map_err(unable("make a scratch folder"))?;
    let build_settings = BuildSettings {
        source_date_epoch: job.document.source_date_epoch,
        // A job has all of its inputs.
        network: Network::None,
        time_limit: settings.limits.time,
        log_limit: settings.limits.log,
        keep: false,
        keep_failed: false,
    };
    let budget = Budget::new(settings.archives, &settings.interrupt);
    let hasher = FileHasher::of(&settings);
    let inputs = inputs::prepare(job, &place.path(), &budget, &hasher, &build_settings)?;
    let used = used(job, &inputs);
    let waiting = || uses::say_waiting(observer);
    let registration =
        uses::register(home, &used, waiting).map_err(unable("use the builder's own folder"))?;
    let (session, helper) = Session::open(&settings, observer).map_err(no_session)?;
    check_layers(job, session.layers(), &budget)?;
    give_folder(&home.packages(), &session.machine().map)
        .map_err(unable("use the builder's own folder"))?;
    let sums = ArchiveSums::default();
    for needed in &inputs.build.dependencies {
        if let Some(sum) = &needed.sha256 {
            // The helper checks that the archive has it.
            sums.note(&needed.archive, sum.clone());
        }
    }
    let jobserver =
        Jobserver::start_if_useful(session.scratch(), options.cores, options.jobserver, observer);
    let runner = PackageRunner {
        home: home.clone(),
        session,
        interrupt: Arc::clone(&settings.interrupt),
        registration,
        sums,
        shows_output: options.shows_output,
    };
    let carried_out = carry_out(
        &runner,
        helper,
        &inputs,
        &place.path(),
        (options.cores, jobserver.as_ref()),
        out,
        observer,
    );
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
fn check_layers(job: &JobFolder, unpacked: &Path, budget: &Budget<'_>) -> Result<(), JobError> {
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
) -> Result<Built, JobError> {
    let began = Instant::now();
    let JobInputs { build, sources, declared } = inputs;
    let demand = demand(jobserver, build);
    let share = Cores::new(cores, 1).take(0, demand);
    let share = CoreShare {
        told: u32::try_from(share.told).unwrap_or(u32::MAX),
        jobserver: jobserver.map(|jobserver| jobserver.begin(share.own, demand == Demand::Shared)),
    };
    let archive = place.join(results::PACKAGE);
    let files = runner.files(&build.id, &archive, place.join("kept")).map_err(unanswered)?;
    let job = runner.job(build, &share, sources, &files).map_err(unanswered)?;
    let mut phases = Phases::new(&build.id, observer);
    let ran = runner.run(&job, files.scratch, &mut helper, observer, |phase| phases.enter(phase));
    let phase = phases.watch.phase();
    let took = began.elapsed();
    let unable = |doing| move |source| Unable::File { doing, source };
    let package = build.id.to_string();
    out.put(&job.log, results::LOG).map_err(unable("copy the log"))?;
    let log = Some(out.path(results::LOG));
    let ran = ran.map_err(|error| {
        let error = unanswered(error);
        if matches!(error, JobError::Build(_)) {
            let (package, log) = (package.clone(), log.clone());
            observer.event(Event::Failed { package, phase, took, log });
        }
        error
    })?;
    let ending = phases.ending(&ran.result);
    let record = phases.watch.record(declared, &job, ending);
    match ran.result {
        Ok(_) => {
            files.output.commit().map_err(unable("keep the archive"))?;
            out.put(&archive, results::PACKAGE).map_err(unable("copy the package"))?;
            observer.event(Event::Finished { package, how: EventOutcome::Built, took });
            Ok((Some(record), None))
        }
        Err(failure) => {
            observer.event(Event::Failed { package, phase, took, log: log.clone() });
            if failure.no_room {
                return Ok((Some(record), Some(Unable::NoRoom(failure.message).into())));
            }
            // Inputs that cannot be prepared are a matter of the machine, unless a command says otherwise.
            let of_machine = phase == Phase::Prepare && !failure.see_log;
            let mut error = failed(&job, phase, failure);
            if of_machine {
                return Ok((Some(record), Some(Unable::Helper(Box::new(error)).into())));
            }
            if let BuildError::Failed(failed) = &mut error {
                // The job's own log goes with the scratch folder.
                failed.log = failed.log.take().and(log);
            }
            Ok((Some(record), Some(JobError::Build(Box::new(error)))))
        }
    }
}

/// Classifies the error of a build that came to no answer: a time limit is the build's, all else the machine's.
fn unanswered(error: BuildError) -> JobError {
    match error {
        error if error.is_interruption() => JobError::Interrupted,
        BuildError::Job { source: NoAnswer::TimeLimit { .. }, .. } => {
            JobError::Build(Box::new(error))
        }
        error => Unable::Helper(Box::new(error)).into(),
    }
}

#[cfg(test)]
mod tests {
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
