//! The containers of one run: the isolation tier, the scratch folder, limits, and helpers.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::home::{Home, RunScratch, give_folder};
use super::isolation::{self, IsolationError, TierRequest};
use super::job::{Job, JobFailure, run_job};
use super::kept;
use super::scratch::{INPUTS, Leftovers, ScratchDir};
use super::workspace::JobFolders;
use crate::archive::ArchiveLimits;
use crate::base::event::{Event, Observer, Phase};
use crate::base::remedy::raise_limit;
use crate::base::removal::remove_all;
use crate::container::cgroup::{self, Cgroup, CgroupError, Delegation, ResourceLimits};
use crate::container::helper::{HelperError, HelperSlot, Interrupt};
use crate::container::machine::Machine;
use crate::container::resources;

/// Extra time after a command's time limit before its helper counts as stopped.
const GRACE: Duration = Duration::from_secs(10);

/// Settings of everything that runs in containers.
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// Folder of the builder itself.
    pub home: Home,
    /// Isolation tier, and the means to find one.
    pub isolation: TierRequest,
    /// Limits of commands.
    pub limits: RunLimits,
    /// Limits of archives.
    pub archives: ArchiveLimits,
    /// Interruption of the run.
    pub interrupt: Arc<Interrupt>,
    /// Notes of the run, of which each is said once.
    pub notes: Arc<Notes>,
}

/// Notes already reported in a run, which may open several sessions.
#[derive(Debug, Default)]
pub struct Notes(Mutex<HashSet<String>>);

/// Observer that forwards each note once.
struct Once<'a> {
    notes: &'a Notes,
    observer: &'a dyn Observer,
}

impl Observer for Once<'_> {
    fn event(&self, event: Event) {
        if let Event::Note { message } = &event
            && !self.notes.0.lock().unwrap_or_else(PoisonError::into_inner).insert(message.clone())
        {
            return;
        }
        self.observer.event(event);
    }
}

/// Default size limit of a log in bytes: readable for a person, and harmless for a disk.
pub const LOG_LIMIT: u64 = 64 << 20;

/// Limits of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunLimits {
    /// Longest run time.
    pub time: Option<Duration>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Number of processes and threads.
    pub processes: Option<u64>,
    /// Size limit of the log in bytes; the middle of a longer output is left out.
    pub log: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { time: None, memory: None, processes: None, log: LOG_LIMIT }
    }
}

impl RunLimits {
    /// Returns the limits that need a cgroup.
    fn of_cgroup(self) -> ResourceLimits {
        ResourceLimits { memory: self.memory, processes: self.processes }
    }

    /// Time limit in words.
    pub(super) fn time_text(&self) -> String {
        self.time.map_or_else(unlimited, |time| format!("{time:?}"))
    }

    /// Memory limit in words.
    pub(super) fn memory_text(&self) -> String {
        self.memory.map_or_else(unlimited, |bytes| format!("{bytes} bytes"))
    }

    /// Process limit in words.
    pub(super) fn processes_text(&self) -> String {
        self.processes.map_or_else(unlimited, |count| count.to_string())
    }
}

fn unlimited() -> String {
    "unlimited".to_owned()
}

/// Containers of a run. Dropping the session removes its scratch folder.
#[derive(Debug)]
pub struct Session {
    settings: RunnerSettings,
    machine: Machine,
    layers: PathBuf,
    delegation: Option<Delegation>,
    scratch: RunScratch,
}

/// Error of opening a session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No container can be run.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// Limits cannot be enforced.
    #[error(transparent)]
    Limits(#[from] CgroupError),
    /// The builder's own folder cannot be used.
    #[error("mkpanda's home, $MKPANDA_HOME, cannot be used")]
    Home(#[source] io::Error),
}

impl SessionError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Isolation(error) => error.remedy(),
            Self::Limits(error) => Some(error.remedy().to_owned()),
            Self::Home(_) => None,
        }
    }
}

/// Error of a job that did not come to an answer.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Limits cannot be set.
    #[error(transparent)]
    Limits(#[from] CgroupError),
    /// The job took too long, beside its command.
    #[error("it was ended {} after its time limit of {limit:?}", during(*phase))]
    TimeLimit {
        /// Phase of the command.
        phase: Phase,
        /// Limit.
        limit: Duration,
    },
    /// The helper failed.
    #[error(transparent)]
    Helper(#[from] HelperError),
}

/// A phase in words.
fn during(phase: Phase) -> &'static str {
    match phase {
        Phase::Prepare => "while its inputs were prepared,",
        Phase::Pack => "while its result was packed,",
        _ => "by the caller",
    }
}

impl JobError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Limits(error) => Some(error.remedy().to_owned()),
            Self::TimeLimit { .. } => Some(raise_limit!("time", "TIME").to_owned()),
            Self::Helper(error) => error.remedy().map(str::to_owned),
        }
    }

    /// True if the run was interrupted.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Helper(HelperError::Interrupted))
    }
}

/// Answer of a job, with its leftovers.
#[derive(Debug)]
pub struct Ran<A> {
    /// Answer or failure.
    pub result: Result<A, JobFailure>,
    /// Process, cgroup and scratch folder, which may still be cleared up.
    pub leftovers: Leftovers,
}

