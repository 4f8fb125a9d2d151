//! Carrying out a plan: packages in parallel, each as soon as what it needs is there.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};

use crate::base::event::{Event, Observer};
use crate::container::helper::HelperPlace;
use crate::container::idmap::IdMap;
use crate::package::PackageId;

use super::one::{BuildError, Order, Workshop};
use super::schedule::{Cores, Schedule};

/// How much is done at once, and what happens after a failure.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many packages are built at once.
    pub jobs: usize,
    /// How many cores the builds share.
    pub cores: usize,
    /// Whether to build what can be built although something failed.
    pub keep_going: bool,
}

/// Some packages could not be built.
#[derive(Debug)]
pub struct Failures {
    /// Why, in the order in which they failed.
    pub errors: Vec<BuildError>,
    /// What was not tried because of them: the package, and the failed one that it needs.
    pub skipped: Vec<(PackageId, PackageId)>,
}

/// Where helpers come from.
#[derive(Debug)]
pub struct Helpers<'a> {
    /// The map that all of them have.
    pub map: &'a IdMap,
    /// One that may be there already. The caller's thread started it.
    pub first: HelperPlace,
}

struct State {
    schedule: Schedule,
    cores: Cores,
    errors: Vec<BuildError>,
}

/// Builds packages. `needs[n]` are the indices of those that `orders[n]` needs and that are not
/// there yet.
pub fn execute(
    workshop: &Workshop,
    orders: &[Order],
    needs: Vec<BTreeSet<usize>>,
    pace: Pace,
    helpers: Helpers<'_>,
    observer: &dyn Observer,
) -> Result<(), Failures> {
    observer.event(Event::Planned { packages: orders.len() });
    let state = Mutex::new(State {
        schedule: Schedule::new(needs),
        cores: Cores::new(pace.cores, pace.jobs),
        errors: Vec::new(),
    });
    let changed = Condvar::new();
    let workers = pace.jobs.min(orders.len()).max(1);
    std::thread::scope(|scope| {
        // A helper dies with the thread that started it, so each thread stays until all is over.
        let more = (1..workers).map(|_| HelperPlace::new(helpers.map.clone(), &workshop.interrupt));
        let places: Vec<_> = std::iter::once(helpers.first).chain(more).collect();
        let (state, changed) = (&state, &changed);
        for place in places {
            scope.spawn(move || work(workshop, orders, pace, place, state, changed, observer));
        }
    });
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    if state.errors.is_empty() {
        return Ok(());
    }
    let id = |package: usize| orders[package].job.id.clone();
    let skipped =
        state.schedule.skipped().iter().map(|(package, because)| (id(*package), id(*because)));
    Err(Failures { skipped: skipped.collect(), errors: state.errors })
}

fn work(
    workshop: &Workshop,
    orders: &[Order],
    pace: Pace,
    mut place: HelperPlace,
    state: &Mutex<State>,
    changed: &Condvar,
    observer: &dyn Observer,
) {
    // What the last build left, which clears itself up while the next one runs.
    let mut leftovers = None;
    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if workshop.interrupt.is_raised() {
            guard.schedule.stop();
        }
        // One that got all cores is alone until it ends, whatever becomes ready meanwhile.
        let next = if guard.cores.are_free() { guard.schedule.start() } else { None };
        let Some(package) = next else {
            if guard.schedule.is_over() {
                changed.notify_all();
                return;
            }
            guard = changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        let idle = pace.jobs - guard.schedule.running().min(pace.jobs);
        let others = guard.schedule.ready().min(idle);
        let share = guard.cores.take(others);
        drop(guard);
        let order = with_cores(&orders[package], share);
        let result = workshop.supply(&order, &mut place, &mut leftovers, observer);
        guard = state.lock().unwrap_or_else(PoisonError::into_inner);
        guard.cores.give_back(share);
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
        changed.notify_all();
    }
}

fn with_cores(order: &Order, share: usize) -> Order {
    let mut order = order.clone();
    order.job.threads = u32::try_from(share).unwrap_or(u32::MAX);
    order.job.environment.push(("NUM_CORES".to_owned(), share.to_string()));
    order
}
