//! Progress as JSON lines, for programs: `docs/progress.md` specifies the events and their fields,
//! which are stable.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::state::RunState;
use super::summary::RunEnding;
use super::ticker::Ticker;
use super::{Printer, screen};
use crate::base::event::{Event, Observer, PackageOutcome};
use crate::base::remedy::split_hints;

/// Interval between events of a running download.
const DOWNLOAD_INTERVAL: Duration = Duration::from_secs(1);
/// Interval between events about running builds.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Writes an object per event.
#[derive(Debug)]
pub struct JsonEvents {
    status: Arc<Mutex<JsonStatus>>,
    ticker: Mutex<Option<Ticker>>,
    quiet: bool,
}

#[derive(Debug)]
struct JsonStatus {
    state: RunState,
    /// Time of the last event of each running download.
    downloads: HashMap<String, Instant>,
}

impl JsonEvents {
    /// Writes all events, or warnings alone if the printer is quiet.
    pub fn new(printer: Printer) -> Self {
        let status = JsonStatus { state: RunState::new(Instant::now()), downloads: HashMap::new() };
        let status = Arc::new(Mutex::new(status));
        let quiet = printer.is_quiet();
        let its = Arc::clone(&status);
        let tick = move || {
            let mut status = its.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(running) = status.running(Instant::now()) {
                emit("running", &running);
            }
        };
        let ticker = (!quiet).then(|| Ticker::start(HEARTBEAT, tick));
        Self { status, ticker: Mutex::new(ticker), quiet }
    }

    /// Emits the result of the run.
    pub fn finish(&self, ending: RunEnding, cached: usize) {
        drop(self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take());
        if !self.quiet {
            let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            emit("summary", &status.summary(ending, cached, Instant::now()));
        }
    }
}

/// Writes the first event.
pub(super) fn start() {
    emit("start", &json!({ "format": 1, "mkpanda": env!("CARGO_PKG_VERSION") }));
}

/// Writes an event: its name, its time in seconds since the program's start, and its fields.
pub(super) fn emit(event: &str, fields: &Value) {
    screen::write(&format!("{}\n", object(event, screen::since_start(), fields)));
}

