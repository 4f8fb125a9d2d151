//! A blob from a registry as one stream of bytes, which goes on where a connection broke off; its size.

use std::io::{self, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::digest::BlobDigest;
use super::error::ExchangeError;
use super::reply::shown;
use super::transport::{Failure, passing};
use super::wire::{Access, Ask, Wire};
use crate::base::event::Event;
use crate::base::http::answer::Answer;
use crate::base::http::retry::{content_range, number};

/// An attempt that brought the blob at least this much further did not fail for nothing.
const PROGRESS: u64 = 1 << 20;
/// The least time between two progress events.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

/// Request for a blob.
#[derive(Debug, Clone)]
pub(crate) struct BlobRequest {
    pub(crate) digest: BlobDigest,
    pub(crate) size: u64,
    /// Role of the blob, for messages.
    pub(crate) what: String,
    /// Name of the transfer in events; `None` for documents.
    pub(crate) subject: Option<String>,
}

/// Asks for the size of a blob.
pub(super) fn size(
    wire: &Wire<'_>,
    digest: &BlobDigest,
    subject: &str,
) -> Result<u64, ExchangeError> {
    let url = wire.endpoint.url(&format!("blobs/{digest}"));
    let (head, _answer) = wire.ask(subject, &Ask::new(Method::HEAD, &url, Access::Pull))?;
    number(head.headers.get(CONTENT_LENGTH)).ok_or_else(|| ExchangeError::Protocol {
        url: shown(&url),
        reason: "the registry does not tell the size of a blob".to_owned(),
    })
}

/// A part of a blob was not copied.
pub(crate) enum CopyError {
    /// The exchange with the registry failed.
    Exchange(ExchangeError),
    /// The destination failed.
    Write(io::Error),
}

/// Writes a part of a blob, cut at the blob's end; returns the number of its bytes.
pub(crate) fn copy(
    wire: &Wire<'_>,
    request: &BlobRequest,
    range: Range<u64>,
    to: &mut dyn Write,
) -> Result<u64, CopyError> {
    let (start, end) = (range.start.min(request.size), range.end.min(request.size));
    let mut stream = BlobStream::part(wire, request, start..end);
    loop {
        let bytes = stream.next().map_err(CopyError::Exchange)?;
        if bytes.is_empty() {
            return Ok(end.saturating_sub(start));
        }
        to.write_all(&bytes).map_err(CopyError::Write)?;
    }
}

/// A download under way, from an offset to the blob's end. The digest is the reader's to check.
pub(crate) struct BlobStream<'a, 'w> {
    wire: &'w Wire<'a>,
    request: &'w BlobRequest,
    url: String,
    /// Offset of the next byte.
    at: u64,
    /// Offset of the end.
    end: u64,
    answer: Option<Answer<'a>>,
    /// Number of bytes of the answer that lie before `at`.
    skip: u64,
    waits: Box<dyn Iterator<Item = Duration>>,
    attempts: u32,
    furthest: u64,
    last_event: Option<Instant>,
}

impl<'a, 'w> BlobStream<'a, 'w> {
    /// Prepares a download from an offset; the first call of [`BlobStream::next`] asks the registry.
    pub(crate) fn new(wire: &'w Wire<'a>, request: &'w BlobRequest, at: u64) -> Self {
        Self::part(wire, request, at..request.size)
    }

    /// Prepares a download of a part, which lies within the blob.
    pub(super) fn part(wire: &'w Wire<'a>, request: &'w BlobRequest, range: Range<u64>) -> Self {
        let Range { start: at, end } = range;
        Self {
            url: wire.endpoint.url(&format!("blobs/{}", request.digest)),
            waits: Box::new(wire.waits()),
            wire,
            request,
            at,
            end,
            answer: None,
            skip: 0,
            attempts: 0,
            furthest: at,
            last_event: None,
        }
    }

    /// Returns the next bytes; none at the end.
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, ExchangeError> {
        loop {
            if self.wire.observer().is_interrupted() {
                return Err(ExchangeError::Interrupted);
            }
            if self.at >= self.end {
                self.event(true);
                return Ok(Vec::new());
            }
            let failure = match self.more() {
                // Nothing would mean the end.
                Ok(Some(bytes)) if bytes.is_empty() => continue,
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => self.broke_off("the connection was closed"),
                Err(failure) => failure,
            };
            self.answer = None;
            self.again(failure)?;
        }
    }

    /// Reads bytes of an answer; `None` at the answer's end.
    fn more(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.answer.is_none() {
            self.answer = Some(self.ask()?);
            self.event(true);
        }
        let Some(answer) = &self.answer else { return Ok(None) };
        let mut bytes = match answer.bytes() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(broken) => {
                return Err(match self.wire.transport.broken(broken) {
                    Failure::Passing { reason, .. } => self.broke_off(&reason),
                    lasting @ Failure::Lasting(_) => lasting,
                });
            }
        };
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        drop(bytes.drain(..usize::try_from(skipped).unwrap_or(bytes.len())));
        let reached = self.at + bytes.len() as u64;
        if reached > self.request.size {
            return Err(self.size(reached));
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        bytes.truncate(left);
        self.at = reached.min(self.end);
        self.event(false);
        Ok(Some(bytes))
    }

    fn ask(&mut self) -> Result<Answer<'a>, Failure> {
        let mut headers = HeaderMap::new();
        let range = match self.end < self.request.size {
            true => Some(format!("bytes={}-{}", self.at, self.end - 1)),
            false if self.at > 0 => Some(format!("bytes={}-", self.at)),
            false => None,
        };
        if let Some(Ok(range)) = range.map(|range| HeaderValue::from_str(&range)) {
            headers.insert(RANGE, range);
        }
        let ask = Ask { headers, ..Ask::new(Method::GET, &self.url, Access::Pull) };
        let (head, answer) = self.wire.once(&ask)?;
        let length = number(head.headers.get(CONTENT_LENGTH));
        if head.status == StatusCode::PARTIAL_CONTENT {
            let range = head.headers.get(CONTENT_RANGE).and_then(|text| text.to_str().ok());
            let fits = range.and_then(content_range).is_some_and(|(first, _, total)| {
                first == self.at && total.is_none_or(|total| total == self.request.size)
            });
            if !fits {
                return Err(passing("the registry went on with something else"));
            }
            self.skip = 0;
            return Ok(answer);
        }
        // The whole blob: by its digest the same as before.
        self.skip = self.at;
        if let Some(length) = length.filter(|length| *length != self.request.size) {
            return Err(self.size(length));
        }
        Ok(answer)
    }

    /// Waits for the next attempt, if there is one.
    fn again(&mut self, failure: Failure) -> Result<(), ExchangeError> {
        let (reason, asked) = match failure {
            Failure::Lasting(error) => return Err(error),
            Failure::Passing { reason, wait } => (reason, wait),
        };
        if self.at >= self.furthest + PROGRESS {
            self.furthest = self.at;
            self.waits = Box::new(self.wire.waits());
        }
        self.attempts += 1;
        let Some(wait) = self.waits.next() else {
            let (url, attempts) = (shown(&self.url), self.attempts);
            return Err(ExchangeError::GaveUp { url, attempts, reason });
        };
        let subject = self.request.subject.as_ref().unwrap_or(&self.request.what);
        self.wire.pause(subject, reason, wait.max(asked.unwrap_or_default()))
    }

    fn event(&mut self, always: bool) {
        let Some(subject) = &self.request.subject else { return };
        if !always && self.last_event.is_some_and(|last| last.elapsed() < EVENT_INTERVAL) {
            return;
        }
        self.last_event = Some(Instant::now());
        self.wire.observer().event(Event::Download {
            subject: subject.clone(),
            url: shown(&self.url),
            done: self.at,
            total: Some(self.request.size),
        });
    }

    fn size(&self, found: u64) -> Failure {
        let (what, expected) = (self.request.what.clone(), self.request.size);
        ExchangeError::Size { what, expected, found }.into()
    }

    fn broke_off(&self, reason: &str) -> Failure {
        passing(format!("{reason} after {} of {} bytes", self.at, self.request.size))
    }
}

impl Drop for BlobStream<'_, '_> {
    fn drop(&mut self) {
        if self.last_event.is_some()
            && let Some(subject) = &self.request.subject
        {
            self.wire.observer().event(Event::TransferEnded { subject: subject.clone() });
        }
    }
}
