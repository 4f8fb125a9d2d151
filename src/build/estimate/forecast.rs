//! Estimate of a run's remaining time: the remaining packages are simulated with the scheduler's
//! rule (a package starts when its needs are met and a slot is free, the longest path first) and
//! the expected times. Pure; the caller passes the current time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::{Duration, Instant};

use crate::base::event::PlannedPackage;
use crate::build::schedule;

/// State of a run.
#[derive(Debug, Clone)]
pub struct Forecast {
    jobs: usize,
    expected: Vec<Option<Duration>>,
    needs: Vec<Vec<usize>>,
    needed_by: Vec<Vec<usize>>,
    /// Length of the longest path from each package to the end, used as priority.
    ways: Vec<Duration>,
    progress: Vec<PackageProgress>,
    /// True if no package begins any more.
    is_stopped: bool,
    /// What was expected of those that are built, and what it was, in seconds: a slower machine
    /// than that of the records is slower for the rest as well.
    expected_until_now: f64,
    taken_until_now: f64,
    all_expected: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PackageProgress {
    Waiting,
    Running(Instant),
    Over { well: bool },
}

/// Remaining time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remaining {
    /// As long at least; a package of which nothing is known counts as nothing.
    pub time: Duration,
    /// Of how many packages of the rest nothing is known.
    pub unknown: usize,
    /// Of how many something is.
    pub known: usize,
}

impl Forecast {
    /// Creates the state at a run's start.
    pub fn new(packages: &[PlannedPackage], jobs: usize) -> Self {
        let mut needed_by = vec![Vec::new(); packages.len()];
        for (place, package) in packages.iter().enumerate() {
            for needed in &package.needs {
                needed_by[*needed].push(place);
            }
        }
        let expected: Vec<Option<Duration>> =
            packages.iter().map(|package| package.expected).collect();
        Self {
            jobs: jobs.max(1),
            all_expected: expected.iter().flatten().map(Duration::as_secs_f64).sum(),
            ways: schedule::remaining(&needed_by, &expected),
            expected,
            needs: packages.iter().map(|package| package.needs.clone()).collect(),
            needed_by,
            progress: vec![PackageProgress::Waiting; packages.len()],
            is_stopped: false,
            expected_until_now: 0.0,
            taken_until_now: 0.0,
        }
    }

    /// A package began.
    pub fn started(&mut self, package: usize, now: Instant) {
        if let Some(progress @ PackageProgress::Waiting) = self.progress.get_mut(package) {
            *progress = PackageProgress::Running(now);
        }
    }

    /// Records that a package is present; `took` is the duration of its build, `None` if not built.
    pub fn finished(&mut self, package: usize, took: Option<Duration>) {
        self.end(package, true);
        if let (Some(Some(expected)), Some(took)) = (self.expected.get(package), took) {
            self.expected_until_now += expected.as_secs_f64();
            self.taken_until_now += took.as_secs_f64();
        }
    }

    /// Records a failure: dependent packages never start.
    pub fn failed(&mut self, package: usize) {
        self.end(package, false);
    }

    /// No package begins any more: what runs is all that is left.
    pub fn stop(&mut self) {
        self.is_stopped = true;
    }

    fn end(&mut self, package: usize, well: bool) {
        if let Some(progress) = self.progress.get_mut(package) {
            *progress = PackageProgress::Over { well };
        }
    }

    /// Ratio of the real times to the recorded times. A tenth of the run is counted as running at
    /// the expected pace, so that the first package has limited influence.
    fn pace(&self) -> f64 {
        let before = self.all_expected / 10.0;
        let pace = (self.taken_until_now + before) / (self.expected_until_now + before);
        if pace.is_finite() { pace.clamp(0.1, 10.0) } else { 1.0 }
    }

    /// Estimates the remaining time from now.
    pub fn remaining(&self, now: Instant) -> Remaining {
        let pace = self.pace();
        let mut rest = Remaining::default();
        let mut waits_for = vec![0_usize; self.needs.len()];
        let mut ready = BTreeSet::new();
        let mut running = BinaryHeap::new();
        for (package, progress) in self.progress.iter().enumerate() {
            match progress {
                PackageProgress::Over { .. } => {}
                PackageProgress::Waiting if self.is_stopped => {}
                PackageProgress::Running(began) => {
                    let passed = now.saturating_duration_since(*began);
                    running
                        .push(Reverse((self.left_of(package, passed, pace, &mut rest), package)));
                }
                PackageProgress::Waiting => {
                    let there = |needed: &&usize| {
                        self.progress[**needed] != PackageProgress::Over { well: true }
                    };
                    waits_for[package] = self.needs[package].iter().filter(there).count();
                    if waits_for[package] == 0 {
                        ready.insert((Reverse(self.ways[package]), package));
                    }
                }
            }
        }
        loop {
            while running.len() < self.jobs
                && let Some((_, package)) = ready.pop_first()
            {
                let left = self.left_of(package, Duration::ZERO, pace, &mut rest);
                running.push(Reverse((rest.time + left, package)));
            }
            let Some(Reverse((ends, package))) = running.pop() else { return rest };
            rest.time = ends;
            for &user in &self.needed_by[package] {
                waits_for[user] = waits_for[user].saturating_sub(1);
                let begins = !self.is_stopped && self.progress[user] == PackageProgress::Waiting;
                if waits_for[user] == 0 && begins {
                    ready.insert((Reverse(self.ways[user]), user));
                }
            }
        }
    }

