//! State of a run, derived from its events: the input of the drawing, the plain lines and the
//! summary. An event takes constant time; the size grows with the plan and the running builds, not
//! with the number of events.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crate::base::event::{Event, PackageOutcome, Phase, Planned, SourceOrigin};
use crate::build::estimate::{Forecast, Remaining};

/// Number of longest builds to keep.
const LONGEST: usize = 3;
/// A rate is measured over at least this long.
const RATE_WINDOW: Duration = Duration::from_millis(1500);
/// Interval between forecasts.
const FORECAST_INTERVAL: Duration = Duration::from_secs(1);

/// State of a run.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) began: Instant,
    /// Running builds and tasks, in the order of their start.
    pub(super) running: BTreeMap<u64, Running>,
    /// Downloads and uploads by their subjects.
    pub(super) downloads: BTreeMap<String, RunningTransfer>,
    pub(super) tally: ResultTally,
    /// The longest builds and tasks, the longest first.
    pub(super) longest: Vec<(Duration, String)>,
    /// Places of builds on other machines, by packages.
    pub(super) ran_on: HashMap<String, String>,
    count: u64,
    by_name: HashMap<String, u64>,
    places: HashMap<String, usize>,
    expected: Vec<Option<Duration>>,
    forecast: Option<Forecast>,
    /// True if packages are begun after one has failed.
    keeps_going: bool,
    remaining: Option<(Instant, Remaining)>,
}

/// Counts of results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ResultTally {
    pub(super) planned: usize,
    pub(super) cached: usize,
    pub(super) built: usize,
    /// Packages among them that were built on other machines.
    pub(super) elsewhere: usize,
    pub(super) fetched: usize,
    /// Planned packages that another process has built.
    pub(super) appeared: usize,
    pub(super) failed: usize,
    pub(super) interrupted: usize,
    /// Number of sources from the cache, from mirrors, from the network, from this machine.
    pub(super) sources: [usize; 4],
    /// Bytes received over the network.
    pub(super) bytes: u64,
}

impl ResultTally {
    /// Number of planned packages that are present.
    pub(super) fn done(&self) -> usize {
        self.built + self.fetched + self.appeared
    }

    /// Number of packages that did not start, or were interrupted.
    pub(super) fn left(&self) -> usize {
        self.planned.saturating_sub(self.done() + self.failed)
    }
}

/// A package or a task that runs.
#[derive(Debug, Clone)]
pub(super) struct Running {
    /// Id of the package, or description of the task.
    pub(super) name: String,
    /// A package's phase; none for a task.
    pub(super) phase: Option<Phase>,
    pub(super) began: Instant,
    pub(super) expected: Option<Duration>,
}

/// A download or an upload that runs.
#[derive(Debug, Clone)]
pub(super) struct RunningTransfer {
    pub(super) is_upload: bool,
    pub(super) url: String,
    pub(super) done: u64,
    pub(super) total: Option<u64>,
    pub(super) began: Instant,
    /// Time of the last received bytes.
    pub(super) last: Instant,
    /// Bytes per second, once there is something to measure.
    pub(super) rate: Option<u64>,
    /// End of the delay before the next attempt.
    pub(super) waits_until: Option<Instant>,
    measured: (Instant, u64),
}

