//! Choice of the next package: pure, so that its guarantees can be tested. A package starts when
//! its *own* needs are met, never earlier, and no slot idles while a package is ready.
//!
//! Among ready packages, the one with the longest critical path goes first: its own time and the
//! times of the packages that wait for it, one after the other. The critical path is a lower bound
//! of the run's time, whatever the parallelism. The plan's order decides ties.

mod cores;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use cores::{Cores, Demand, Share};

/// Assumed time of a package without records, if no other package has records either.
const SOME_TIME: Duration = Duration::from_secs(1);

/// Packages on their way, numbered by their place in the plan's order.
#[derive(Debug, Clone)]
pub struct Schedule {
    waits_for: Vec<BTreeSet<usize>>,
    needed_by: Vec<Vec<usize>>,
    /// Minimum time from a package's start to the end of all dependent packages.
    remaining: Vec<Duration>,
    ready: BTreeSet<(Reverse<Duration>, usize)>,
    running: BTreeSet<usize>,
    done: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    skipped: BTreeMap<usize, usize>,
    stopped: bool,
}

impl Schedule {
    /// Makes a schedule; `needs[n]` are the packages that package `n` needs, all of them before `n`
    /// in the plan's order, and `took[n]` is the duration of the last build, if known.
    pub fn new(needs: Vec<BTreeSet<usize>>, took: &[Option<Duration>]) -> Self {
        let mut needed_by = vec![Vec::new(); needs.len()];
        for (package, needed) in needs.iter().enumerate() {
            for other in needed {
                needed_by[*other].push(package);
            }
        }
        let mut schedule = Self {
            remaining: remaining(&needed_by, took),
            ready: BTreeSet::new(),
            running: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeSet::new(),
            skipped: BTreeMap::new(),
            stopped: false,
            needed_by,
            waits_for: needs,
        };
        for package in 0..schedule.waits_for.len() {
            if schedule.waits_for[package].is_empty() {
                schedule.make_ready(package);
            }
        }
        schedule
    }

    fn make_ready(&mut self, package: usize) {
        self.ready.insert((Reverse(self.remaining[package]), package));
    }

    /// Takes the next package that can start.
    pub fn start(&mut self) -> Option<usize> {
        let (_, package) = self.ready.pop_first()?;
        self.running.insert(package);
        Some(package)
    }

    /// Marks a running package as built: packages without other unmet needs become ready.
    pub fn succeeded(&mut self, package: usize) {
        self.running.remove(&package);
        self.done.insert(package);
        for user in std::mem::take(&mut self.needed_by[package]) {
            if self.waits_for[user].remove(&package)
                && self.waits_for[user].is_empty()
                && !self.stopped
            {
                self.make_ready(user);
            }
        }
    }

    /// Marks a running package as failed: all direct and indirect dependents are skipped.
    pub fn failed(&mut self, package: usize) {
        self.running.remove(&package);
        self.failed.insert(package);
        let mut queue = vec![package];
        while let Some(next) = queue.pop() {
            for &user in &self.needed_by[next] {
                if let std::collections::btree_map::Entry::Vacant(entry) = self.skipped.entry(user)
                {
                    entry.insert(package);
                    queue.push(user);
                }
            }
        }
    }

    /// Starts no more packages: the others are left.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.ready.clear();
    }

    /// Number of ready packages.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Number of running packages.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// True if nothing runs and nothing can start.
    pub fn is_over(&self) -> bool {
        self.running.is_empty() && self.ready.is_empty()
    }

    /// Packages that were ready but did not start because the schedule was stopped, and their
    /// dependents.
    pub fn not_begun(&self) -> Vec<usize> {
        let is_left = |package: &usize| {
            let sets = [&self.running, &self.done, &self.failed];
            !sets.iter().any(|set| set.contains(package)) && !self.skipped.contains_key(package)
        };
        (0..self.waits_for.len()).filter(is_left).collect()
    }

    /// Skipped packages, each with the failed package that caused the skip.
    pub fn skipped(&self) -> &BTreeMap<usize, usize> {
        &self.skipped
    }
}

/// Longest path from each package's start to the end of a dependent package.
pub(super) fn remaining(needed_by: &[Vec<usize>], took: &[Option<Duration>]) -> Vec<Duration> {
    let mut known: Vec<Duration> = took.iter().copied().flatten().collect();
    known.sort_unstable();
    // The median: a single build of an hour must not make all unknown ones look long.
    let unknown = known.get(known.len() / 2).copied().unwrap_or(SOME_TIME);
    let mut remaining = vec![Duration::ZERO; needed_by.len()];
    // Backwards, as users come after what they need: their paths are known then.
    for package in (0..needed_by.len()).rev() {
        let after = needed_by[package].iter().map(|user| remaining[*user]).max();
        let own = took.get(package).copied().flatten().unwrap_or(unknown);
        remaining[package] = own.saturating_add(after.unwrap_or_default());
    }
    remaining
}
