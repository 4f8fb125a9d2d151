//! HTTP exchange with a registry or its token server, and the classification of its failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::blocking::RequestBuilder;
use reqwest::header::HeaderValue;

use super::error::RegistryExchangeError;
use super::reply::shown;
use crate::base::event::Observer;
use crate::base::http::HttpOptions;
use crate::base::http::answer::{AnswerHead, Broken, HttpAnswer};
use crate::base::http::retry::{NotSent, not_sent, read_failure};
use crate::base::secret::Secret;

/// Cause of a failed attempt.
pub(super) enum RegistryFailure {
    /// Another attempt may succeed.
    Passing { reason: String, wait: Option<Duration> },
    /// Another attempt would fail, too.
    Lasting(RegistryExchangeError),
}

impl From<RegistryExchangeError> for RegistryFailure {
    fn from(error: RegistryExchangeError) -> Self {
        Self::Lasting(error)
    }
}

/// Returns a failure that another attempt may mend.
pub(super) fn passing(reason: impl Into<String>) -> RegistryFailure {
    RegistryFailure::Passing { reason: reason.into(), wait: None }
}

/// Sender of requests.
#[derive(Clone)]
pub(super) struct Transport<'a> {
    pub(super) options: &'a HttpOptions,
    pub(super) observer: &'a dyn Observer,
    /// True once the registry has taken a connection.
    is_there: Arc<AtomicBool>,
}

impl<'a> Transport<'a> {
    pub(super) fn new(options: &'a HttpOptions, observer: &'a dyn Observer) -> Self {
        Self { options, observer, is_there: Arc::default() }
    }

    /// Returns the same sender with another observer.
    pub(super) fn observed_by<'b>(&self, observer: &'b dyn Observer) -> Transport<'b>
    where
        'a: 'b,
    {
        let is_there = Arc::clone(&self.is_there);
        Transport { options: self.options, observer, is_there }
    }

    /// Sends a request and waits for its answer to begin.
    pub(super) fn exchange(
        &self,
        request: RequestBuilder,
    ) -> Result<(AnswerHead, HttpAnswer<'a>), RegistryFailure> {
        let sent = HttpAnswer::to(request, self.observer).map_err(|broken| self.broken(broken));
        let is_refused = matches!(
            sent,
            Err(RegistryFailure::Lasting(RegistryExchangeError::ConnectionRefused { .. }))
        );
        self.is_there.fetch_or(!is_refused, Ordering::Relaxed);
        sent
    }

    /// Classifies the failure of an answer to begin or to go on.
    pub(super) fn broken(&self, broken: Broken) -> RegistryFailure {
        match broken {
            Broken::Interrupted => RegistryExchangeError::Interrupted.into(),
            Broken::Body(error) => passing(read_failure(&error, self.options)),
            Broken::NotSent(error) => {
                let url = error.url().map(|url| shown(url.as_str())).unwrap_or_default();
                match not_sent(error, self.options) {
                    NotSent::Passing(reason) => passing(reason),
                    // A registry that restarts has taken a connection before.
                    NotSent::Refused(reason) if self.is_there.load(Ordering::Relaxed) => {
                        passing(reason)
                    }
                    NotSent::Refused(reason) => {
                        RegistryExchangeError::ConnectionRefused { url, reason }.into()
                    }
                    NotSent::Lasting(reason) => {
                        RegistryExchangeError::Refused { url, reason }.into()
                    }
                }
            }
        }
    }
}

/// Returns the header that proves an identity by name and password.
pub(super) fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    let text = format!("{user}:{}", password.reveal());
    secret_header(&format!("Basic {}", STANDARD.encode(text)))
}

/// Returns a header value that debug output hides.
pub(super) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