impl Session {
    /// Sweeps the scratch folders of dead runs, detects the isolation tier, and makes the folders that
    /// containers write to. The returned helper belongs to the calling thread.
    pub fn open(
        settings: &RunnerSettings,
        observer: &dyn Observer,
    ) -> Result<(Self, HelperSlot), SessionError> {
        let RunnerSettings { home, isolation: wanted, interrupt, limits, .. } = settings;
        // Before this run writes anything: on a full disk it makes room.
        sweep(settings, observer);
        let scratch = home.start_run().map_err(SessionError::Home)?;
        let observer = &Once { notes: &settings.notes, observer };
        let (machine, helper) = isolation::detect(wanted, &scratch, interrupt, observer)?;
        let lowered = resources::lowered().join(", ");
        if !lowered.is_empty() {
            let message = format!("this user's limits are lower than those of builds: {lowered}");
            observer.event(Event::Note { message });
        }
        if let Some(niceness) = resources::kept_niceness() {
            let message = format!(
                "builds see the niceness {niceness} of this process, which only root may take back: start mkpanda without nice"
            );
            observer.event(Event::Note { message });
        }
        let layers = home.layers(&machine.map.digest());
        give_folder(&layers, &machine.map).map_err(SessionError::Home)?;
        let delegation = delegation(limits.of_cgroup())?;
        let settings = settings.clone();
        Ok((Self { settings, machine, layers, delegation, scratch }, helper))
    }

    /// Id map and abilities of the machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Limits of archives.
    pub fn archive_limits(&self) -> &ArchiveLimits {
        &self.settings.archives
    }

    /// Folder of unpacked layers of the session's id map.
    pub fn layers(&self) -> &Path {
        &self.layers
    }

    /// Scratch folder of the run.
    pub fn scratch(&self) -> &Path {
        self.scratch.folder()
    }

    /// Folder for downloads and copies of inputs, which goes with the session.
    pub fn inputs(&self) -> io::Result<PathBuf> {
        let folder = self.scratch().join(INPUTS);
        fs_err::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Empty folder for the views of helpers.
    pub fn view(&self) -> &Path {
        self.scratch.view()
    }

    /// Place for another helper.
    pub fn helper(&self) -> HelperSlot {
        HelperSlot::new(self.machine.map.clone(), &self.settings.interrupt)
    }

    /// Makes a scratch folder for one job.
    pub fn scratch_dir(&self, prefix: &str) -> io::Result<ScratchDir> {
        ScratchDir::create(self.scratch.folder(), self.scratch.view(), prefix, &self.machine.map)
    }

    /// Folders and conditions of a job with a scratch folder.
    pub fn job_folders(&self, scratch: &ScratchDir) -> JobFolders {
        let mut limits = self.settings.archives;
        // Threads that decompress need memory of their own, and a job's limit is meant for its commands.
        if self.settings.limits.memory.is_some() {
            limits.max_threads = 1;
        }
        JobFolders {
            machine: self.machine.clone(),
            scratch: scratch.path().to_owned(),
            view: self.scratch.view().to_owned(),
            layers: self.layers.clone(),
            limits,
        }
    }

    /// Runs a job within the limits. `name` is unique within the process, for the cgroup.
    pub fn run<J: Job>(
        &self,
        helper: &mut HelperSlot,
        name: &str,
        job: &J,
        scratch: ScratchDir,
        mut on_phase: impl FnMut(Phase),
    ) -> Result<Ran<J::Answer>, JobError> {
        let cgroup = self.cgroup(name)?;
        let deadline = Cell::new(None);
        let limit = self.settings.limits.time;
        let current = Cell::new(Phase::Prepare);
        let ran = run_job(helper, job, cgroup.as_ref(), &deadline, |phase| {
            // A command keeps its time limit itself, unless it is stopped from outside. Packing has what
            // the command has left of it.
            let until = || Instant::now().checked_add(limit?.checked_add(GRACE)?);
            if phase != Phase::Pack {
                deadline.set(until());
            }
            current.set(phase);
            on_phase(phase);
        });
        let (mut result, process) = ran.map_err(|error| match (error, limit) {
            (HelperError::Overdue, Some(limit)) if deadline.get().is_some() => {
                JobError::TimeLimit { phase: current.get(), limit }
            }
            (error, _) => JobError::Helper(error),
        })?;
        if let Err(failure) = &mut result
            && cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory)
        {
            failure.hint = Some(
                concat!("it ran out of memory: ", raise_limit!("memory", "MEMORY")).to_owned(),
            );
        }
        Ok(Ran { result, leftovers: Leftovers::new(process, cgroup, scratch) })
    }

    fn cgroup(&self, name: &str) -> Result<Option<Cgroup>, CgroupError> {
        let limits = self.settings.limits.of_cgroup();
        let cgroup = self.delegation.as_ref().map(|delegation| delegation.create(name, limits));
        cgroup.transpose()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A later run sweeps what cannot be removed.
        drop(remove_all(&self.scratch().join(INPUTS)));
    }
}

/// Removes the scratch folders of dead runs, and what failed builds left whose time is over. Failures are reported, and harm no other run.
pub fn sweep(settings: &RunnerSettings, observer: &dyn Observer) {
    let RunnerSettings { home, isolation, interrupt, .. } = settings;
    match isolation::sweep_orphans(isolation, home, interrupt) {
        // The rest of an interrupted removal is expected.
        Ok(_) if interrupt.is_raised() => {}
        Ok(unswept) => unswept.report(observer),
        Err(error) => tracing::warn!(%error, "scratch folders of dead runs cannot be swept"),
    }
    if let Err(error) = kept::sweep(isolation, home) {
        tracing::warn!(%error, "what failed builds left cannot be removed");
    }
}

/// Finds the cgroups in which limits can be set, if there are any limits.
fn delegation(limits: ResourceLimits) -> Result<Option<Delegation>, CgroupError> {
    if limits.is_empty() {
        return Ok(None);
    }
    let own = fs_err::read_to_string("/proc/self/cgroup").unwrap_or_default();
    cgroup::find_delegation(Path::new("/sys/fs/cgroup"), &own).map(Some)
}
