//! Events as lines of text, the same for plain output and above a terminal's live lines.

use std::time::Duration;

use super::Weight;
use crate::base::event::{Event, Outcome, Phase};

/// The line that an event is worth, if it is worth one.
pub(super) fn line(event: &Event, count: &mut Count) -> Option<(Weight, String)> {
    let progress = |text: String| Some((Weight::Progress, text));
    match event {
        Event::Warning { subject, message } if subject.is_empty() => {
            Some((Weight::Warning, message.clone()))
        }
        Event::Warning { subject, message } => {
            Some((Weight::Warning, format!("{subject}: {message}")))
        }
        Event::Note { message } => progress(message.clone()),
        Event::Planned { packages } => {
            count.total = *packages;
            None
        }
        Event::Retry { subject, reason, wait } => {
            let wait = seconds(*wait);
            Some((Weight::Warning, format!("{subject}: {reason}; trying again in {wait}")))
        }
        Event::Phase { package, phase: Phase::Build } => {
            progress(format!("{} {package}", label("build")))
        }
        Event::Phase { package, phase: Phase::Wait } => {
            progress(format!("{} {package}: another process builds it", label("wait")))
        }
        Event::Finished { package, how, took } if *how != Outcome::Cached => {
            count.done += 1;
            let word = if *how == Outcome::Fetched { "fetched" } else { "built" };
            let place = count.place();
            progress(format!("{} {package}{place} in {}", label(word), seconds(*took)))
        }
        Event::Failed { package, phase, took } => progress(format!(
            "{} {package} ({}) after {}",
            label("failed"),
            phase.as_str(),
            seconds(*took)
        )),
        Event::Finished { .. }
        | Event::Stopped { .. }
        | Event::Phase { .. }
        | Event::Download { .. }
        | Event::DownloadEnded { .. } => None,
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Count {
    done: usize,
    total: usize,
}

impl Count {
    fn place(self) -> String {
        if self.total > 1 { format!(" ({} of {})", self.done, self.total) } else { String::new() }
    }
}

pub(super) fn label(word: &str) -> String {
    format!("{word:>8}")
}

/// A time as a person says it.
pub(super) fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole / 60 % 60),
    }
}

/// A size as a person says it.
pub fn bytes(count: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB"];
    let mut scaled = count;
    let mut rest = 0;
    let mut unit = 0;
    while scaled >= 1000 && unit + 1 < units.len() {
        rest = scaled % 1000 / 100;
        scaled /= 1000;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{scaled}.{rest} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_read_well() {
        assert_eq!(seconds(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(seconds(Duration::from_secs(3_725)), "1 h 2 min");
        assert_eq!((bytes(999), bytes(1_250_000)), ("999 B".to_owned(), "1.2 MB".to_owned()));
    }

    #[test]
    fn only_what_happened_is_worth_a_line() {
        let mut count = Count::default();
        line(&Event::Planned { packages: 2 }, &mut count);
        let finished =
            |how| Event::Finished { package: "a--1".to_owned(), how, took: Duration::from_secs(1) };
        assert_eq!(line(&finished(Outcome::Cached), &mut count), None);
        let text = line(&finished(Outcome::Built), &mut count).unwrap().1;
        assert_eq!(text, "   built a--1 (1 of 2) in 1.0 s");
    }
}
