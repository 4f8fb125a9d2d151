//! A blob: from its file as far as it is there, then from the registry, as one stream of bytes that
//! is written down and whose digest is taken while it comes.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::error::RegistryProblem;
use super::partial::Partial;
use super::tail::Progress;
use super::wire::{Access, Ask, Content, Failure, Wire, shown};
use crate::base::event::Event;
use crate::base::http::answer::Answer;
use crate::base::http::retry::{content_range, number};
use crate::image::digest::BlobDigest;
use crate::image::load::LoadProblem;

/// An attempt that brought the blob at least this much further did not fail for nothing.
const PROGRESS: u64 = 1 << 20;
/// The least time between two progress events.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);
const BUFFER: usize = 128 << 10;

/// What is fetched.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) digest: BlobDigest,
    pub(super) size: u64,
    /// Its role, for messages.
    pub(super) what: String,
    /// What events call it; documents have none.
    pub(super) subject: Option<String>,
}

/// A download under way. Reading it gives the blob's bytes in order, once; why it ends early is in
/// [`Download::problem`].
pub(super) struct Download<'a, 'w> {
    wire: &'w Wire<'a>,
    wanted: &'w Wanted,
    url: String,
    partial: &'w mut Partial,
    progress: &'w Progress,
    /// How many bytes were given to the reader.
    at: u64,
    answer: Option<Answer<'a>>,
    /// How many bytes of the answer are there already.
    skip: u64,
    waits: Box<dyn Iterator<Item = Duration>>,
    attempts: u32,
    furthest: u64,
    pending: Vec<u8>,
    given: usize,
    last_event: Option<Instant>,
    problem: Option<RegistryProblem>,
}

impl<'a, 'w> Download<'a, 'w> {
    /// Starts at the file's beginning; whoever follows the file hears of it by `progress`.
    pub(super) fn new(
        wire: &'w Wire<'a>,
        wanted: &'w Wanted,
        partial: &'w mut Partial,
        progress: &'w Progress,
    ) -> io::Result<Self> {
        partial.file.seek(SeekFrom::Start(0))?;
        let furthest = partial.had;
        progress.reached(furthest);
        Ok(Self {
            url: wire.endpoint.url(&format!("blobs/{}", wanted.digest)),
            waits: Box::new(wire.waits()),
            wire,
            wanted,
            partial,
            progress,
            at: 0,
            answer: None,
            skip: 0,
            attempts: 0,
            furthest,
            pending: Vec::new(),
            given: 0,
            last_event: None,
            problem: None,
        })
    }

    /// Why reading it failed.
    pub(super) fn problem(&mut self) -> Option<RegistryProblem> {
        self.problem.take()
    }

    /// The next bytes; none at the end.
    fn next(&mut self) -> Result<Vec<u8>, RegistryProblem> {
        loop {
            if self.wire.observer.is_interrupted() {
                return Err(RegistryProblem::Interrupted);
            }
            let left = self.wanted.size - self.at;
            if left == 0 {
                self.event(true);
                return Ok(Vec::new());
            }
            if self.at < self.partial.had {
                let mut bytes =
                    vec![
                        0;
                        BUFFER.min(usize::try_from(self.partial.had - self.at).unwrap_or(BUFFER))
                    ];
                self.partial.file.read_exact(&mut bytes).map_err(RegistryProblem::Keep)?;
                self.at += bytes.len() as u64;
                return Ok(bytes);
            }
            let failure = match self.more() {
                Ok(Some(bytes)) => return Ok(bytes),
                Ok(None) => self.broke_off("the connection was closed"),
                Err(failure) => failure,
            };
            self.answer = None;
            self.again(failure)?;
        }
    }

