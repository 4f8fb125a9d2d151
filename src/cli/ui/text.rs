//! Events as lines of text, the same for plain output and above a terminal's live lines; times,
//! sizes and names as a person says them.

use std::time::Duration;

use super::Weight;
use super::state::{ResultTally, RunState};
use crate::base::event::{Event, PackageOutcome, Phase};

/// Form of packages' names in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameForm {
    /// By their whole ids.
    Whole,
    /// Shortened to a distinguishable part; running builds are shown elsewhere.
    Short,
}

/// Returns the line about an event, if notable; `state` includes the event already.
pub(super) fn line(event: &Event, state: &RunState, names: NameForm) -> Option<(Weight, String)> {
    let progress = |text: String| Some((Weight::Progress, text));
    let name = |id: &str| if names == NameForm::Whole { id.to_owned() } else { short(id) };
    match event {
        Event::Warning { subject, message } if subject.is_empty() => {
            Some((Weight::Warning, message.clone()))
        }
        Event::Warning { subject, message } => {
            Some((Weight::Warning, format!("{subject}: {message}")))
        }
        Event::Note { message } => progress(message.clone()),
        Event::Output { subject, line } => progress(format!("{subject} | {line}")),
        Event::Sent { subject, place, bytes: count } => {
            progress(format!("{} {subject} ({}) to {place}", label("sent"), bytes(*count)))
        }
        Event::Retry { subject, reason, wait } => {
            let wait = seconds(*wait);
            Some((Weight::Warning, format!("{subject}: {reason}; trying again in {wait}")))
        }
        Event::Phase { package, phase: Phase::Build } if names == NameForm::Whole => {
            progress(format!("{} {package}", label("build")))
        }
        Event::Phase { package, phase: Phase::Wait } => {
            progress(format!("{} {}: another process builds it", label("wait"), name(package)))
        }
        Event::Finished { package, how, took } if *how != PackageOutcome::Cached => {
            let word = if *how == PackageOutcome::Fetched { "fetched" } else { "built" };
            let ran_on = state.ran_on.get(package);
            let ran_on = ran_on.map(|place| format!(" on {place}")).unwrap_or_default();
            let (package, place) = (name(package), place(&state.tally));
            let took = seconds(*took);
            progress(format!("{} {package}{place}{ran_on} in {took}", label(word)))
        }
        Event::Failed { package, phase, took, log } => {
            let (package, phase, took) = (name(package), phase.as_str(), seconds(*took));
            let mut text = format!("{} {package} ({phase}) after {took}", label("failed"));
            // If nothing runs, the error that follows soon says it.
            if let Some(log) = log.as_ref().filter(|_| !state.running.is_empty()) {
                text = format!("{text}\n{} {}", label("log:"), log.display());
            }
            progress(text)
        }
        Event::Interrupted { package, phase, took } if names == NameForm::Whole => progress(
            format!("{} {package} ({}) after {}", label("stopped"), phase.as_str(), seconds(*took)),
        ),
        Event::Planned(_)
        | Event::TaskBegan { .. }
        | Event::TaskEnded { .. }
        | Event::Source { .. }
        | Event::Finished { .. }
        | Event::Interrupted { .. }
        | Event::RanOn { .. }
        | Event::Phase { .. }
        | Event::Download { .. }
        | Event::Upload { .. }
        | Event::TransferEnded { .. } => None,
    }
}

fn place(tally: &ResultTally) -> String {
    let (done, planned) = (tally.done(), tally.planned);
    if planned > 1 { format!(" ({done} of {planned})") } else { String::new() }
}

pub(super) fn label(word: &str) -> String {
    format!("{word:>8}")
}

/// The name in a package's id.
pub(super) fn name_of(id: &str) -> &str {
    id.split_once("--").map_or(id, |(name, _)| name)
}

/// A package's id with as much of its version as is told apart.
pub fn short(id: &str) -> String {
    const ENOUGH: usize = 7;
    match id.split_once("--") {
        // A version that is more than a hash is worth reading.
        Some((name, version)) if version.len() == 40 && version.is_ascii() => {
            format!("{name}--{}", &version[..ENOUGH])
        }
        _ => id.to_owned(),
    }
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

/// A time as a clock says it.
pub(super) fn clock(time: Duration) -> String {
    let whole = time.as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// A time that is only roughly known.
pub(super) fn about(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => "about 10 s".to_owned(),
        10..90 => format!("about {} s", whole.div_ceil(10) * 10),
        90..7200 => format!("about {} min", whole.div_ceil(60)),
        _ => format!("about {} h {} min", whole / 3600, whole / 600 % 6 * 10),
    }
}

/// A number of things, in words: `1 error`, `2 errors`.
pub fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
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
        let of = Duration::from_secs;
        assert_eq!(seconds(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(
            (seconds(of(125)), seconds(of(3_725))),
            ("2 min 5 s".into(), "1 h 2 min".into())
        );
        assert_eq!((clock(of(5)), clock(of(3_725))), ("0:05".into(), "1:02:05".into()));
        assert_eq!((about(of(0)), about(of(41))), ("about 10 s".into(), "about 50 s".into()));
        assert_eq!(about(of(90)), "about 2 min");
        assert_eq!(about(of(11_000)), "about 3 h 0 min");
        assert_eq!((bytes(999), bytes(1_250_000)), ("999 B".to_owned(), "1.2 MB".to_owned()));
    }

    #[test]
    fn ids_are_as_long_as_they_need_be() {
        let id = "a--4e66b78a14efa4c7d9e615f2da4917297bf3d5a5";
        assert_eq!((short(id).as_str(), name_of(id)), ("a--4e66b78", "a"));
        assert_eq!(short("a--1.2"), "a--1.2");
        assert_eq!((short("image"), name_of("image")), ("image".to_owned(), "image"));
    }

    #[test]
    fn only_what_happened_is_worth_a_line() {
        let mut state = RunState::new(std::time::Instant::now());
        state.tally = ResultTally { planned: 2, built: 1, ..ResultTally::default() };
        let finished =
            |how| Event::Finished { package: "a--1".to_owned(), how, took: Duration::from_secs(1) };
        assert_eq!(line(&finished(PackageOutcome::Cached), &state, NameForm::Whole), None);
        let text = line(&finished(PackageOutcome::Built), &state, NameForm::Whole).unwrap().1;
        assert_eq!(text, "   built a--1 (1 of 2) in 1.0 s");
    }
}
