//! A blob from a registry as a stream of bytes, which is resumed after a broken connection; its
//! size.

use std::io::{self, Write};
use std::iter::Peekable;
use std::ops::Range;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::digest::BlobDigest;
use super::error::RegistryExchangeError;
use super::reply::shown;
use super::transport::{RegistryFailure, passing};
use super::wire::{Ask, RegistryAccess, RegistryWire};
use crate::base::event::Event;
use crate::base::http::answer::HttpAnswer;
use crate::base::http::retry::{content_range, number};

/// Minimum progress in bytes for an attempt not to count as failed.
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

/// Asks for the size of a blob. Where HEAD is refused or tells nothing, GET of the first byte settles it.
pub(super) fn size(
    wire: &RegistryWire<'_>,
    digest: &BlobDigest,
    subject: &str,
) -> Result<u64, RegistryExchangeError> {
    let url = wire.endpoint.url(&format!("blobs/{digest}"));
    match wire.ask(subject, &Ask::new(Method::HEAD, &url, RegistryAccess::Pull)) {
        Ok((head, _answer)) => {
            if let Some(size) = number(head.headers.get(CONTENT_LENGTH)) {
                return Ok(size);
            }
        }
        // A registry may lead to storage whose signed URL is for GET alone.
        Err(error) if error.is_refusal() => {}
        Err(error) => return Err(error),
    }
    let headers = HeaderMap::from_iter([(RANGE, HeaderValue::from_static("bytes=0-0"))]);
    let ask = Ask { headers, ..Ask::new(Method::GET, &url, RegistryAccess::Pull) };
    let (head, _answer) = wire.ask(subject, &ask)?;
    let size = if head.status == StatusCode::PARTIAL_CONTENT {
        let range = head.headers.get(CONTENT_RANGE).and_then(|text| text.to_str().ok());
        range.and_then(content_range).and_then(|(_, _, total)| total)
    } else {
        number(head.headers.get(CONTENT_LENGTH))
    };
    size.ok_or_else(|| RegistryExchangeError::Protocol {
        url: shown(&url),
        reason: "the registry does not tell the size of a blob".to_owned(),
    })
}

/// A part of a blob was not copied.
pub(crate) enum CopyError {
    /// The exchange with the registry failed.
    Exchange(RegistryExchangeError),
    /// The destination failed.
    Write(io::Error),
}

