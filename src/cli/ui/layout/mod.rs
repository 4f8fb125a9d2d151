//! Live lines, as a pure function of the run's state, the time and the available room: a line per
//! running package, task and download, and below them the total.
//!
//! Everything is aligned to the left, so that related texts stay together in a wide window, and
//! little is wrapped when a window becomes narrower. Parts without room are left out, the least
//! important first; names are truncated last.

mod total;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::span::{SpanLine, SpanStyle, clip, width};
use super::state::{RunState, Running, RunningTransfer};
use super::text::{bytes, clock, name_of, seconds, short};
use crate::base::event::Phase;
use crate::build::estimate::Remaining;

/// Number of rows left to scrolling output.
const LEFT_ROWS: usize = 3;
/// Minimum width of a name before its details are shortened.
const LEAST_NAME: usize = 10;
/// Time without data after which a download is shown as stalled.
const STALLED: Duration = Duration::from_secs(5);
/// Narrower windows get lines without air.
const NARROW: usize = 40;

/// A live line, before it is fitted in.
struct Row {
    phase: &'static str,
    passed: Duration,
    expected: Option<Duration>,
    name: String,
    /// Details, from the longest form to the shortest.
    details: Vec<String>,
}

/// The live lines for a window of so many columns and rows; none if nothing is going on.
pub(super) fn lines(
    state: &RunState,
    remaining: Option<Remaining>,
    now: Instant,
    (columns, rows): (usize, usize),
) -> Vec<SpanLine> {
    if state.running.is_empty() && state.downloads.is_empty() && state.tally.planned == 0 {
        return Vec::new();
    }
    let room = rows.saturating_sub(LEFT_ROWS).max(2) - 1;
    let mut shown = all_rows(state, now);
    let more = if shown.len() > room { shown.len() - (room - 1) } else { 0 };
    shown.truncate(shown.len() - more);
    // The last column stays free: a cursor that waits behind it is a case of its own everywhere.
    let columns = columns.saturating_sub(1);
    let mut lines = fit(&shown, columns);
    if more > 0 {
        let indent = if columns < NARROW { "" } else { " " };
        lines.push(SpanLine::default().with(SpanStyle::Dim, &format!("{indent}and {more} more")));
    }
    lines.push(total::line(state, remaining, now, columns));
    lines.into_iter().map(|line| line.clip(columns)).collect()
}

fn all_rows(state: &RunState, now: Instant) -> Vec<Row> {
    let mut same_name: HashMap<&str, usize> = HashMap::new();
    for running in state.running.values() {
        *same_name.entry(name_of(&running.name)).or_default() += 1;
    }
    let is_fetched = |running: &&Running| {
        let its = |subject: &String| belongs(subject, &running.name);
        running.phase == Some(Phase::Fetch) && state.downloads.keys().any(its)
    };
    let running = state.running.values().filter(|running| !is_fetched(running)).map(|running| {
        let name = name_of(&running.name);
        let is_task = running.phase.is_none();
        // Two variants of a package differ in their versions alone.
        let several = same_name.get(name).is_some_and(|count| *count > 1);
        Row {
            phase: running.phase.map_or("make", Phase::as_str),
            passed: now.saturating_duration_since(running.began),
            expected: running.expected,
            name: if is_task {
                running.name.clone()
            } else if several {
                short(&running.name)
            } else {
                name.to_owned()
            },
            details: Vec::new(),
        }
    });
    let downloads = state.downloads.iter().map(|(subject, download)| Row {
        phase: if download.is_upload { "upload" } else { "fetch" },
        passed: now.saturating_duration_since(download.began),
        expected: None,
        name: shown_subject(subject),
        details: details(download, now),
    });
    running.chain(downloads).collect()
}

/// The part of a download's subject behind the repository's folders.
fn file_in_repository(subject: &str) -> Option<&str> {
    let path = subject.strip_prefix("packages/").or_else(|| subject.strip_prefix("bootstrap/"))?;
    path.rsplit('/').next()
}

fn shown_subject(subject: &str) -> String {
    match file_in_repository(subject) {
        Some(file) => short(file.trim_end_matches(".sha256").trim_end_matches(".tar.xz")),
        None => subject.to_owned(),
    }
}

