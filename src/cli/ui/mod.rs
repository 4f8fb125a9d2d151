//! Output for people, or for programs that watch. stdout is data; everything here goes to stderr.
//!
//! [`Plain`] writes a line per event; [`LiveTerminal`] adds live lines below them; [`JsonEvents`] writes an
//! object per event. Each keeps a `state` of the run, from which `layout` and `summary` make lines,
//! as pure functions. All output goes through [`Printer`] and `screen`, the only code that writes.
//!
//! `indicatif` is not used: its bars draw themselves on lines of their own, so the display could
//! not be a function of the run's state and the window's size, and it erases the rows that it
//! wrote, not those after a rewrap by a narrower window.

pub mod attached;
pub mod columns;
mod json;
mod layout;
mod plain;
pub mod raw;
mod screen;
mod span;
mod state;
mod summary;
mod terminal;
mod text;
mod ticker;

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

pub use json::JsonEvents;
pub use plain::Plain;
pub use summary::RunEnding;
pub use terminal::LiveTerminal;
pub use text::bytes as size;
pub use text::counted;
pub use text::short as short_id;

use super::args::ProgressArg;
use super::environment::Environment;
use crate::base::event::{Event, Observer};
use crate::base::remedy::{LABEL, hints_of, with_hint};
use crate::base::text::clean_lines;
use span::SpanLine;

/// True for output in JSON.
static IN_JSON: AtomicBool = AtomicBool::new(false);

/// First failure to write data to stdout.
static STDOUT_FAILURE: OnceLock<std::io::Error> = OnceLock::new();

/// Writes to stdout and stderr, the only code that does so.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    terminal: bool,
    colour: bool,
    quiet: bool,
}

/// Importance of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Said unless `--quiet`.
    Progress,
    /// Always said.
    Warning,
    /// Always said.
    Error,
}

/// Error with its details.
#[derive(Debug, Clone, Default)]
pub struct Complaint {
    /// Fault.
    pub message: String,
    /// Id of the package whose build failed.
    pub package: Option<String>,
    /// The last lines of the build's log.
    pub tail: Vec<String>,
    /// The build's log.
    pub log: Option<String>,
    /// Remedy.
    pub hints: Vec<String>,
}

/// A finding in a file, at its place.
#[derive(Debug, Clone)]
pub struct ShownFinding<'a> {
    /// Place, line and text, for people.
    pub text: &'a str,
    /// Text alone.
    pub message: &'a str,
    /// Path, line and column, from 1.
    pub place: (&'a str, Option<usize>, Option<usize>),
    /// Name of the rule.
    pub rule: Value,
    /// Remedy.
    pub hint: Option<&'a str>,
}