/// Writes a part of a blob, cut at the blob's end; returns the number of its bytes.
pub(crate) fn copy(
    wire: &RegistryWire<'_>,
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

type Waits = Box<dyn Iterator<Item = Duration>>;

/// A download under way, from an offset to the blob's end. The digest is the reader's to check.
pub(crate) struct BlobStream<'a, 'w> {
    wire: &'w RegistryWire<'a>,
    request: &'w BlobRequest,
    url: String,
    /// Offset of the next byte.
    at: u64,
    /// Offset of the end.
    end: u64,
    answer: Option<HttpAnswer<'a>>,
    /// Number of bytes of the answer that lie before `at`.
    skip: u64,
    waits: Peekable<Waits>,
    /// True unless the registry has refused a range.
    takes_ranges: bool,
    /// True if the request before, which failed, was for a range.
    is_range_suspect: bool,
    attempts: u32,
    furthest: u64,
    last_event: Option<Instant>,
}

impl<'a, 'w> BlobStream<'a, 'w> {
    /// Prepares a download from an offset; the first call of [`BlobStream::next`] asks the registry.
    pub(crate) fn new(wire: &'w RegistryWire<'a>, request: &'w BlobRequest, at: u64) -> Self {
        Self::part(wire, request, at..request.size)
    }

    /// Prepares a download of a part, which lies within the blob.
    pub(super) fn part(
        wire: &'w RegistryWire<'a>,
        request: &'w BlobRequest,
        range: Range<u64>,
    ) -> Self {
        let Range { start: at, end } = range;
        Self {
            url: wire.endpoint.url(&format!("blobs/{}", request.digest)),
            waits: waits(wire),
            takes_ranges: true,
            is_range_suspect: false,
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
    pub(crate) fn next(&mut self) -> Result<Vec<u8>, RegistryExchangeError> {
        loop {
            if self.wire.observer().is_interrupted() {
                return Err(RegistryExchangeError::Interrupted);
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
    fn more(&mut self) -> Result<Option<Vec<u8>>, RegistryFailure> {
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
                    RegistryFailure::Passing { reason, .. } => self.broke_off(&reason),
                    lasting @ RegistryFailure::Lasting(_) => lasting,
                });
            }
        };
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        drop(bytes.drain(..usize::try_from(skipped).unwrap_or(bytes.len())));
        let reached = self.at + bytes.len() as u64;
        // A blob that has no end is given up here, before its digest could be compared.
        if reached > self.request.size {
            return Err(self.size(reached));
        }
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        bytes.truncate(left);
        self.at = reached.min(self.end);
        self.event(false);
        Ok(Some(bytes))
    }

    /// Requests the missing part: by a range, or, if the registry refuses that, the whole blob.
    fn ask(&mut self) -> Result<HttpAnswer<'a>, RegistryFailure> {
        let range = match self.end < self.request.size {
            true => Some(format!("bytes={}-{}", self.at, self.end - 1)),
            false if self.at > 0 => Some(format!("bytes={}-", self.at)),
            false => None,
        };
        if let Some(range) = range.filter(|_| self.takes_ranges) {
            match self.ask_for(Some(&range)) {
                Ok(Some(answer)) => return Ok(answer),
                // A server may refuse a range, and does so by any status (RFC 9110, 14.2).
                Ok(None) => {}
                Err(RegistryFailure::Lasting(error)) if error.is_refusal() => {}
                Err(failure) => {
                    self.is_range_suspect = matches!(failure, RegistryFailure::Passing { .. });
                    return Err(failure);
                }
            }
            self.takes_ranges = false;
        }
        self.ask_for(None)?.ok_or_else(|| passing("the registry answers with a part of the blob"))
    }

    /// Asks for a range, or for all; `None` if the answer is another part.
    fn ask_for(&mut self, range: Option<&str>) -> Result<Option<HttpAnswer<'a>>, RegistryFailure> {
        let mut headers = HeaderMap::new();
        if let Some(Ok(range)) = range.map(HeaderValue::from_str) {
            headers.insert(RANGE, range);
        }
        let ask = Ask { headers, ..Ask::new(Method::GET, &self.url, RegistryAccess::Pull) };
        let (head, answer) = self.wire.once(&ask)?;
        let length = number(head.headers.get(CONTENT_LENGTH));
        if head.status == StatusCode::PARTIAL_CONTENT {
            let given = head.headers.get(CONTENT_RANGE).and_then(|text| text.to_str().ok());
            let fits = given.and_then(content_range).is_some_and(|(first, _, total)| {
                first == self.at && total.is_none_or(|total| total == self.request.size)
            });
            self.skip = 0;
            return Ok(Some(answer).filter(|_| fits && range.is_some()));
        }
        // The whole blob: by its digest the same as before.
        self.skip = self.at;
        if let Some(length) = length.filter(|length| *length != self.request.size) {
            return Err(self.size(length));
        }
        Ok(Some(answer))
    }

    /// Waits for the next attempt, if there is one.
    fn again(&mut self, failure: RegistryFailure) -> Result<(), RegistryExchangeError> {
        let (reason, asked) = match failure {
            RegistryFailure::Lasting(error) => return Err(error),
            RegistryFailure::Passing { reason, wait } => (reason, wait),
        };
        if self.at >= self.furthest + PROGRESS {
            self.furthest = self.at;
            self.waits = waits(self.wire);
        }
        self.attempts += 1;
        let Some(wait) = self.waits.next() else {
            let (url, attempts) = (shown(&self.url), self.attempts);
            return Err(RegistryExchangeError::GaveUp { url, attempts, reason });
        };
        if std::mem::take(&mut self.is_range_suspect) && self.waits.peek().is_none() {
            // Ranges may be the fault of a server that answers 500: the last attempt does without.
            self.takes_ranges = false;
        }
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

    fn size(&self, found: u64) -> RegistryFailure {
        let (what, expected) = (self.request.what.clone(), self.request.size);
        RegistryExchangeError::Size { what, expected, found }.into()
    }

    fn broke_off(&self, reason: &str) -> RegistryFailure {
        passing(format!("{reason} after {} of {} bytes", self.at, self.request.size))
    }
}

fn waits(wire: &RegistryWire<'_>) -> Peekable<Waits> {
    let waits: Waits = Box::new(wire.waits());
    waits.peekable()
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
