//! Requests for one URL: attempts, waits, the meaning of a failure, progress.

use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, COOKIE};
use reqwest::{Method, Url};

use super::answer::{AnswerHead, Broken, HttpAnswer, wait_unless_interrupted};
use super::redirect::{self, Cookies, MOST_REDIRECTS};
use super::retry::{NotSent, may_pass, next_wait, not_sent, read_failure, retry_after, waits};
use super::url::redact;
use super::{HttpError, HttpLogin, HttpOptions};
use crate::base::event::{Event, Observer};

/// Minimum progress in bytes for an attempt not to count as failed.
const PROGRESS: u64 = 1 << 20;
/// The least time between two progress events.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

/// Cause of a failed attempt.
pub(super) enum HttpFailure {
    /// Another attempt may succeed.
    Passing { reason: String, wait: Option<Duration> },
    /// The connection was refused.
    Refused { reason: String },
    /// Another attempt would fail, too.
    Lasting(HttpError),
}

/// Returns a failure that another attempt may mend.
pub(super) fn passing(reason: impl Into<String>) -> HttpFailure {
    HttpFailure::Passing { reason: reason.into(), wait: None }
}

/// Sender of the requests for one URL.
pub(super) struct HttpExchange<'a> {
    client: &'a Client,
    url: Url,
    login: Option<&'a HttpLogin>,
    /// The URL without credentials.
    pub(super) shown: String,
    subject: &'a str,
    pub(super) options: &'a HttpOptions,
    pub(super) observer: &'a dyn Observer,
    last_event: Cell<Option<Instant>>,
}

impl<'a> HttpExchange<'a> {
    pub(super) fn new(
        client: &'a Client,
        url: Url,
        login: Option<&'a HttpLogin>,
        subject: &'a str,
        options: &'a HttpOptions,
        observer: &'a dyn Observer,
    ) -> Self {
        let shown = redact(url.as_str());
        let last_event = Cell::new(None);
        Self { client, url, login, shown, subject, options, observer, last_event }
    }

    /// Starts a request for the URL's bytes as they are.
    pub(super) fn request(&self, method: Method) -> RequestBuilder {
        let request = self.client.request(method, self.url.clone());
        // Sums, ranges and sizes are those of the file, not those of a compressed transfer.
        let request = request.header(ACCEPT_ENCODING, "identity");
        match self.login {
            Some(login) => request.basic_auth(&login.name, Some(&login.password)),
            None => request,
        }
    }

    /// Sends a request and waits for an answer that leads nowhere else to begin.
    pub(super) fn send(
        &self,
        request: RequestBuilder,
    ) -> Result<(AnswerHead, HttpAnswer<'a>), HttpFailure> {
        let mut request = request.build().map_err(|error| self.not_sent(error))?;
        let mut cookies = Cookies::default();
        for _ in 0..=MOST_REDIRECTS {
            let url = request.url().clone();
            let (method, headers) = (request.method().clone(), request.headers().clone());
            let builder = RequestBuilder::from_parts(self.client.clone(), request);
            let (head, answer) = self.answer(builder)?;
            let Some(target) = redirect::target(&url, head.status.as_u16(), &head.headers) else {
                return Ok((head, answer));
            };
            let target = target.map_err(|reason| self.refused(reason))?;
            cookies.take(&url, &head.headers);
            let next = self.client.request(method, target.clone()).build();
            let mut next = next.map_err(|error| self.not_sent(error))?;
            let is_same = redirect::is_same_server(&url, &target);
            for (name, value) in &headers {
                // Credentials stay with the server that they are for; cookies are chosen anew for
                // each request.
                if *name != COOKIE && (is_same || *name != AUTHORIZATION) {
                    next.headers_mut().entry(name).or_insert_with(|| value.clone());
                }
            }
            if let Some(header) = cookies.header(&target).and_then(|text| text.parse().ok()) {
                next.headers_mut().insert(COOKIE, header);
            }
            request = next;
        }
        let last = redact(request.url().as_str());
        let reason =
            format!("the server leads on more than {MOST_REDIRECTS} times, then to {last}");
        Err(self.refused(reason))
    }

    fn refused(&self, reason: String) -> HttpFailure {
        HttpFailure::Lasting(HttpError::Refused { url: self.shown.clone(), reason })
    }

    fn not_sent(&self, error: reqwest::Error) -> HttpFailure {
        match not_sent(error, self.options) {
            NotSent::Passing(reason) => passing(reason),
            NotSent::Refused(reason) => HttpFailure::Refused { reason },
            NotSent::Lasting(reason) => self.refused(reason),
        }
    }

