//! Summary of a run: built packages, origins of sources, total time, and the longest builds.

use std::time::{Duration, Instant};

use super::span::{SpanLine, SpanStyle};
use super::state::RunState;
use super::text::{bytes, label, seconds, short};

/// Minimum time of a build to be named among the longest.
const WORTH_NAMING: Duration = Duration::from_secs(5);

/// Result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnding {
    /// All requested artifacts are present.
    Done,
    /// Something failed.
    Failed,
    /// The run was interrupted.
    Interrupted,
}

impl RunEnding {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// The lines of a summary; none where the lines before have said it all, or the error that follows
/// does. `cached` is how many packages were in the cache of a run that had nothing to build.
pub(super) fn lines(
    state: &RunState,
    ending: RunEnding,
    cached: usize,
    now: Instant,
) -> Vec<SpanLine> {
    let tally = &state.tally;
    if tally.planned == 0 {
        let worth = ending == RunEnding::Done && cached > 1 && state.longest.is_empty();
        let text = format!(" nothing to build: {cached} packages are in the cache");
        return if worth { vec![line("done", SpanStyle::Green, &text)] } else { Vec::new() };
    }
    if tally.planned == 1 {
        return Vec::new();
    }
    let some = |count: usize, text: &str| (count > 0).then(|| format!("{count} {text}"));
    let packages = [
        match tally.elsewhere {
            0 => some(tally.built, "built"),
            count => Some(format!("{} built ({count} on other machines)", tally.built)),
        },
        some(tally.fetched, "fetched"),
        some(tally.cached + tally.appeared, "in the cache"),
        some(tally.failed, "failed"),
        some(tally.left(), "not built"),
    ];
    let packages = packages.into_iter().flatten().collect::<Vec<_>>().join(", ");
    let took = seconds(now.saturating_duration_since(state.began));
    let (word, style) = match ending {
        RunEnding::Done => ("done", SpanStyle::Green),
        RunEnding::Failed => ("failed", SpanStyle::Red),
        RunEnding::Interrupted => ("stopped", SpanStyle::Red),
    };
    let mut lines = vec![line(word, style, &format!(" {packages} in {took}"))];
    let [cache, mirror, network, local] = tally.sources;
    let downloaded = match (network, tally.bytes) {
        (0, _) => None,
        (count, 0) => Some(format!("{count} downloaded")),
        (count, size) => Some(format!("{count} downloaded ({})", bytes(size))),
    };
    let sources = [
        some(cache, "from the cache"),
        some(mirror, "from a mirror"),
        downloaded,
        some(local, "from this machine"),
    ];
    let sources: Vec<String> = sources.into_iter().flatten().collect();
    if !sources.is_empty() {
        lines.push(line("sources", SpanStyle::Plain, &format!(" {}", sources.join(", "))));
    }
    if state.longest.len() > 1 && state.longest[0].0 >= WORTH_NAMING {
        let longest = state.longest.iter();
        let longest = longest.map(|(took, name)| format!("{} {}", short(name), seconds(*took)));
        let longest = longest.collect::<Vec<_>>().join(", ");
        lines.push(line("longest", SpanStyle::Plain, &format!(" {longest}")));
    }
    lines
}

fn line(word: &str, style: SpanStyle, text: &str) -> SpanLine {
    SpanLine::default().with(style, &label(word)).with(SpanStyle::Plain, text)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::event::{Event, PackageOutcome, Phase, Planned, PlannedPackage, SourceOrigin};

    fn summary(events: &[Event], ending: RunEnding, cached: usize) -> Vec<String> {
        let began = Instant::now();
        let mut state = RunState::new(began);
        for event in events {
            state.apply(event, began);
        }
        let lines = lines(&state, ending, cached, began + Duration::from_secs(100));
        lines.iter().map(|line| line.render(false)).collect()
    }

    fn planned(ids: &[&str]) -> Event {
        let package =
            |id: &&str| PlannedPackage { id: (*id).to_owned(), needs: Vec::new(), expected: None };
        let packages = ids.iter().map(package).collect();
        Event::Planned(Arc::new(Planned { cached: 65, jobs: 2, keeps_going: true, packages }))
    }

    #[test]
    fn it_says_what_came_from_where_and_what_took_longest() {
        let finished = |package: &str, how, seconds| Event::Finished {
            package: package.to_owned(),
            how,
            took: Duration::from_secs(seconds),
        };
        let source = |origin| Event::Source { subject: "a/s".to_owned(), origin };
        let download = |done| Event::Download {
            subject: "a/s".to_owned(),
            url: "http://x/".to_owned(),
            done,
            total: None,
        };
        let failed = Event::Failed {
            package: "d--4".to_owned(),
            phase: Phase::Build,
            took: Duration::from_secs(3),
            log: None,
        };
        let events = [
            planned(&["a--1", "b--2", "c--3", "d--4", "e--5"]),
            source(SourceOrigin::Cache),
            download(0),
            download(40_200_000),
            source(SourceOrigin::Network),
            source(SourceOrigin::Mirror),
            finished("a--1", PackageOutcome::Built, 75),
            finished("b--2", PackageOutcome::Fetched, 9),
            finished("c--3", PackageOutcome::Built, 2),
            failed,
        ];
        assert_eq!(
            summary(&events, RunEnding::Failed, 65).join("\n"),
            "  failed 2 built, 1 fetched, 65 in the cache, 1 failed, 1 not built in 1 min 40 s\n \
             sources 1 from the cache, 1 from a mirror, 1 downloaded (40.2 MB)\n \
             longest a--1 1 min 15 s, d--4 3.0 s, c--3 2.0 s"
        );
    }

    #[test]
    fn what_caches_give_before_is_counted_once() {
        let fetched = |package: &str| Event::Finished {
            package: package.to_owned(),
            how: PackageOutcome::Fetched,
            took: Duration::from_secs(1),
        };
        let events = [fetched("y--1"), fetched("z--1"), planned(&["a--1", "b--2"])];
        let summary = summary(&events, RunEnding::Failed, 67).join("\n");
        assert!(summary.contains(" 2 fetched, 63 in the cache, 2 not built in "), "{summary}");
    }

    #[test]
    fn builds_on_other_machines_are_counted() {
        let ran_on = |package: &str| Event::RanOn {
            package: package.to_owned(),
            place: "n1 (slurm 12)".to_owned(),
        };
        let finished = |package: &str| Event::Finished {
            package: package.to_owned(),
            how: PackageOutcome::Built,
            took: Duration::from_secs(1),
        };
        let events =
            [planned(&["a--1", "b--2"]), ran_on("a--1"), finished("a--1"), finished("b--2")];
        let summary = summary(&events, RunEnding::Done, 0).join("\n");
        assert!(summary.contains(" 2 built (1 on other machines), "), "{summary}");
    }

    #[test]
    fn what_has_been_said_is_not_said_again() {
        assert_eq!(summary(&[planned(&["a--1"])], RunEnding::Done, 65), [""; 0]);
        assert_eq!(summary(&[], RunEnding::Done, 1), [""; 0]);
        assert_eq!(summary(&[], RunEnding::Failed, 9), [""; 0]);
        let nothing = "    done nothing to build: 85 packages are in the cache";
        assert_eq!(summary(&[], RunEnding::Done, 85), [nothing]);
    }
}