impl Printer {
    /// Creates a printer; `no_colour` is true if `NO_COLOR` is set.
    pub fn new(quiet: bool, no_colour: bool) -> Self {
        screen::since_start();
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, colour: terminal && !no_colour, quiet }
    }

    /// Writes data to stdout.
    pub fn data(self, text: &str) {
        // It may be the same terminal.
        screen::clear();
        let mut stdout = std::io::stdout().lock();
        // Programs get the bytes; a terminal would obey them.
        let text = if stdout.is_terminal() { &clean_lines(text) } else { text };
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // A reader that has gone wants no more.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                drop(STDOUT_FAILURE.set(error));
            }
        }
    }

    /// Writes a line to stderr.
    pub fn line(self, weight: Weight, text: &str) {
        if IN_JSON.load(Ordering::Relaxed) {
            let event = match weight {
                Weight::Progress if self.quiet => return,
                Weight::Progress => "note",
                Weight::Warning => "warning",
                Weight::Error => "error",
            };
            json::emit(event, &json!({ "message": text }));
        } else if let Some(line) = self.format(weight, text) {
            screen::write(&format!("{line}\n"));
        }
    }

    /// Writes a warning with its remedies, one a line.
    pub fn warn(self, message: &str, hint: Option<&str>) {
        if IN_JSON.load(Ordering::Relaxed) {
            let hints = hints_of(hint.unwrap_or_default());
            json::emit("warning", &json!({ "message": message, "hints": hints }));
        } else {
            self.line(Weight::Warning, &with_hint(message, hint));
        }
    }

    /// Writes the error of a wrong call.
    pub fn usage(self, text: &str) {
        screen::write(&clean_lines(text));
    }

    /// Formats a line; `None` if the line is suppressed.
    pub fn format(self, weight: Weight, text: &str) -> Option<String> {
        let text = clean_lines(text);
        let (label, colour) = match weight {
            Weight::Progress if self.quiet => return None,
            Weight::Progress => return Some(text),
            Weight::Warning => ("warning", "33"),
            Weight::Error => ("error", "31"),
        };
        Some(if self.colour {
            format!("\u{1b}[1;{colour}m{label}\u{1b}[0m: {text}")
        } else {
            format!("{label}: {text}")
        })
    }

    /// Writes an error with its details.
    pub fn complain(self, complaint: &Complaint) {
        let Complaint { message, package, tail, log, hints } = complaint;
        if IN_JSON.load(Ordering::Relaxed) {
            let fields = json!({
                "message": message, "id": package, "tail": tail, "log": log, "hints": hints,
            });
            json::emit("error", &fields);
            return;
        }
        let mut text = message.clone();
        if !tail.is_empty() {
            text.push_str("\nthe log's last lines:");
        }
        let tail = tail.iter().map(|line| format!("\n  | {line}"));
        let log = log.iter().map(|log| format!("\n  log: {log}"));
        let hints = hints.iter().map(|hint| format!("{LABEL}{hint}"));
        text.extend(tail.chain(log).chain(hints));
        self.line(Weight::Error, &text);
    }

    /// Writes a finding to stderr.
    pub fn finding(self, weight: Weight, finding: &ShownFinding<'_>) {
        let ShownFinding { text, message, place: (path, line, column), rule, hint } = finding;
        if IN_JSON.load(Ordering::Relaxed) {
            let hints = hints_of(hint.unwrap_or_default());
            let fields = json!({
                "message": message, "path": path, "line": line, "column": column, "rule": rule,
                "hints": hints,
            });
            json::emit(if weight == Weight::Error { "error" } else { "warning" }, &fields);
            return;
        }
        self.line(weight, &with_hint(text, *hint));
    }

    /// Says that a package was not built because another one failed: one that it needs, or any.
    pub fn skipped(self, package: &str, because: Option<&str>) {
        if !IN_JSON.load(Ordering::Relaxed) {
            let name = |id: &str| if self.terminal { text::short(id) } else { id.to_owned() };
            let because = because.map_or_else(
                || "since another package failed".to_owned(),
                |because| format!("which needs {}", name(because)),
            );
            self.line(Weight::Progress, &format!("not built: {}, {because}", name(package)));
        } else if !self.quiet {
            json::emit("skipped", &json!({ "id": package, "because": because }));
        }
    }

    /// Writes a line of spans to stderr, unless quiet.
    fn styled(self, line: &SpanLine) {
        if !self.quiet {
            screen::write(&format!("{}\n", line.render(self.colour)));
        }
    }

    fn has_colour(self) -> bool {
        self.colour
    }

    fn is_quiet(self) -> bool {
        self.quiet
    }
}

/// Writes all from now on as JSON, beginning with the event `start` unless `quiet`.
pub fn speak_json(quiet: bool) {
    if !IN_JSON.swap(true, Ordering::Relaxed) && !quiet {
        json::start();
    }
}

/// Returns the first failure to write data to stdout.
pub fn stdout_failure() -> Option<&'static std::io::Error> {
    STDOUT_FAILURE.get()
}

/// Writer for `tracing`'s output, above the live lines, or as JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct TraceWriter;

impl Write for TraceWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        if IN_JSON.load(Ordering::Relaxed) {
            json::emit("trace", &json!({ "message": text.trim_end() }));
        } else {
            screen::write(&text);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A run's progress, shown as it is asked for.
#[derive(Debug)]
pub enum ProgressDisplay {
    /// Drawn on a terminal.
    Terminal(LiveTerminal),
    /// As plain lines.
    Plain(Plain),
    /// As JSON lines.
    Json(JsonEvents),
}

impl ProgressDisplay {
    /// Begins to show progress.
    pub fn new(how: ProgressArg, printer: Printer, environment: &Environment) -> Self {
        let terminal = environment.get("TERM");
        let can_draw = || {
            std::io::stderr().is_terminal() && terminal.is_some_and(|terminal| terminal != "dumb")
        };
        let drawn = match how {
            ProgressArg::Json => {
                speak_json(printer.quiet);
                return Self::Json(JsonEvents::new(printer));
            }
            ProgressArg::Plain => false,
            ProgressArg::Tty => !printer.quiet,
            ProgressArg::Auto => !printer.quiet && can_draw(),
        };
        if drawn {
            let cuts = environment.get("XTERM_VERSION").is_some() || terminal == Some("linux");
            Self::Terminal(LiveTerminal::new(printer, !cuts))
        } else {
            Self::Plain(Plain::new(printer))
        }
    }

    /// Reports the result of the run; `cached` is the number of requested packages found in the
    /// cache.
    pub fn finish(&self, ending: RunEnding, cached: usize) {
        match self {
            Self::Terminal(terminal) => terminal.finish(ending, cached),
            Self::Plain(plain) => plain.finish(ending, cached),
            Self::Json(json) => json.finish(ending, cached),
        }
    }
}

impl Observer for ProgressDisplay {
    fn event(&self, event: Event) {
        match self {
            Self::Terminal(terminal) => terminal.event(event),
            Self::Plain(plain) => plain.event(event),
            Self::Json(json) => json.event(event),
        }
    }
}