/// Serializes an event on one line; name and time come first, for human readers.
fn object(event: &str, at: Duration, fields: &Value) -> String {
    let fields = fields.to_string();
    let fields = fields.strip_prefix('{').filter(|rest| *rest != "}");
    let rest = fields.map_or_else(|| "}".to_owned(), |rest| format!(",{rest}"));
    format!(r#"{{"event":"{event}","at":{}{rest}"#, seconds(at))
}

/// Seconds, to the millisecond.
fn seconds(time: Duration) -> Value {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    serde_json::from_str(&text).unwrap_or_default()
}

impl JsonStatus {
    /// Name and fields of an event, if reported.
    fn fields_of(&mut self, event: &Event, now: Instant) -> Option<(&'static str, Value)> {
        if let Event::TransferEnded { subject } = event {
            self.downloads.remove(subject);
            let download = self.state.downloads.get(subject)?;
            let took = now.saturating_duration_since(download.began);
            let fields = json!({
                "subject": subject, "url": download.url, "bytes": download.done, "seconds": seconds(took),
            });
            let name = if download.is_upload { "upload_end" } else { "download_end" };
            self.state.apply(event, now);
            return Some((name, fields));
        }
        self.state.apply(event, now);
        Some(match event {
            Event::Warning { subject, message } => {
                let (message, hints) = split_hints(message);
                let subject = none_if_empty(subject);
                ("warning", json!({ "subject": subject, "message": message, "hints": hints }))
            }
            Event::Note { message } => ("note", json!({ "message": message })),
            Event::Output { subject, line } => {
                ("output", json!({ "subject": subject, "line": line }))
            }
            Event::Planned(planned) => {
                let remaining = self.state.remaining(now).unwrap_or_default();
                let expected = (remaining.known > 0).then(|| seconds(remaining.time));
                let packages = planned.packages.len();
                (
                    "plan",
                    json!({
                        "packages": packages, "cached": planned.cached, "jobs": planned.jobs,
                        "expected_seconds": expected, "unknown": remaining.unknown,
                    }),
                )
            }
            Event::Sent { subject, place, bytes } => {
                ("sent", json!({ "subject": subject, "store": place, "bytes": bytes }))
            }
            Event::TaskBegan { task } => ("task", json!({ "task": task })),
            Event::TaskEnded { task } => ("task_end", json!({ "task": task })),
            Event::Source { subject, origin } => {
                ("source", json!({ "subject": subject, "from": origin.as_str() }))
            }
            Event::Download { subject, url, done, total }
            | Event::Upload { subject, url, done, total } => {
                let last = self.downloads.get(subject);
                if last.is_some_and(|last| now.duration_since(*last) < DOWNLOAD_INTERVAL) {
                    return None;
                }
                self.downloads.insert(subject.clone(), now);
                let rate = self.state.downloads.get(subject).and_then(|download| download.rate);
                (
                    if matches!(event, Event::Upload { .. }) { "upload" } else { "download" },
                    json!({
                        "subject": subject, "url": url, "bytes": done, "total": total,
                        "bytes_per_second": rate,
                    }),
                )
            }
            Event::TransferEnded { .. } => return None,
            Event::Retry { subject, reason, wait } => (
                "retry",
                json!({ "subject": subject, "reason": reason, "wait_seconds": seconds(*wait) }),
            ),
            Event::Phase { package, phase } => {
                ("phase", json!({ "id": package, "phase": phase.as_str() }))
            }
            Event::Finished { package, how, took } => {
                let from = match how {
                    PackageOutcome::Built => "build",
                    PackageOutcome::Fetched => "repository",
                    PackageOutcome::Cached => "cache",
                };
                let tally = &self.state.tally;
                (
                    "finish",
                    json!({
                        "id": package, "from": from, "seconds": seconds(*took),
                        "done": tally.done(), "packages": tally.planned,
                    }),
                )
            }
            Event::RanOn { package, place } => ("ran_on", json!({ "id": package, "place": place })),
            Event::Failed { package, phase, took, log } => (
                "failed",
                json!({
                    "id": package, "phase": phase.as_str(), "seconds": seconds(*took), "log": log,
                }),
            ),
            Event::Interrupted { package, phase, took } => (
                "interrupted",
                json!({
                    "id": package, "phase": phase.as_str(), "seconds": seconds(*took),
                }),
            ),
        })
    }

    fn running(&mut self, now: Instant) -> Option<Value> {
        if self.state.running.is_empty() {
            return None;
        }
        let remaining = self.state.remaining(now).filter(|remaining| remaining.known > 0);
        let running = self.state.running.values().map(|running| {
            let passed = now.saturating_duration_since(running.began);
            let name = if running.phase.is_some() { "id" } else { "task" };
            json!({
                name: running.name, "phase": running.phase, "seconds": seconds(passed),
                "expected_seconds": running.expected.map(seconds),
            })
        });
        Some(json!({
            "running": running.collect::<Vec<_>>(),
            "expected_seconds": remaining.map(|remaining| seconds(remaining.time)),
            "unknown": remaining.map(|remaining| remaining.unknown),
        }))
    }

    fn summary(&self, ending: RunEnding, cached: usize, now: Instant) -> Value {
        let tally = &self.state.tally;
        let [from_cache, mirror, network, local] = tally.sources;
        let longest = self.state.longest.iter();
        let longest = longest.map(|(took, name)| json!({ "id": name, "seconds": seconds(*took) }));
        let cached = if tally.planned > 0 { tally.cached } else { cached };
        json!({
            "result": ending.as_str(),
            "seconds": seconds(now.saturating_duration_since(self.state.began)),
            "built": tally.built,
            "fetched": tally.fetched,
            "cached": cached + tally.appeared,
            "failed": tally.failed,
            "not_built": tally.left(),
            "sources": { "cache": from_cache, "mirror": mirror, "network": network, "local": local },
            "downloaded_bytes": tally.bytes,
            "longest": longest.collect::<Vec<_>>(),
        })
    }
}

fn none_if_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

impl Observer for JsonEvents {
    fn event(&self, event: Event) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        let reported = status.fields_of(&event, Instant::now());
        let is_said = !self.quiet || matches!(event, Event::Warning { .. } | Event::Retry { .. });
        if let Some((name, fields)) = reported.filter(|_| is_said) {
            emit(name, &fields);
        }
    }
}