impl RunState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            running: BTreeMap::new(),
            downloads: BTreeMap::new(),
            tally: ResultTally::default(),
            longest: Vec::new(),
            ran_on: HashMap::new(),
            count: 0,
            by_name: HashMap::new(),
            places: HashMap::new(),
            expected: Vec::new(),
            forecast: None,
            keeps_going: false,
            remaining: None,
        }
    }

    /// Takes an event.
    pub(super) fn apply(&mut self, event: &Event, now: Instant) {
        match event {
            Event::Planned(planned) => self.plan(planned),
            Event::Phase { package, phase } => self.enter(package, Some(*phase), now),
            Event::TaskBegan { task } => self.enter(task, None, now),
            Event::TaskEnded { task } => {
                if let Some(began) = self.leave(task) {
                    self.took(task, now.saturating_duration_since(began));
                }
            }
            Event::Finished { package, how, took } => self.finish(package, *how, *took),
            Event::RanOn { package, place } => {
                self.ran_on.insert(package.clone(), place.clone());
            }
            Event::Failed { package, took, .. } => {
                self.tally.failed += 1;
                self.took(package, *took);
                self.end(package, Forecast::failed);
                if !self.keeps_going {
                    self.begin_nothing_more();
                }
            }
            Event::Interrupted { package, .. } => {
                self.tally.interrupted += 1;
                self.end(package, Forecast::failed);
                self.begin_nothing_more();
            }
            Event::Source { origin, .. } => {
                self.tally.sources[place_of(*origin)] += 1;
            }
            Event::Download { subject, url, done, total } => {
                let download = self.downloads.entry(subject.clone());
                let download = download.or_insert_with(|| RunningTransfer::new(url, now));
                self.tally.bytes += download.goes_on(url, *done, *total, now);
            }
            Event::Upload { subject, url, done, total } => {
                let upload = self.downloads.entry(subject.clone());
                let upload = upload.or_insert_with(|| RunningTransfer::new(url, now));
                upload.is_upload = true;
                upload.goes_on(url, *done, *total, now);
            }
            Event::TransferEnded { subject } => {
                self.downloads.remove(subject);
            }
            Event::Retry { subject, wait, .. } => {
                if let Some(download) = self.downloads.get_mut(subject) {
                    download.waits_until = Some(now + *wait);
                }
            }
            Event::Warning { .. }
            | Event::Note { .. }
            | Event::Output { .. }
            | Event::Sent { .. } => {}
        }
    }

    fn plan(&mut self, planned: &Planned) {
        // What caches have given before is in the tree's cache by now.
        let done = self.tally.done();
        self.tally.planned = planned.packages.len() + done;
        self.tally.cached = planned.cached.saturating_sub(done);
        let ids = planned.packages.iter().enumerate();
        self.places = ids.map(|(place, package)| (package.id.clone(), place)).collect();
        self.expected = planned.packages.iter().map(|package| package.expected).collect();
        self.forecast = Some(Forecast::new(&planned.packages, planned.jobs));
        self.keeps_going = planned.keeps_going;
        self.remaining = None;
    }

    /// The estimate goes on with what runs alone.
    fn begin_nothing_more(&mut self) {
        if let Some(forecast) = &mut self.forecast {
            forecast.stop();
        }
        self.remaining = None;
    }

    fn enter(&mut self, name: &str, phase: Option<Phase>, now: Instant) {
        if let Some(running) = self.by_name.get(name).and_then(|it| self.running.get_mut(it)) {
            running.phase = phase;
            return;
        }
        let place = self.places.get(name).copied();
        let expected = place.and_then(|place| self.expected[place]);
        let running = Running { name: name.to_owned(), phase, began: now, expected };
        self.by_name.insert(name.to_owned(), self.count);
        self.running.insert(self.count, running);
        self.count += 1;
        if let (Some(place), Some(forecast)) = (place, &mut self.forecast) {
            forecast.started(place, now);
        }
    }

    fn leave(&mut self, name: &str) -> Option<Instant> {
        let running = self.by_name.remove(name).and_then(|it| self.running.remove(&it));
        running.map(|running| running.began)
    }

    fn finish(&mut self, package: &str, how: PackageOutcome, took: Duration) {
        match how {
            PackageOutcome::Built => {
                self.tally.built += 1;
                self.tally.elsewhere += usize::from(self.ran_on.contains_key(package));
                self.took(package, took);
            }
            PackageOutcome::Fetched => self.tally.fetched += 1,
            PackageOutcome::Cached => self.tally.appeared += 1,
        }
        let built = (how == PackageOutcome::Built).then_some(took);
        self.end(package, |forecast, place| forecast.finished(place, built));
    }

    fn end(&mut self, package: &str, tell: impl Fn(&mut Forecast, usize)) {
        self.leave(package);
        if let (Some(place), Some(forecast)) = (self.places.get(package), &mut self.forecast) {
            tell(forecast, *place);
        }
    }

    fn took(&mut self, name: &str, took: Duration) {
        let place = self.longest.partition_point(|(other, _)| *other >= took);
        if place < LONGEST {
            self.longest.insert(place, (took, name.to_owned()));
            self.longest.truncate(LONGEST);
        }
    }

    /// Remaining time, estimated at most once per interval.
    pub(super) fn remaining(&mut self, now: Instant) -> Option<Remaining> {
        let forecast = self.forecast.as_ref()?;
        let age = self.remaining.map(|(then, _)| now.saturating_duration_since(then));
        if age.is_none_or(|age| age >= FORECAST_INTERVAL) {
            self.remaining = Some((now, forecast.remaining(now)));
        }
        self.remaining.map(|(_, remaining)| remaining)
    }
}

