//! Execution of a plan: packages in parallel, each as soon as its requirements are present.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::base::event::Observer;
use crate::base::regular::read_regular;
use crate::container::helper::HelperSlot;
use crate::package::PackageId;

use super::job::PackageBuild;
use super::jobserver::Jobserver;
use super::package_runner::CoreShare;
use super::schedule::{Cores, Demand, Schedule};
use super::supply::{BuildError, PackageBuilder, PackageRequest};

/// Upper limit of a script that is searched for the number of cores, in bytes.
const LONGEST_SCRIPT: u64 = 16 << 20;

/// Degree of parallelism, and the reaction to a failure.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Number of packages that are built at once.
    pub jobs: usize,
    /// Number of cores shared by the builds.
    pub cores: usize,
    /// True to continue with other builds after a failure.
    pub keep_going: bool,
}

/// Packages to be built. A request is made when the package's turn has come: it holds all inputs, and
/// those of a large tree together would not fit into memory.
pub struct Requests<'a> {
    /// Their ids.
    pub ids: Vec<&'a PackageId>,
    /// Makes the request of an id, given by its index.
    pub make: &'a (dyn Fn(usize) -> PackageRequest + Sync),
}

impl std::fmt::Debug for Requests<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").field("ids", &self.ids).finish_non_exhaustive()
    }
}

/// Some packages could not be built.
#[derive(Debug)]
pub struct Failures {
    /// Errors in the order of the failures.
    pub errors: Vec<BuildError>,
    /// Skipped packages, each with the failed package it needs.
    pub skipped: Vec<(PackageId, PackageId)>,
    /// Packages that could have been built, but were not begun after a failure.
    pub not_begun: Vec<PackageId>,
}

struct ExecutionState {
    schedule: Schedule,
    cores: Cores,
    errors: Vec<BuildError>,
    /// Number of threads that wait for a package.
    waiting: usize,
}

/// Builds packages. `needs[n]` are the indices of the packages that number `n` needs and that are
/// missing; indirect needs may be left out; `took[n]` is the duration of its last build, if known. `first` is
/// a helper that the calling thread has started.
pub fn execute(
    builder: &PackageBuilder,
    requests: &Requests<'_>,
    needs: Vec<BTreeSet<usize>>,
    took: &[Option<Duration>],
    pace: Pace,
    first: Option<HelperSlot>,
    observer: &dyn Observer,
) -> Result<(), Failures> {
    let state = Mutex::new(ExecutionState {
        schedule: Schedule::new(needs, took),
        cores: Cores::new(pace.cores, pace.jobs),
        errors: Vec::new(),
        waiting: 0,
    });
    let changed = Condvar::new();
    let workers = pace.jobs.min(requests.ids.len()).max(1);
    std::thread::scope(|scope| {
        // A helper dies with the thread that started it, so each thread stays until all is over.
        let slots = std::iter::once(first).chain((1..workers).map(|_| None));
        let (state, changed) = (&state, &changed);
        let uploads = &builder.uploads;
        // Uploads have threads of their own: a slow cache must not keep builds from their cores.
        for lane in uploads.lanes() {
            scope.spawn(move || uploads.work(lane, observer));
        }
        let run = |slot| {
            scope.spawn(move || work(builder, requests, pace, slot, state, changed, observer))
        };
        let running: Vec<_> = slots.map(run).collect();
        let ended: Vec<_> = running.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        // Before a panic goes on: otherwise the threads of uploads wait for more, and the scope for
        // them.
        uploads.close();
        for end in ended {
            end.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if state.errors.is_empty() {
        return Ok(());
    }
    let id = |package: usize| requests.ids[package].clone();
    let skipped =
        state.schedule.skipped().iter().map(|(package, because)| (id(*package), id(*because)));
    let not_begun = state.schedule.not_begun().into_iter().map(id).collect();
    Err(Failures { skipped: skipped.collect(), not_begun, errors: state.errors })
}

fn work(
    builder: &PackageBuilder,
    requests: &Requests<'_>,
    pace: Pace,
    mut slot: Option<HelperSlot>,
    state: &Mutex<ExecutionState>,
    changed: &Condvar,
    observer: &dyn Observer,
) {
    // Leftovers of the last build, removed while the next one runs.
    let mut leftovers = None;
    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if builder.interrupt().is_raised() {
            guard.schedule.stop();
        }
        // A build with all cores runs alone, whatever becomes ready meanwhile.
        let next = if guard.cores.are_free() { guard.schedule.start() } else { None };
        let Some(package) = next else {
            if guard.schedule.is_over() {
                changed.notify_all();
                return;
            }
            guard.waiting += 1;
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            guard.waiting -= 1;
            continue;
        };
        let idle = pace.jobs - guard.schedule.running().min(pace.jobs);
        let others = guard.schedule.ready().min(idle);
        let request = (requests.make)(package);
        let jobserver = builder.local.running_jobserver();
        let demand = match builder.elsewhere {
            // As many as there may be jobs: the machine's own cores have nothing to do.
            Some(_) => Demand::Shared,
            None => demand(jobserver, &request.package),
        };
        let share = guard.cores.take(others, demand);
        let cores = CoreShare::new(&share, jobserver);
        drop(guard);
        let result = builder.supply(&request, &cores, &mut slot, &mut leftovers, observer);
        guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        guard.cores.give_back(share);
        if let Some(jobserver) = jobserver {
            jobserver.end(share.own, guard.schedule.running() - 1, result.is_err());
        }
        match result {
            Ok(()) => guard.schedule.succeeded(package),
            Err(error) => {
                guard.schedule.failed(package);
                guard.errors.push(error);
                if !pace.keep_going {
                    guard.schedule.stop();
                }
            }
        }
        // This thread takes a package itself. More threads than there are packages would wake for nothing, a hundred
        // at the end of each package.
        let more = guard.schedule.ready().saturating_sub(1).min(guard.waiting);
        (0..more).for_each(|_| changed.notify_one());
    }
}

/// Chooses the way a build gets cores. A script that names `NUM_CORES` uses as many cores as the
/// variable says, and one core elsewhere: its `make install` may never have run with two jobs. Any
/// other script has one core, and the cores that its programs take from the jobserver.
pub fn demand(jobserver: Option<&Jobserver>, package: &PackageBuild) -> Demand {
    if jobserver.is_none() {
        return Demand::Fixed;
    }
    let script = package.folder.join(&package.build_script);
    // An unreadable script fails its build, with an error. One that long is a program, whose use of cores is
    // unknown.
    let text = match read_regular(&script, LONGEST_SCRIPT) {
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => return Demand::Fixed,
        read => read.unwrap_or_default(),
    };
    let name = b"NUM_CORES";
    if text.windows(name.len()).any(|word| word == name) { Demand::Fixed } else { Demand::Shared }
}
