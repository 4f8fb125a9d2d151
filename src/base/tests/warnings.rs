//! An observer and a client for tests of places that are down.

use std::sync::Mutex;
use std::time::Duration;

use crate::base::event::{Event, Observer};
use crate::base::http::{HttpClient, HttpOptions};

/// Observer that keeps warnings.
#[derive(Default)]
pub(crate) struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: Event) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push(message);
        }
    }
}

impl Warnings {
    /// The warnings so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
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
