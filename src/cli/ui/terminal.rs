//! Progress on a terminal: finished events scroll by above the live lines.
//!
//! An event only changes the state; a thread draws ten times a second, and writes only if something
//! looks different. So a build never waits for a slow terminal.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::state::RunState;
use super::summary::{self, Ending};
use super::text::{Names, line};
use super::ticker::Ticker;
use super::{Printer, layout, screen};
use crate::base::event::{Event, Observer};

const FRAME: Duration = Duration::from_millis(100);

/// Draws live lines.
#[derive(Debug)]
pub struct Terminal {
    shared: Arc<Mutex<Shared>>,
    ticker: Mutex<Option<Ticker>>,
    printer: Printer,
}

#[derive(Debug)]
struct Shared {
    state: RunState,
    /// Lines that are to scroll by with the next frame.
    said: String,
}

impl Terminal {
    /// Creates a display that writes through a printer; `rewraps` is true if the terminal wraps
    /// lines anew when it becomes narrower.
    pub fn new(printer: Printer, rewraps: bool) -> Self {
        screen::prepare(rewraps);
        let shared = Shared { state: RunState::new(Instant::now()), said: String::new() };
        let shared = Arc::new(Mutex::new(shared));
        let its = Arc::clone(&shared);
        let ticker = Ticker::start(FRAME, move || draw(&its, printer));
        Self { shared, ticker: Mutex::new(Some(ticker)), printer }
    }

    /// Ends the drawing and reports the result of the run.
    pub fn finish(&self, ending: Ending, cached: usize) {
        self.stop();
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for line in summary::lines(&shared.state, ending, cached, Instant::now()) {
            self.printer.styled(&line);
        }
    }

    fn stop(&self) {
        drop(self.ticker.lock().unwrap_or_else(PoisonError::into_inner).take());
        let said = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut shared.said)
        };
        // A line that is left when a run ends would stay on the screen as if it still ran.
        screen::draw(&said, &[], false);
    }
}

fn draw(shared: &Mutex<Shared>, printer: Printer) {
    let now = Instant::now();
    let size = screen::size();
    // Not held while writing: a terminal may be stopped, and builds have events to tell.
    let (said, lines) = {
        let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let remaining = shared.state.remaining(now);
        let lines = layout::lines(&shared.state, remaining, now, size);
        (std::mem::take(&mut shared.said), lines)
    };
    screen::draw(&said, &lines, printer.has_colour());
}

impl Observer for Terminal {
    fn event(&self, event: Event) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.state.apply(&event, Instant::now());
        let text = line(&event, &shared.state, Names::Short)
            .and_then(|(weight, text)| self.printer.format(weight, &text));
        if let Some(text) = text {
            shared.said.push_str(&text);
            shared.said.push('\n');
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.stop();
    }
}