/// True if a download belongs to a package: its archive in a repository, or a source.
fn belongs(subject: &str, id: &str) -> bool {
    match file_in_repository(subject) {
        Some(file) => file.starts_with(id),
        None => subject.split_once('/').is_some_and(|(package, _)| package == name_of(id)),
    }
}

/// Details of a download, from the longest form to the shortest.
fn details(download: &RunningTransfer, now: Instant) -> Vec<String> {
    let RunningTransfer { done, total, rate, .. } = download;
    if let Some(until) = download.waits_until.filter(|until| *until > now) {
        let wait = seconds(until.saturating_duration_since(now));
        return vec![format!("trying again in {wait}"), "waits".to_owned()];
    }
    let stalled = now.saturating_duration_since(download.last);
    let pace = match rate {
        _ if stalled >= STALLED => format!(", no data for {}", clock(stalled)),
        Some(rate) => format!(", {}/s", bytes(*rate)),
        None => String::new(),
    };
    let Some(total) = total.filter(|total| *total > 0) else {
        return vec![format!("{}{pace}", bytes(*done)), bytes(*done)];
    };
    let percent = done.saturating_mul(100) / total;
    let left = rate
        .filter(|rate| *rate > 0 && stalled < STALLED)
        .map(|rate| clock(Duration::from_secs(total.saturating_sub(*done).div_ceil(rate))));
    let sizes = format!("{} of {}", bytes(*done), bytes(total));
    let mut all = Vec::new();
    all.extend(
        left.map(|left| format!("{sizes}{pace}, {left} left, from {}", host(&download.url))),
    );
    all.push(format!("{sizes}{pace}"));
    all.push(format!("{percent} %{pace}"));
    all.push(format!("{percent} %"));
    all
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// Rows as lines, with times and names below one another.
fn fit(rows: &[Row], columns: usize) -> Vec<SpanLine> {
    let narrow = columns < NARROW;
    let passed: Vec<String> = rows.iter().map(|row| clock(row.passed)).collect();
    let widest = passed.iter().map(|time| width(time)).max().unwrap_or(0);
    // The expected times are left out first, for all rows alike.
    let with_expected = |row: &Row| row.expected.filter(|_| columns >= 50);
    let times = rows.iter().zip(passed).map(|(row, passed)| match with_expected(row) {
        Some(expected) => format!("{passed:>widest$} of {}", clock(expected)),
        None => format!("{passed:>widest$}"),
    });
    let times: Vec<String> = times.collect();
    let widest = times.iter().map(|time| width(time)).max().unwrap_or(0);
    let line = |(row, time): (&Row, &String)| {
        let (phase, gap) = if narrow {
            let word = match row.phase {
                "prepare" => "prep",
                "upload" => "send",
                word => word,
            };
            (format!("{word:<5} "), " ")
        } else {
            (format!(" {:<7}  ", row.phase), "  ")
        };
        let time = format!("{time:<widest$}{gap}");
        let room = columns.saturating_sub(width(&phase) + width(&time));
        let (name, detail) = name_and_detail(row, room, gap);
        SpanLine::default()
            .with(SpanStyle::Cyan, &phase)
            .with(SpanStyle::Dim, &time)
            .with(SpanStyle::Bold, &name)
            .with(SpanStyle::Plain, &detail)
    };
    rows.iter().zip(&times).map(line).collect()
}

/// Returns a name, and the longest detail that leaves room for the name.
fn name_and_detail(row: &Row, room: usize, gap: &str) -> (String, String) {
    let whole = width(&row.name);
    let fits = |name: usize| {
        let fits = |detail: &&String| width(detail) + width(gap) + name <= room;
        row.details.iter().find(fits)
    };
    let Some(detail) =
        fits(whole).filter(|_| whole <= room).or_else(|| fits(whole.min(LEAST_NAME)))
    else {
        return (clip(&row.name, room), String::new());
    };
    let name = clip(&row.name, room - width(detail) - width(gap));
    (name, format!("{gap}{detail}"))
}