fn place_of(origin: SourceOrigin) -> usize {
    match origin {
        SourceOrigin::Cache => 0,
        SourceOrigin::Mirror => 1,
        SourceOrigin::Network => 2,
        SourceOrigin::Local => 3,
    }
}

impl RunningTransfer {
    fn new(url: &str, now: Instant) -> Self {
        Self {
            is_upload: false,
            url: url.to_owned(),
            done: 0,
            total: None,
            began: now,
            last: now,
            rate: None,
            waits_until: None,
            measured: (now, 0),
        }
    }

    /// Records the progress; returns the number of new bytes.
    fn goes_on(&mut self, url: &str, done: u64, total: Option<u64>, now: Instant) -> u64 {
        if url != self.url || done < self.done {
            // It began anew, perhaps elsewhere.
            self.measured = (now, done);
            self.rate = None;
            url.clone_into(&mut self.url);
        }
        let came = done.saturating_sub(self.done);
        if came > 0 {
            self.last = now;
        }
        (self.done, self.total, self.waits_until) = (done, total, None);
        let (since, had) = self.measured;
        let passed = now.saturating_duration_since(since);
        if passed >= RATE_WINDOW || (self.rate.is_none() && passed >= RATE_WINDOW / 3) {
            let millis = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).max(1);
            let rate = done.saturating_sub(had).saturating_mul(1000) / millis;
            self.rate = Some(self.rate.map_or(rate, |before| u64::midpoint(before, rate)));
            self.measured = (now, done);
        }
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let began = Instant::now();
        let mut state = RunState::new(began);
        let mut at = |millis: u64, done| {
            let (subject, url) = ("p/s".to_owned(), "u".to_owned());
            let event = Event::Download { subject, url, done, total: None };
            state.apply(&event, began + Duration::from_millis(millis));
            state.downloads["p/s"].rate
        };
        assert_eq!(at(0, 0), None);
        assert_eq!(at(600, 600_000), Some(1_000_000));
        assert_eq!(at(1000, 600_000), Some(1_000_000));
        assert_eq!(at(2600, 600_000), Some(500_000));
        // A mirror that broke off, then the place itself.
        assert_eq!(at(2700, 0), None);
        assert_eq!(state.tally.bytes, 600_000);
    }

    #[test]
    fn the_longest_are_kept() {
        let now = Instant::now();
        let mut state = RunState::new(now);
        for (id, seconds) in [("a", 2), ("b", 9), ("c", 1), ("d", 5), ("e", 5)] {
            let took = Duration::from_secs(seconds);
            let package = id.to_owned();
            state.apply(&Event::Finished { package, how: PackageOutcome::Built, took }, now);
        }
        let names: Vec<&str> = state.longest.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["b", "d", "e"]);
        assert_eq!((state.tally.built, state.tally.done()), (5, 5));
    }
}
