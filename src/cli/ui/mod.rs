//! What a person sees. stdout is data; everything here goes to stderr.
//!
//! [`Plain`] writes a line per thing that happened; [`Terminal`] adds a live line per running
//! package and download below them. Both write through [`Printer`], the one place that writes.

mod plain;
mod terminal;
mod text;

use std::io::{IsTerminal, Write};

pub use plain::Plain;
pub use terminal::Terminal;
pub use text::bytes as size;

use super::args::ProgressArg;
use crate::base::event::Observer;

/// The one place that writes to stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    colour: bool,
    quiet: bool,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Said unless `--quiet`.
    Progress,
    /// Always said.
    Warning,
    /// Always said.
    Error,
}

impl Printer {
    /// A printer; `no_colour` is whether `NO_COLOR` is set.
    pub fn new(quiet: bool, no_colour: bool) -> Self {
        Self { colour: std::io::stderr().is_terminal() && !no_colour, quiet }
    }

    /// Writes data to stdout.
    pub fn data(self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        // Whoever reads may have gone; that is not worth an error.
        drop(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()));
    }

    /// Writes a line to stderr.
    pub fn line(self, weight: Weight, text: &str) {
        if let Some(line) = self.format(weight, text) {
            write_line(&line);
        }
    }

    /// The line as it is written; `None` if it isn't.
    pub fn format(self, weight: Weight, text: &str) -> Option<String> {
        let (label, colour) = match weight {
            Weight::Progress if self.quiet => return None,
            Weight::Progress => return Some(text.to_owned()),
            Weight::Warning => ("warning", "33"),
            Weight::Error => ("error", "31"),
        };
        Some(if self.colour {
            format!("\u{1b}[1;{colour}m{label}\u{1b}[0m: {text}")
        } else {
            format!("{label}: {text}")
        })
    }
}

/// Writes a formatted line to stderr.
fn write_line(line: &str) {
    drop(writeln!(std::io::stderr().lock(), "{line}"));
}

/// The observer that shows progress as it is asked for.
pub fn observer(progress: ProgressArg, printer: Printer) -> Box<dyn Observer> {
    let drawn = match progress {
        ProgressArg::Auto => std::io::stderr().is_terminal() && !printer.quiet,
        ProgressArg::Tty => true,
        ProgressArg::Plain => false,
    };
    if drawn { Box::new(Terminal::new(printer)) } else { Box::new(Plain::new(printer)) }
}
