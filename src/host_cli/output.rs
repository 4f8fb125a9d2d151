//! All output. stdout is data; everything else goes to stderr, and `--silent` suppresses everything
//! there except errors and warnings.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::base::event::{Event, Observer};
use crate::base::remedy::{usage_text, with_hint};
use crate::base::text::clean_lines;

/// Writes to stdout and stderr, the only code that does so.
#[derive(Debug)]
pub struct Output {
    silent: bool,
    /// Flag of an interruption.
    interrupted: Arc<AtomicBool>,
    /// Running downloads, if displayed: received bytes, and total bytes.
    downloads: Option<Mutex<BTreeMap<String, (u64, u64)>>>,
    /// Error of data that could not be written.
    unwritten: Mutex<Option<io::Error>>,
}

impl Output {
    /// Creates an output; `silent` suppresses notes, and `interrupted` is passed on to the library.
    pub fn new(silent: bool, interrupted: Arc<AtomicBool>) -> Self {
        // Progress rewrites a line, which is useless in a file.
        let shown = !silent && io::stderr().is_terminal();
        Self {
            silent,
            interrupted,
            downloads: shown.then(Mutex::default),
            unwritten: Mutex::default(),
        }
    }

    /// Writes data.
    pub fn data(&self, text: &str) {
        self.clear();
        let mut stdout = io::stdout().lock();
        // Programs get the bytes; a terminal would obey them.
        let text = if stdout.is_terminal() { &clean_lines(text) } else { text };
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        // A missing reader is not worth an error.
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
            && let Ok(mut unwritten) = self.unwritten.lock()
        {
            // Kept until the end, since a command that is half done goes on: only its exit code
            // changes.
            unwritten.get_or_insert(error);
        }
    }

    /// Takes the error of data that could not be written.
    pub fn unwritten(&self) -> Option<io::Error> {
        self.unwritten.lock().ok()?.take()
    }

    /// Writes data as JSON.
    pub fn json(&self, value: &Value) {
        self.data(&format!("{value:#}\n"));
    }

    /// Prints a note.
    pub fn note(&self, text: &str) {
        if !self.silent {
            self.line(text);
        }
    }

    /// Prints a warning.
    pub fn line(&self, text: &str) {
        self.clear();
        // There is no place left to report that stderr is gone.
        drop(writeln!(io::stderr().lock(), "{}", clean_lines(text)));
    }

    /// Prints the error of a command, with its remedy.
    pub fn error(&self, message: &str, hint: Option<&str>) {
        self.line(&with_hint(format!("error: {message}"), hint));
    }

    /// Prints help or a version, which are data, or the error of a wrong call.
    pub fn usage(error: &clap::Error) -> io::Result<()> {
        if error.use_stderr() {
            return io::stderr().lock().write_all(clean_lines(&usage_text(error)).as_bytes());
        }
        error.print()?;
        io::stdout().flush()
    }

    fn clear(&self) {
        if self.downloads.is_some() {
            drop(write!(io::stderr().lock(), "\r\u{1b}[K"));
        }
    }

    fn download(&self, subject: String, bytes: Option<(u64, u64)>) {
        let Some(Ok(mut downloads)) = self.downloads.as_ref().map(Mutex::lock) else { return };
        match bytes {
            Some(bytes) => drop(downloads.insert(subject, bytes)),
            None => drop(downloads.remove(&subject)),
        }
        let (done, total) = downloads
            .values()
            .fold((0, 0), |(done, total), download| (done + download.0, total + download.1));
        let mut stderr = io::stderr().lock();
        let text = match downloads.len() {
            0 => String::new(),
            count => format!("{count} downloads: {} of {}", size(done), size(total)),
        };
        drop(write!(stderr, "\r\u{1b}[K{text}").and_then(|()| stderr.flush()));
    }
}

/// A number of bytes in megabytes, to one decimal.
fn size(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

impl Observer for Output {
    fn event(&self, event: Event) {
        match event {
            Event::Note { message } => self.note(&message),
            Event::Warning { subject, message } if subject.is_empty() => {
                self.line(&format!("warning: {message}"));
            }
            Event::Warning { subject, message } => {
                self.line(&format!("warning: {subject}: {message}"));
            }
            Event::Retry { subject, reason, .. } => {
                self.note(&format!("{subject}: {reason}; trying again"));
            }
            Event::Download { subject, done, total, .. } => {
                self.download(subject, Some((done, total.unwrap_or(done))));
            }
            Event::TransferEnded { subject } => self.download(subject, None),
            _ => {}
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}