    /// Estimates the remaining time of a running package.
    fn left_of(
        &self,
        package: usize,
        passed: Duration,
        pace: f64,
        rest: &mut Remaining,
    ) -> Duration {
        let Some(expected) = self.expected[package] else {
            rest.unknown += 1;
            return Duration::ZERO;
        };
        rest.known += 1;
        // An overdue build is not expected to end at this very moment.
        expected.mul_f64(pace).max(passed + passed / 10).saturating_sub(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packages(all: &[(Option<u64>, &[usize])]) -> Vec<PlannedPackage> {
        let package = |(seconds, needs): &(Option<u64>, &[usize])| PlannedPackage {
            id: String::new(),
            needs: needs.to_vec(),
            expected: seconds.map(Duration::from_secs),
        };
        all.iter().map(package).collect()
    }

    fn seconds(forecast: &Forecast, now: Instant) -> (u64, usize) {
        let rest = forecast.remaining(now);
        ((rest.time + Duration::from_millis(500)).as_secs(), rest.unknown)
    }

    #[test]
    fn what_is_left_is_scheduled() {
        let all = packages(&[(Some(10), &[]), (Some(20), &[]), (Some(5), &[0]), (None, &[1])]);
        let now = Instant::now();
        let mut forecast = Forecast::new(&all, 2);
        assert_eq!(seconds(&forecast, now), (20, 1));
        assert_eq!(seconds(&Forecast::new(&all, 1), now), (35, 1));
        forecast.started(0, now);
        forecast.started(1, now);
        let later = now + Duration::from_secs(8);
        assert_eq!(seconds(&forecast, later), (12, 1));
        forecast.finished(0, Some(Duration::from_secs(10)));
        forecast.finished(1, Some(Duration::from_secs(20)));
        assert_eq!(seconds(&forecast, later), (5, 1));
        assert_eq!(forecast.remaining(later).known, 1);
    }

    #[test]
    fn a_slower_machine_is_slower_for_the_rest_too() {
        let now = Instant::now();
        let mut forecast = Forecast::new(&packages(&[(Some(50), &[]), (Some(50), &[0])]), 1);
        forecast.finished(0, Some(Duration::from_secs(100)));
        assert_eq!(seconds(&forecast, now).0, 92);
        forecast.started(1, now);
        assert_eq!(seconds(&forecast, now + Duration::from_secs(200)).0, 20, "not this moment");
    }

    #[test]
    fn what_needs_a_failed_package_takes_no_time() {
        let now = Instant::now();
        let mut forecast =
            Forecast::new(&packages(&[(Some(5), &[]), (Some(7), &[0]), (Some(3), &[])]), 1);
        forecast.failed(0);
        assert_eq!(seconds(&forecast, now), (3, 0));
        // Packages of other runs are ignored.
        forecast.started(9, now);
        forecast.finished(9, None);
        forecast.failed(9);
    }

    #[test]
    fn after_a_stop_what_runs_is_all_that_is_left() {
        let now = Instant::now();
        let mut forecast = Forecast::new(
            &packages(&[(Some(5), &[]), (Some(7), &[0]), (Some(30), &[]), (None, &[])]),
            2,
        );
        forecast.started(0, now);
        forecast.stop();
        assert_eq!(seconds(&forecast, now), (5, 0));
        forecast.finished(0, Some(Duration::from_secs(5)));
        assert_eq!(seconds(&forecast, now), (0, 0));
    }

    #[test]
    fn ten_thousand_packages_are_no_effort() {
        let needs =
            |place: usize| (1..4).filter_map(move |back| place.checked_sub(back * 7)).collect();
        let package = |place| PlannedPackage {
            id: String::new(),
            needs: needs(place),
            expected: Some(Duration::from_secs(place as u64 % 60)),
        };
        let forecast = Forecast::new(&(0..10_000).map(package).collect::<Vec<_>>(), 8);
        let began = Instant::now();
        assert_eq!(forecast.remaining(began).known, 10_000);
        // It is done once a second, also without optimisation on a busy machine.
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }

    proptest! {
        #[test]
        fn between_the_longest_chain_and_one_after_the_other(
            seed in proptest::collection::vec((0_u64..100, proptest::collection::vec(any::<u16>(), 0..3)), 1..40),
            jobs in 1_usize..6,
        ) {
            let mut all = Vec::new();
            let mut chains: Vec<u64> = Vec::new();
            for (place, (time, picks)) in seed.iter().enumerate() {
                let mut needs: Vec<usize> = picks.iter().filter(|_| place > 0).map(|pick| usize::from(*pick) % place.max(1)).collect();
                needs.sort_unstable();
                needs.dedup();
                chains.push(time + needs.iter().map(|needed| chains[*needed]).max().unwrap_or(0));
                all.push(PlannedPackage { id: String::new(), needs, expected: Some(Duration::from_secs(*time)) });
            }
            let (time, unknown) = seconds(&Forecast::new(&all, jobs), Instant::now());
            let sum: u64 = seed.iter().map(|(time, _)| time).sum();
            prop_assert!(time >= chains.into_iter().max().unwrap());
            prop_assert!(time <= sum && time >= sum / jobs as u64);
            prop_assert_eq!(unknown, 0);
        }
    }
}