    fn answer(&self, request: RequestBuilder) -> Result<(AnswerHead, HttpAnswer<'a>), HttpFailure> {
        HttpAnswer::to(request, self.observer).map_err(|broken| match broken {
            Broken::NotSent(error) => self.not_sent(error),
            Broken::Body(error) => passing(read_failure(&error, self.options)),
            Broken::Interrupted => HttpFailure::Lasting(self.interrupted()),
        })
    }

    /// Returns the next bytes of an answer's body; `have` and `total` are for the message.
    pub(super) fn bytes(
        &self,
        answer: &HttpAnswer<'_>,
        have: u64,
        total: Option<u64>,
    ) -> Result<Option<Vec<u8>>, HttpFailure> {
        answer.bytes().map_err(|broken| match broken {
            Broken::Body(error) => broke_off(&read_failure(&error, self.options), have, total),
            Broken::NotSent(error) => broke_off(&error.to_string(), have, total),
            Broken::Interrupted => HttpFailure::Lasting(self.interrupted()),
        })
    }

    /// Classifies a status that is not a success.
    pub(super) fn unsuccessful(&self, head: &AnswerHead) -> HttpFailure {
        let status = head.status;
        if may_pass(status) {
            let reason = format!("the server answers {status}");
            return HttpFailure::Passing { reason, wait: retry_after(&head.headers) };
        }
        HttpFailure::Lasting(HttpError::Status { url: self.shown.clone(), status })
    }

    /// Returns the failure to keep received bytes.
    pub(super) fn not_stored(&self, error: io::Error) -> HttpFailure {
        HttpFailure::Lasting(HttpError::Store { url: self.shown.clone(), error })
    }

    /// Reports progress, unless a report was made just now.
    pub(super) fn progress(&self, always: bool, done: u64, total: Option<u64>) {
        if !always && self.last_event.get().is_some_and(|last| last.elapsed() < EVENT_INTERVAL) {
            return;
        }
        self.last_event.set(Some(Instant::now()));
        let (subject, url) = (self.subject.to_owned(), self.shown.clone());
        self.observer.event(Event::Download { subject, url, done, total });
    }

    /// Reports the end of a transfer.
    pub(super) fn ended(&self) {
        self.observer.event(Event::TransferEnded { subject: self.subject.to_owned() });
    }

    fn interrupted(&self) -> HttpError {
        HttpError::Interrupted { url: self.shown.clone() }
    }
}

/// Counter of the attempts of one transfer.
pub(super) struct Attempts<'e, 'a> {
    exchange: &'e HttpExchange<'a>,
    waits: Box<dyn Iterator<Item = Duration>>,
    made: u32,
    /// Number of bytes after the last attempt that made progress.
    furthest: u64,
}

impl<'e, 'a> Attempts<'e, 'a> {
    pub(super) fn new(exchange: &'e HttpExchange<'a>) -> Self {
        Self { exchange, waits: Box::new(waits(exchange.options)), made: 0, furthest: 0 }
    }

    /// Waits for the next attempt, if there is one; `have` is the number of bytes so far.
    pub(super) fn again(&mut self, failure: HttpFailure, have: u64) -> Result<(), HttpError> {
        let HttpExchange { shown, subject, observer, .. } = self.exchange;
        let url = || shown.clone();
        let (reason, asked) = match failure {
            HttpFailure::Lasting(error) => return Err(error),
            // A server that restarts has taken a connection before.
            HttpFailure::Refused { reason } if self.made == 0 => {
                return Err(HttpError::ConnectionRefused { url: url(), reason });
            }
            HttpFailure::Refused { reason } => (reason, None),
            HttpFailure::Passing { reason, wait } => (reason, wait),
        };
        // A long download over a bad line arrives as long as its attempts make progress.
        if have >= self.furthest + PROGRESS {
            self.furthest = have;
            self.waits = Box::new(waits(self.exchange.options));
        }
        self.made += 1;
        let wait = next_wait(self.waits.next(), asked).map_err(|end| HttpError::GaveUp {
            url: url(),
            attempts: self.made,
            reason: format!("{reason}{end}"),
        })?;
        observer.event(Event::Retry { subject: (*subject).to_owned(), reason, wait });
        if wait_unless_interrupted(wait, *observer) {
            Ok(())
        } else {
            Err(self.exchange.interrupted())
        }
    }
}

/// Returns the failure of a body that ended early.
pub(super) fn broke_off(reason: &str, have: u64, total: Option<u64>) -> HttpFailure {
    passing(match total {
        Some(total) => format!("{reason} after {have} of {total} bytes"),
        None => format!("{reason} after {have} bytes"),
    })
}
