//! Conformance of all backends, and the tests of each.

mod conformance;
mod folder;
mod http;
mod reach;

use std::sync::Mutex;

use super::*;
use crate::base::event::{Event, Observer, Silent};
use crate::base::http::{HttpClient, HttpOptions};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// A transfer that nobody watches.
fn quiet() -> Transfer<'static> {
    Transfer { subject: "s", observer: &Silent }
}

/// A client that soon gives up.
fn client() -> HttpClient {
    HttpClient::new(HttpOptions {
        attempts: 2,
        first_wait: std::time::Duration::from_millis(1),
        ..HttpOptions::default()
    })
}

/// An observer that keeps warnings.
#[derive(Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

impl Warnings {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// An observer that interrupts at once.
struct Interrupted;

impl Observer for Interrupted {
    fn event(&self, _: Event) {}

    fn is_interrupted(&self) -> bool {
        true
    }
}
