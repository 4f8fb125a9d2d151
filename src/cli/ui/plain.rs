//! Progress as plain lines: for logs, pipes and CI. Long tasks are reported at intervals, since CI
//! systems end silent jobs.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::state::RunState;
use super::summary::{self, RunEnding};
use super::text::{NameForm, about, bytes, label, line, seconds};
use super::ticker::Ticker;
use super::{Printer, Weight};
use crate::base::event::{Event, Observer};
use crate::build::estimate::Remaining;

/// Interval between lines about a running download.
const DOWNLOAD_INTERVAL: Duration = Duration::from_secs(10);
/// After how long a silence something is said.
const HEARTBEAT: Duration = Duration::from_secs(60);
/// A shorter run is over before its estimate is read.
const WORTH_EXPECTING: Duration = Duration::from_secs(30);
/// Number of running builds to name.
const NAMED: usize = 4;

/// Output with a line per event.
#[derive(Debug)]
pub struct Plain {
    printer: Printer,
    status: Arc<Mutex<PlainStatus>>,
    ticker: Mutex<Option<Ticker>>,
}

#[derive(Debug)]
struct PlainStatus {
    state: RunState,
    /// Time of the last line.
    last: Instant,
    /// Time of the last line about each running download.
    downloads: HashMap<String, Instant>,
}

impl Plain {
    /// Writes through a printer.
    pub fn new(printer: Printer) -> Self {
        let status = Arc::new(Mutex::new(PlainStatus::new(Instant::now())));
        let its = Arc::clone(&status);
        let tick = move || {
            let mut status = its.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(text) = status.heartbeat(Instant::now()) {
                printer.line(Weight::Progress, &text);
            }
        };
        let ticker = (!printer.is_quiet()).then(|| Ticker::start(HEARTBEAT / 12, tick));
        Self { printer, status, ticker: Mutex::new(ticker) }
    }

    /// Writes the result of the run.
    pub fn finish(&self, ending: RunEnding, cached: usize) {
        drop(self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take());
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        for line in summary::lines(&status.state, ending, cached, Instant::now()) {
            self.printer.styled(&line);
        }
    }
}

impl PlainStatus {
    fn new(now: Instant) -> Self {
        Self { state: RunState::new(now), last: now, downloads: HashMap::new() }
    }

    fn line(&mut self, event: &Event, now: Instant) -> Option<(Weight, String)> {
        self.state.apply(event, now);
        let shown = match event {
            Event::Download { subject, url, done, total }
            | Event::Upload { subject, url, done, total } => {
                let last = self.downloads.get(subject);
                let first = last.is_none();
                if last.is_some_and(|last| now.duration_since(*last) < DOWNLOAD_INTERVAL) {
                    return None;
                }
                self.downloads.insert(subject.clone(), now);
                let total = total.map_or_else(|| "?".to_owned(), bytes);
                let how_far = if first { total } else { format!("{} of {total}", bytes(*done)) };
                let rate = self.state.downloads.get(subject).and_then(|download| download.rate);
                let rate = rate.filter(|_| !first);
                let rate = rate.map_or_else(String::new, |rate| format!(", {}/s", bytes(rate)));
                let is_upload = matches!(event, Event::Upload { .. });
                let word = if is_upload { "upload" } else { "fetch" };
                let text = format!("{} {subject}: {url} ({how_far}{rate})", label(word));
                Some((Weight::Progress, text))
            }
            Event::TransferEnded { subject } => {
                self.downloads.remove(subject);
                None
            }
            Event::Planned(_) => self.planned(now),
            other => line(other, &self.state, NameForm::Whole),
        };
        if shown.is_some() {
            self.last = now;
        }
        shown
    }

    /// Line about the plan, if non-trivial.
    fn planned(&mut self, now: Instant) -> Option<(Weight, String)> {
        let worth = |remaining: &Remaining| remaining.time >= WORTH_EXPECTING;
        let remaining = self.state.remaining(now).filter(worth)?;
        let mut text = format!("{} {}", label("expected"), about(remaining.time));
        if remaining.unknown > 0 {
            _ = write!(text, " at least; unknown for {} packages", remaining.unknown);
        }
        Some((Weight::Progress, text))
    }

