//! Progress as plain lines: for logs, pipes and CI.

use std::sync::{Mutex, PoisonError};

use super::Printer;
use super::text::{Count, line};
use crate::base::event::{Event, Observer};

/// Writes a line per thing that happened.
#[derive(Debug)]
pub struct Plain {
    printer: Printer,
    count: Mutex<Count>,
}

impl Plain {
    /// Writes through a printer.
    pub fn new(printer: Printer) -> Self {
        Self { printer, count: Mutex::new(Count::default()) }
    }
}

impl Observer for Plain {
    fn event(&self, event: Event) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((weight, text)) = line(&event, &mut count) {
            self.printer.line(weight, &text);
        }
    }
}
