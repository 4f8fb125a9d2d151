//! The last of the live lines: how far the run is.

use std::time::Instant;

use super::super::span::{SpanLine, SpanStyle, width};
use super::super::state::RunState;
use super::super::text::{about, clock};
use crate::build::estimate::Remaining;

/// A part of the line in its forms, from nothing to the longest.
struct LinePart {
    style: SpanStyle,
    forms: Vec<String>,
}

impl LinePart {
    fn new<const N: usize>(style: SpanStyle, forms: [String; N]) -> Self {
        let nothing = std::iter::once(String::new());
        Self { style, forms: nothing.chain(forms).collect() }
    }
}

// The parts, in the order in which they stand.
const COUNT: usize = 0;
const FAILED: usize = 1;
const RUNNING: usize = 2;
const LEFT: usize = 3;
const ELAPSED: usize = 4;

/// Optional parts in order of priority: a part and its form.
const WISHES: [(usize, usize); 8] = [
    (COUNT, 1),
    (FAILED, 1),
    (LEFT, 1),
    (ELAPSED, 1),
    (LEFT, 2),
    (COUNT, 2),
    (RUNNING, 1),
    (LEFT, 3),
];

/// Width of the bar, if shown.
const BAR: usize = 20;

pub(super) fn line(
    state: &RunState,
    remaining: Option<Remaining>,
    now: Instant,
    columns: usize,
) -> SpanLine {
    let parts = parts(state, remaining, now);
    let mut chosen = vec![0; parts.len()];
    for (part, form) in WISHES {
        let before = chosen[part];
        // A missing form falls back to the last one.
        chosen[part] = form.min(parts[part].forms.len() - 1);
        if joined(&parts, &chosen) > columns {
            chosen[part] = before;
        }
    }
    let mut line = SpanLine::default();
    let tally = &state.tally;
    if tally.planned > 1 && joined(&parts, &chosen) + BAR + 4 <= columns {
        line = line.with(SpanStyle::Cyan, &bar(tally.done() + tally.failed, tally.planned));
    }
    let mut separator = "";
    for (part, form) in
        parts.iter().zip(chosen).filter(|(part, form)| !part.forms[*form].is_empty())
    {
        line = line.with(SpanStyle::Plain, separator).with(part.style, &part.forms[form]);
        separator = ", ";
    }
    line
}

fn joined(parts: &[LinePart], chosen: &[usize]) -> usize {
    let shown = parts.iter().zip(chosen).map(|(part, form)| width(&part.forms[*form]));
    let shown: Vec<usize> = shown.filter(|width| *width > 0).collect();
    shown.iter().sum::<usize>() + 2 * shown.len().saturating_sub(1)
}

fn parts(state: &RunState, remaining: Option<Remaining>, now: Instant) -> [LinePart; 5] {
    let tally = &state.tally;
    let (done, planned) = (tally.done(), tally.planned);
    let running = state.running.len();
    let if_any = |count: usize, text: String| if count > 0 { text } else { String::new() };
    let elapsed = now.saturating_duration_since(state.began);
    [
        LinePart::new(
            SpanStyle::Bold,
            [
                if_any(planned, format!("{done}/{planned}")),
                if_any(planned, format!("{done} of {planned}")),
            ],
        ),
        if tally.interrupted > 0 {
            LinePart::new(SpanStyle::Red, ["interrupted".to_owned()])
        } else {
            LinePart::new(
                SpanStyle::Red,
                [if_any(tally.failed, format!("{} failed", tally.failed))],
            )
        },
        LinePart::new(SpanStyle::Plain, [if_any(running, format!("{running} running"))]),
        left(remaining.filter(|_| tally.interrupted == 0 && tally.left() > 0)),
        LinePart::new(SpanStyle::Dim, [clock(elapsed)]),
    ]
}

/// Remaining time, if known.
fn left(remaining: Option<Remaining>) -> LinePart {
    let nothing = || LinePart { style: SpanStyle::Plain, forms: vec![String::new()] };
    let Some(Remaining { time, unknown, known }) = remaining else { return nothing() };
    if known + unknown == 0 {
        return nothing();
    }
    if known == 0 {
        return LinePart::new(
            SpanStyle::Plain,
            [String::new(), String::new(), "time unknown".to_owned()],
        );
    }
    let about = about(time);
    if unknown == 0 {
        let short = format!("~{}", about.trim_start_matches("about "));
        return LinePart::new(SpanStyle::Plain, [short, format!("{about} left")]);
    }
    let least = about.replacen("about ", "", 1);
    LinePart::new(
        SpanStyle::Plain,
        [
            format!(">{least}"),
            format!("over {least} left"),
            format!("over {least} left ({unknown} unknown)"),
        ],
    )
}

fn bar(done: usize, all: usize) -> String {
    let filled = (BAR * done / all.max(1)).min(BAR);
    let head = if filled < BAR { ">" } else { "" };
    format!("[{:<BAR$}] ", format!("{}{head}", "=".repeat(filled)))
}
