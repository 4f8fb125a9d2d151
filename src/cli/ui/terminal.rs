//! Progress on a terminal: what happened scrolls by, and below it stands a live line for each
//! running package, with its phase and time, and for each download.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Printer;
use super::text::{Count, bytes, line, seconds};
use crate::base::event::{Event, Observer};

/// Draws live lines.
#[derive(Debug)]
pub struct Terminal {
    printer: Printer,
    lines: MultiProgress,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: Count,
    running: BTreeMap<String, ProgressBar>,
    downloads: BTreeMap<String, (ProgressBar, Instant)>,
}

impl Terminal {
    /// Writes through a printer.
    pub fn new(printer: Printer) -> Self {
        Self { printer, lines: MultiProgress::new(), state: Mutex::new(State::default()) }
    }

    fn live_line(&self) -> ProgressBar {
        let style = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}");
        let line = self.lines.add(ProgressBar::new_spinner());
        if let Ok(style) = style {
            line.set_style(style);
        }
        line.enable_steady_tick(Duration::from_millis(200));
        line
    }

    fn draw(&self, event: &Event, state: &mut State) {
        match event {
            Event::Phase { package, phase } => {
                let line = state.running.entry(package.clone()).or_insert_with(|| self.live_line());
                line.set_message(format!("{:<7} {package}", phase.as_str()));
            }
            Event::Finished { package, .. }
            | Event::Failed { package, .. }
            | Event::Stopped { package } => {
                if let Some(line) = state.running.remove(package) {
                    line.finish_and_clear();
                }
            }
            Event::Download { subject, url, done, total } => {
                let (line, began) = state
                    .downloads
                    .entry(subject.clone())
                    .or_insert_with(|| (self.live_line(), Instant::now()));
                let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
                let rate = bytes(done.saturating_mul(1000) / millis);
                let of = total.map_or_else(String::new, |total| format!(" of {}", bytes(total)));
                line.set_message(format!(
                    "fetch   {subject}: {}{of}, {rate}/s, {url}",
                    bytes(*done)
                ));
            }
            Event::DownloadEnded { subject } => {
                if let Some((line, _)) = state.downloads.remove(subject) {
                    line.finish_and_clear();
                }
            }
            Event::Retry { subject, wait, .. } => {
                if let Some((line, _)) = state.downloads.get(subject) {
                    line.set_message(format!("fetch   {subject}: waiting {}", seconds(*wait)));
                }
            }
            _ => {}
        }
    }
}

impl Observer for Terminal {
    fn event(&self, event: Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.draw(&event, &mut state);
        let text = line(&event, &mut state.count)
            .and_then(|(weight, text)| self.printer.format(weight, &text));
        if let Some(text) = text {
            self.lines.suspend(|| super::write_line(&text));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A line that is left when a run fails would stay on the screen as if it still ran.
        drop(self.lines.clear());
    }
}