    /// Line after a silence, if any build is running.
    fn heartbeat(&mut self, now: Instant) -> Option<String> {
        if now.saturating_duration_since(self.last) < HEARTBEAT || self.state.running.is_empty() {
            return None;
        }
        self.last = now;
        let remaining = self.state.remaining(now).filter(|remaining| remaining.known > 0);
        let running = self.state.running.values().take(NAMED).map(|running| {
            let phase = running.phase.map_or("make", |phase| phase.as_str());
            let passed = seconds(now.saturating_duration_since(running.began));
            format!("{phase} {} for {passed}", running.name)
        });
        let mut text = running.collect::<Vec<_>>().join(", ");
        let more = self.state.running.len().saturating_sub(NAMED);
        if more > 0 {
            _ = write!(text, ", and {more} more");
        }
        let tally = &self.state.tally;
        if tally.planned > 1 {
            _ = write!(text, "; {} of {} done", tally.done(), tally.planned);
        }
        if let Some(remaining) = remaining {
            let at_least = if remaining.unknown > 0 { " at least" } else { "" };
            _ = write!(text, ", {}{at_least} left", about(remaining.time));
        }
        Some(format!("{} {text}", label("running")))
    }
}

impl Observer for Plain {
    fn event(&self, event: Event) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((weight, text)) = status.line(&event, Instant::now()) {
            self.printer.line(weight, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::event::{Phase, Planned, PlannedPackage};

    #[test]
    fn a_download_is_worth_a_line_when_it_begins() {
        let began = Instant::now();
        let mut status = PlainStatus::new(began);
        let (subject, url) = ("p/s".to_owned(), "http://x/f".to_owned());
        let mut at = |second, done| {
            let (subject, url) = (subject.clone(), url.clone());
            let event = Event::Download { subject, url, done, total: Some(2000) };
            status.line(&event, began + Duration::from_secs(second)).map(|(_, text)| text)
        };
        assert_eq!(at(0, 0).unwrap(), "   fetch p/s: http://x/f (2.0 KB)");
        assert_eq!(at(1, 1000), None);
        assert_eq!(at(11, 1100).unwrap(), "   fetch p/s: http://x/f (1.1 KB of 2.0 KB, 505 B/s)");
        status.line(&Event::TransferEnded { subject }, began);
        assert!(status.downloads.is_empty());
    }

    #[test]
    fn what_runs_for_long_says_so_after_a_silence() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut status = PlainStatus::new(began);
        assert_eq!(status.heartbeat(at(1000)), None, "nothing runs");
        let package = |id: &str| PlannedPackage {
            id: id.to_owned(),
            needs: Vec::new(),
            expected: Some(Duration::from_secs(300)),
        };
        let packages = vec![package("a--1"), package("b--2")];
        let planned =
            Event::Planned(Arc::new(Planned { cached: 0, jobs: 2, keeps_going: true, packages }));
        assert_eq!(status.line(&planned, at(0)).unwrap().1, "expected about 5 min");
        let phase = |package: &str, phase| Event::Phase { package: package.to_owned(), phase };
        status.line(&phase("a--1", Phase::Prepare), at(0));
        status.line(&phase("a--1", Phase::Build), at(1));
        status.line(&Event::TaskBegan { task: "bootstrap x".to_owned() }, at(41));
        assert_eq!(status.heartbeat(at(60)), None, "less than a minute has passed since");
        let running = " running build a--1 for 1 min 1 s, make bootstrap x for 20.0 s; 0 of 2 done, about 5 min left";
        assert_eq!(status.heartbeat(at(61)).unwrap(), running);
        assert_eq!(status.heartbeat(at(62)), None);
        assert!(status.heartbeat(at(121)).is_some());
    }
}
