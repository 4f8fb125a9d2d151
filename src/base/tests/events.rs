//! An observer that keeps all events, and a client for tests of places that are down.

use std::sync::Mutex;
use std::time::Duration;

use crate::base::event::{Event, Observer};
use crate::base::http::{HttpClient, HttpOptions};

/// Observer that keeps what it gets.
#[derive(Debug, Default)]
pub(crate) struct Events(pub(crate) Mutex<Vec<Event>>);

impl Observer for Events {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    /// The messages of the warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.texts(|event| match event {
            Event::Warning { message, .. } => Some(message.clone()),
            _ => None,
        })
    }

    /// The messages of the warnings so far; all events are forgotten.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        let warnings = self.warnings();
        self.0.lock().unwrap().clear();
        warnings
    }

    /// The reasons of the retries so far.
    pub(crate) fn retries(&self) -> Vec<String> {
        self.texts(|event| match event {
            Event::Retry { reason, .. } => Some(reason.clone()),
            _ => None,
        })
    }

    fn texts(&self, text: impl Fn(&Event) -> Option<String>) -> Vec<String> {
        self.0.lock().unwrap().iter().filter_map(text).collect()
    }
}

/// Client that soon gives up.
pub(crate) fn impatient_client() -> HttpClient {
    HttpClient::new(HttpOptions {
        attempts: 2,
        first_wait: Duration::from_millis(1),
        ..HttpOptions::default()
    })
}
