//! Which package is built next: pure, so that its promises can be tested. A package starts when
//! what *it* needs is there, never earlier, and nothing idles while one is ready.

use std::collections::{BTreeMap, BTreeSet};

/// Packages on their way, numbered by their place in the plan's order.
#[derive(Debug, Clone)]
pub struct Schedule {
    waits_for: Vec<BTreeSet<usize>>,
    needed_by: Vec<Vec<usize>>,
    ready: BTreeSet<usize>,
    running: BTreeSet<usize>,
    done: BTreeSet<usize>,
    failed: BTreeSet<usize>,
    skipped: BTreeMap<usize, usize>,
}

impl Schedule {
    /// Makes a schedule; `needs[n]` are the packages that package `n` needs.
    pub fn new(needs: Vec<BTreeSet<usize>>) -> Self {
        let mut needed_by = vec![Vec::new(); needs.len()];
        for (package, needed) in needs.iter().enumerate() {
            for other in needed {
                needed_by[*other].push(package);
            }
        }
        let ready = (0..needs.len()).filter(|package| needs[*package].is_empty()).collect();
        Self {
            waits_for: needs,
            needed_by,
            ready,
            running: BTreeSet::new(),
            done: BTreeSet::new(),
            failed: BTreeSet::new(),
            skipped: BTreeMap::new(),
        }
    }

    /// Takes the next package that can start, the first of them in the plan's order.
    pub fn start(&mut self) -> Option<usize> {
        let package = self.ready.pop_first()?;
        self.running.insert(package);
        Some(package)
    }

    /// A running package is there: what waited for it alone becomes ready.
    pub fn succeeded(&mut self, package: usize) {
        self.running.remove(&package);
        self.done.insert(package);
        for &user in &self.needed_by[package] {
            if self.waits_for[user].remove(&package)
                && self.waits_for[user].is_empty()
                && !self.skipped.contains_key(&user)
            {
                self.ready.insert(user);
            }
        }
    }

    /// A running package failed: all that needs it, directly or not, is skipped because of it.
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

    /// Starts nothing any more: what hasn't begun is left.
    pub fn stop(&mut self) {
        self.ready.clear();
    }

    /// How many are ready to start.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Whether nothing runs and nothing can start.
    pub fn is_over(&self) -> bool {
        self.running.is_empty() && self.ready.is_empty()
    }

    /// What was skipped, each with the failed package because of which.
    pub fn skipped(&self) -> &BTreeMap<usize, usize> {
        &self.skipped
    }
}

/// The machine's cores, shared out so that builds together get no more than there are. More jobs
/// than cores are a wish for just that: then builds share cores, none being told of more than there
/// are.
#[derive(Debug, Clone)]
pub struct Cores {
    cores: usize,
    free: usize,
}

impl Cores {
    /// Starts with all cores free.
    pub fn new(cores: usize, jobs: usize) -> Self {
        let cores = cores.max(1);
        Self { cores, free: cores.max(jobs) }
    }

    /// Whether a build can start: if not, all cores are in use by others.
    pub fn are_free(&self) -> bool {
        self.free > 0
    }

    /// Takes a share of what is free for a build, if `others` more could start now and want as much.
    pub fn take(&mut self, others: usize) -> usize {
        let share = (self.free / (others + 1)).clamp(1, self.cores);
        self.free = self.free.saturating_sub(share);
        share
    }

    /// Gives a share back.
    pub fn give_back(&mut self, share: usize) {
        self.free += share;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sets(needs: &[&[usize]]) -> Vec<BTreeSet<usize>> {
        needs.iter().map(|needed| needed.iter().copied().collect()).collect()
    }

    #[test]
    fn a_package_starts_when_its_own_needs_are_there() {
        let mut schedule = Schedule::new(sets(&[&[], &[], &[0], &[0, 1]]));
        assert_eq!(
            (schedule.start(), schedule.start(), schedule.start()),
            (Some(0), Some(1), None)
        );
        schedule.succeeded(0);
        assert_eq!((schedule.start(), schedule.start()), (Some(2), None));
        schedule.succeeded(1);
        assert_eq!(schedule.start(), Some(3));
    }

    #[test]
    fn what_needs_a_failed_package_is_skipped_and_nothing_else() {
        let mut schedule = Schedule::new(sets(&[&[], &[0], &[1], &[]]));
        schedule.start();
        schedule.failed(0);
        assert_eq!(schedule.skipped(), &BTreeMap::from([(1, 0), (2, 0)]));
        assert_eq!(schedule.start(), Some(3));
        schedule.succeeded(3);
        assert!(schedule.is_over());
    }

    #[test]
    fn shares_of_the_cores_add_up_to_the_machine() {
        let mut cores = Cores::new(8, 8);
        assert_eq!((cores.take(0), cores.are_free()), (8, false));
        cores.give_back(8);
        assert_eq!([cores.take(3), cores.take(2), cores.take(1), cores.take(0)], [2, 2, 2, 2]);
        assert!(!cores.are_free());
        let mut wished = Cores::new(1, 3);
        assert_eq!([wished.take(2), wished.take(1), wished.take(0)], [1, 1, 1]);
        assert!(!wished.are_free());
        wished.give_back(1);
        assert_eq!((wished.take(0), wished.are_free()), (1, false));
    }

    proptest! {
        #[test]
        fn never_before_its_needs_and_never_idle(
            seed in proptest::collection::vec(proptest::collection::vec(any::<u16>(), 0..4), 1..40),
            jobs in 1_usize..5,
        ) {
            let needs: Vec<BTreeSet<usize>> = seed
                .iter()
                .enumerate()
                .map(|(package, picks)| picks.iter().filter(|_| package > 0).map(|pick| usize::from(*pick) % package.max(1)).collect())
                .collect();
            let mut schedule = Schedule::new(needs.clone());
            let (mut done, mut running) = (BTreeSet::new(), Vec::new());
            while !schedule.is_over() {
                while running.len() < jobs {
                    let Some(package) = schedule.start() else { break };
                    prop_assert!(needs[package].is_subset(&done));
                    running.push(package);
                }
                if running.len() < jobs {
                    let ready = |package: &usize| !done.contains(package) && !running.contains(package) && needs[*package].is_subset(&done);
                    prop_assert!(!(0..needs.len()).any(|package| ready(&package)));
                }
                let package = running.remove(0);
                schedule.succeeded(package);
                done.insert(package);
            }
            prop_assert_eq!(done.len(), needs.len());
        }
    }
}
