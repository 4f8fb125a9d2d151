//! One download: attempts, waits, and what lies in the file in between.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::Client;
use reqwest::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue,
    IF_RANGE, LAST_MODIFIED, RANGE,
};

use super::answer::{Answer, Broken, wait_unless_interrupted};
use super::retry::{
    LONGEST_REQUESTED_WAIT, NotSent, content_range, may_pass, not_sent, number, read_failure,
    retry_after, waits,
};
use super::{Downloaded, HttpError, HttpOptions, redact};
use crate::base::atomic::naming_file;
use crate::base::event::{Event, Observer};

/// An attempt that brought the file at least this much further did not fail for nothing.
const PROGRESS: u64 = 1 << 20;
/// The least time between two progress events.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

pub(super) struct Transfer<'a> {
    client: &'a Client,
    url: reqwest::Url,
    shown: String,
    subject: &'a str,
    file: &'a mut File,
    options: &'a HttpOptions,
    observer: &'a dyn Observer,
    have: u64,
    total: Option<u64>,
    validator: Option<HeaderValue>,
    resumed: bool,
    last_event: Option<Instant>,
}

enum Failure {
    /// It may be better the next time.
    Passing { reason: String, wait: Option<Duration> },
    /// It will not.
    Lasting(HttpError),
}

impl<'a> Transfer<'a> {
    pub(super) fn new(
        client: &'a Client,
        url: reqwest::Url,
        subject: &'a str,
        file: &'a mut File,
        options: &'a HttpOptions,
        observer: &'a dyn Observer,
    ) -> Self {
        let shown = redact(url.as_str());
        Self {
            client,
            url,
            shown,
            subject,
            file,
            options,
            observer,
            have: 0,
            total: None,
            validator: None,
            resumed: false,
            last_event: None,
        }
    }

    pub(super) fn run(mut self) -> Result<Downloaded, HttpError> {
        let result = self.attempts();
        self.observer.event(Event::DownloadEnded { subject: self.subject.to_owned() });
        result.map(|()| Downloaded { bytes: self.have, resumed: self.resumed })
    }