    /// Bytes of an answer, written down; `None` where it ends.
    fn more(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if self.answer.is_none() {
            self.answer = Some(self.request()?);
            self.event(true);
        }
        let Some(answer) = &self.answer else { return Ok(None) };
        let bytes = match answer.bytes() {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(broken) => {
                let failure = self.wire.broken(broken);
                return Err(match failure {
                    Failure::Passing { reason, .. } => self.broke_off(&reason),
                    lasting @ Failure::Lasting(_) => lasting,
                });
            }
        };
        let skipped = self.skip.min(bytes.len() as u64);
        self.skip -= skipped;
        let mut bytes = bytes;
        drop(bytes.drain(..usize::try_from(skipped).unwrap_or(bytes.len())));
        let left = self.wanted.size - self.at;
        if bytes.len() as u64 > left {
            return Err(self.size(self.at + bytes.len() as u64));
        }
        self.partial.file.write_all(&bytes).map_err(RegistryProblem::Keep)?;
        self.at += bytes.len() as u64;
        self.partial.had = self.at;
        self.progress.reached(self.at);
        self.event(false);
        // Reading nothing would mean the end.
        if bytes.is_empty() { self.more() } else { Ok(Some(bytes)) }
    }

    fn request(&mut self) -> Result<Answer<'a>, Failure> {
        let mut headers = HeaderMap::new();
        if self.at > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", self.at))
        {
            headers.insert(RANGE, range);
        }
        let ask = Ask {
            method: Method::GET,
            url: &self.url,
            access: Access::Pull,
            also: None,
            headers,
            body: Content::None,
        };
        let (head, answer) = self.wire.once(&ask)?;
        let length = number(head.headers.get(CONTENT_LENGTH));
        if head.status == StatusCode::PARTIAL_CONTENT {
            let range = head.headers.get(CONTENT_RANGE).and_then(|text| text.to_str().ok());
            let fits = range.and_then(content_range).is_some_and(|(first, _, total)| {
                first == self.at && total.is_none_or(|total| total == self.wanted.size)
            });
            if !fits {
                return Err(passing("the registry went on with something else"));
            }
            self.skip = 0;
            return Ok(answer);
        }
        // The whole of it: by its digest it is the same as before.
        self.skip = self.at;
        if let Some(length) = length.filter(|length| *length != self.wanted.size) {
            return Err(self.size(length));
        }
        Ok(answer)
    }

    /// Waits for the next attempt, if there is one.
    fn again(&mut self, failure: Failure) -> Result<(), RegistryProblem> {
        let (reason, asked) = match failure {
            Failure::Lasting(problem) => return Err(problem),
            Failure::Passing { reason, wait } => (reason, wait),
        };
        if self.at >= self.furthest + PROGRESS {
            self.furthest = self.at;
            self.waits = Box::new(self.wire.waits());
        }
        self.attempts += 1;
        let Some(wait) = self.waits.next() else {
            let (url, attempts) = (shown(&self.url), self.attempts);
            return Err(RegistryProblem::GaveUp { url, attempts, reason });
        };
        let subject = self.wanted.subject.as_ref().unwrap_or(&self.wanted.what);
        self.wire.pause(subject, reason, wait.max(asked.unwrap_or_default()))
    }

    fn event(&mut self, always: bool) {
        let Some(subject) = &self.wanted.subject else { return };
        if !always && self.last_event.is_some_and(|last| last.elapsed() < EVENT_INTERVAL) {
            return;
        }
        self.last_event = Some(Instant::now());
        self.wire.observer.event(Event::Download {
            subject: subject.clone(),
            url: shown(&self.url),
            done: self.at,
            total: Some(self.wanted.size),
        });
    }

    fn size(&self, found: u64) -> Failure {
        let (what, expected) = (self.wanted.what.clone(), self.wanted.size);
        Failure::Lasting(LoadProblem::Size { what, expected, found }.into())
    }

    fn broke_off(&self, reason: &str) -> Failure {
        passing(format!("{reason} after {} of {} bytes", self.at, self.wanted.size))
    }
}

impl Read for Download<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.pending.len() {
            self.pending = self.next().map_err(|problem| {
                let error = io::Error::other(problem.to_string());
                self.problem = Some(problem);
                error
            })?;
            self.given = 0;
        }
        let count = (&self.pending[self.given..]).read(buffer)?;
        self.given += count;
        Ok(count)
    }
}

impl Drop for Download<'_, '_> {
    fn drop(&mut self) {
        if self.last_event.is_some()
            && let Some(subject) = &self.wanted.subject
        {
            self.wire.observer.event(Event::DownloadEnded { subject: subject.clone() });
        }
    }
}

fn passing(reason: impl Into<String>) -> Failure {
    Failure::Passing { reason: reason.into(), wait: None }
}
