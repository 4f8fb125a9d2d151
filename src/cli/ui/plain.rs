//! Progress as plain lines: for logs, pipes and CI.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::text::{Count, bytes, label, line};
use super::{Printer, Weight};
use crate::base::event::{Event, Observer};

/// How often a download that goes on is worth a line.
const DOWNLOAD_INTERVAL: Duration = Duration::from_secs(10);

/// Writes a line per thing that happened.
#[derive(Debug)]
pub struct Plain {
    printer: Printer,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: Count,
    /// When something was said of each running download.
    downloads: BTreeMap<String, Instant>,
}

impl Plain {
    /// Writes through a printer.
    pub fn new(printer: Printer) -> Self {
        Self { printer, state: Mutex::new(State::default()) }
    }
}

impl State {
    fn line(&mut self, event: &Event) -> Option<(Weight, String)> {
        match event {
            Event::Download { subject, url, done, total } => {
                let said = self.downloads.get(subject);
                let first = said.is_none();
                if said.is_some_and(|said| said.elapsed() < DOWNLOAD_INTERVAL) {
                    return None;
                }
                self.downloads.insert(subject.clone(), Instant::now());
                let total = total.map_or_else(|| "?".to_owned(), bytes);
                let how_far = if first { total } else { format!("{} of {total}", bytes(*done)) };
                let text = format!("{} {subject}: {url} ({how_far})", label("fetch"));
                Some((Weight::Progress, text))
            }
            Event::DownloadEnded { subject } => {
                self.downloads.remove(subject);
                None
            }
            other => line(other, &mut self.count),
        }
    }
}

impl Observer for Plain {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((weight, text)) = state.line(&event) {
            self.printer.line(weight, &text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_worth_a_line_when_it_begins() {
        let mut state = State::default();
        let (subject, url) = ("p/s".to_owned(), "http://x/f".to_owned());
        let at = |done| Event::Download {
            subject: subject.clone(),
            url: url.clone(),
            done,
            total: Some(2000),
        };
        let said = state.line(&at(0)).unwrap().1;
        assert_eq!(said, "   fetch p/s: http://x/f (2.0 KB)");
        assert_eq!(state.line(&at(1000)), None);
        state.line(&Event::DownloadEnded { subject: subject.clone() });
        assert!(state.line(&at(0)).is_some());
    }
}