    fn attempts(&mut self) -> Result<(), HttpError> {
        let mut waits = waits(self.options);
        let mut furthest = 0;
        for attempt in 1.. {
            let (reason, asked) = match self.attempt() {
                Ok(()) => return Ok(()),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing { reason, wait }) => (reason, wait),
            };
            if self.have >= furthest + PROGRESS {
                furthest = self.have;
                waits = super::retry::waits(self.options);
            }
            let Some(wait) = waits.next() else {
                return Err(HttpError::GaveUp {
                    url: self.shown.clone(),
                    attempts: attempt,
                    reason,
                });
            };
            let wait = wait.max(asked.unwrap_or_default().min(LONGEST_REQUESTED_WAIT));
            self.observer.event(Event::Retry { subject: self.subject.to_owned(), reason, wait });
            self.pause(wait)?;
        }
        unreachable!("attempts are counted without end")
    }

    fn attempt(&mut self) -> Result<(), Failure> {
        let mut request = self.client.get(self.url.clone()).header(ACCEPT_ENCODING, "identity");
        let ranged = match &self.validator {
            Some(validator) if self.have > 0 => {
                let range = format!("bytes={}-", self.have);
                request = request.header(RANGE, range).header(IF_RANGE, validator);
                true
            }
            _ => false,
        };
        let (head, answer) =
            Answer::to(request, self.observer).map_err(|broken| self.failure(broken))?;
        match head.status {
            StatusCode::OK => self.begin(&head.headers)?,
            StatusCode::PARTIAL_CONTENT if ranged => self.go_on(&head.headers)?,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if ranged => {
                self.validator = None;
                return Err(passing("the server can't go on where it stopped"));
            }
            status if may_pass(status) => {
                return Err(Failure::Passing {
                    reason: format!("the server answers {status}"),
                    wait: retry_after(&head.headers),
                });
            }
            status => {
                return Err(Failure::Lasting(HttpError::Status {
                    url: self.shown.clone(),
                    status,
                }));
            }
        }
        self.body(&answer)
    }

    /// The whole file comes: what is there goes.
    fn begin(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|e| self.not_stored(e))?;
        self.have = 0;
        self.resumed = false;
        self.total = number(headers.get(CONTENT_LENGTH));
        self.validator = validator(headers);
        if self.total.is_some_and(|total| total > self.options.max_bytes) {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// The rest of the file comes, if it is the rest of the same file.
    fn go_on(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        let fits = range.and_then(content_range).is_some_and(|(first, last, total)| {
            first == self.have
                && last >= first
                && total.is_none_or(|total| total == last + 1)
                && (self.total.is_none() || total.is_none() || total == self.total)
        });
        let same = headers
            .get(ETAG)
            .is_none_or(|etag| self.validator.as_ref().is_none_or(|v| !is_etag(v) || v == etag));
        if !fits || !same {
            self.validator = None;
            return Err(passing("the server went on with something else"));
        }
        self.resumed = true;
        Ok(())
    }

    fn body(&mut self, answer: &Answer<'_>) -> Result<(), Failure> {
        self.progress(true);
        while let Some(bytes) = answer.bytes().map_err(|broken| self.failure(broken))? {
            self.file.write_all(&bytes).map_err(|e| self.not_stored(e))?;
            self.have += bytes.len() as u64;
            if self.have > self.options.max_bytes {
                return Err(self.too_large());
            }
            self.progress(false);
        }
        self.progress(true);
        match self.total {
            Some(total) if total != self.have => Err(self.broke_off("the connection was closed")),
            _ => Ok(()),
        }
    }

    fn progress(&mut self, always: bool) {
        if !always && self.last_event.is_some_and(|last| last.elapsed() < EVENT_INTERVAL) {
            return;
        }
        self.last_event = Some(Instant::now());
        self.observer.event(Event::Download {
            subject: self.subject.to_owned(),
            url: self.shown.clone(),
            done: self.have,
            total: self.total,
        });
    }

    /// Waits before the next attempt, unless the run is over.
    fn pause(&self, wait: Duration) -> Result<(), HttpError> {
        if wait_unless_interrupted(wait, self.observer) {
            return Ok(());
        }
        Err(HttpError::Interrupted { url: self.shown.clone() })
    }

    fn failure(&self, broken: Broken) -> Failure {
        match broken {
            Broken::NotSent(error) => self.not_sent(error),
            Broken::Body(error) => self.broke_off(&read_failure(&error, self.options)),
            Broken::Interrupted => {
                Failure::Lasting(HttpError::Interrupted { url: self.shown.clone() })
            }
        }
    }

    fn not_sent(&self, error: reqwest::Error) -> Failure {
        match not_sent(error, self.options) {
            NotSent::Lasting(reason) => {
                Failure::Lasting(HttpError::Refused { url: self.shown.clone(), reason })
            }
            NotSent::Passing(reason) => passing(reason),
        }
    }

    fn broke_off(&self, reason: &str) -> Failure {
        passing(match self.total {
            Some(total) => format!("{reason} after {} of {total} bytes", self.have),
            None => format!("{reason} after {} bytes", self.have),
        })
    }

    fn not_stored(&self, error: io::Error) -> Failure {
        let error = naming_file(self.file, error);
        Failure::Lasting(HttpError::Store { url: self.shown.clone(), error })
    }

    fn too_large(&self) -> Failure {
        let limit = self.options.max_bytes;
        Failure::Lasting(HttpError::TooLarge { url: self.shown.clone(), limit })
    }
}

fn passing(reason: impl Into<String>) -> Failure {
    Failure::Passing { reason: reason.into(), wait: None }
}

/// What `If-Range` takes: a strong `ETag`, else the time of the last change (RFC 9110, 13.1.5).
fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    if headers.get(ACCEPT_RANGES).is_some_and(|value| value == "none") {
        return None;
    }
    headers.get(ETAG).filter(|value| is_etag(value)).or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

fn is_etag(value: &HeaderValue) -> bool {
    value.as_bytes().starts_with(b"\"")
}
