//! Progress on a terminal: finished events scroll by above the live lines.
//!
//! An event only changes the state; a thread draws ten times a second, and writes only if something
//! looks different. So a build never waits for a slow terminal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::state::RunState;
use super::summary::{self, RunEnding};
use super::text::{NameForm, line};
use super::ticker::Ticker;
use super::{Printer, layout, screen};
use crate::base::event::{Event, Observer};

const FRAME: Duration = Duration::from_millis(100);

/// Draws live lines.
#[derive(Debug)]
pub struct LiveTerminal {
    status: Arc<Mutex<TerminalStatus>>,
    ticker: Mutex<Option<Ticker>>,
    printer: Printer,
}

#[derive(Debug)]
struct TerminalStatus {
    state: RunState,
    /// Lines that are to scroll by with the next frame.
    scrolled: String,
}

impl LiveTerminal {
    /// Creates a display that writes through a printer; `rewraps` is true if the terminal wraps
    /// lines anew when it becomes narrower.
    pub fn new(printer: Printer, rewraps: bool) -> Self {
        screen::prepare(rewraps);
        let status =
            TerminalStatus { state: RunState::new(Instant::now()), scrolled: String::new() };
        let status = Arc::new(Mutex::new(status));
        let its = Arc::clone(&status);
        let ticker = Ticker::start(FRAME, move || draw(&its, printer));
        Self { status, ticker: Mutex::new(Some(ticker)), printer }
    }

    /// Ends the drawing and reports the result of the run.
    pub fn finish(&self, ending: RunEnding, cached: usize) {
        self.stop();
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        for line in summary::lines(&status.state, ending, cached, Instant::now()) {
            self.printer.styled(&line);
        }
    }

    fn stop(&self) {
        drop(self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take());
        let scrolled = {
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut status.scrolled)
        };
        // A line that is left when a run ends would stay on the screen as if it still ran.
        screen::draw(&scrolled, &[], false);
    }
}

fn draw(status: &Mutex<TerminalStatus>, printer: Printer) {
    let now = Instant::now();
    let size = screen::size();
    // Not held while writing: a terminal may be stopped, and builds have events to tell.
    let (scrolled, lines) = {
        let mut status = status.lock().unwrap_or_else(PoisonError::into_inner);
        let remaining = status.state.remaining(now);
        let lines = layout::lines(&status.state, remaining, now, size);
        (std::mem::take(&mut status.scrolled), lines)
    };
    screen::draw(&scrolled, &lines, printer.has_colour());
}

impl Observer for LiveTerminal {
    fn event(&self, event: Event) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        status.state.apply(&event, Instant::now());
        let text = line(&event, &status.state, NameForm::Short)
            .and_then(|(weight, text)| self.printer.format(weight, &text));
        if let Some(text) = text {
            status.scrolled.push_str(&text);
            status.scrolled.push('\n');
        }
    }
}

impl Drop for LiveTerminal {
    fn drop(&mut self) {
        self.stop();
    }
}
