//! A part of a file, and the size of one, without the file.

use std::io::Write;
use std::ops::Range;

use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, StatusCode};

use super::HttpError;
use super::answer::HttpAnswer;
use super::exchange::{Attempts, HttpExchange, HttpFailure, broke_off, passing};
use super::retry::{content_range, number};
use super::transfer::validator;

/// Asks for the size of a file; `None` if the server does not tell.
pub(super) fn size(exchange: &HttpExchange<'_>) -> Result<Option<u64>, HttpError> {
    let attempt = || {
        let (head, _answer) = exchange.send(exchange.request(Method::HEAD))?;
        match head.status {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                Ok(number(head.headers.get(CONTENT_LENGTH)))
            }
            _ => Err(exchange.unsuccessful(&head)),
        }
    };
    let mut attempts = Attempts::new(exchange);
    loop {
        match attempt() {
            Ok(size) => return Ok(size),
            Err(failure) => attempts.again(failure, 0)?,
        }
    }
}

/// A download of a part.
pub(super) struct PartDownload<'a> {
    exchange: &'a HttpExchange<'a>,
    range: Range<u64>,
    to: &'a mut dyn Write,
    /// Offset of the next byte.
    at: u64,
    validator: Option<HeaderValue>,
}

impl<'a> PartDownload<'a> {
    pub(super) fn new(
        exchange: &'a HttpExchange<'a>,
        range: Range<u64>,
        to: &'a mut dyn Write,
    ) -> Self {
        let at = range.start;
        Self { exchange, range, to, at, validator: None }
    }

    /// Writes the bytes of the range that the file has, and returns their number.
    pub(super) fn run(mut self) -> Result<u64, HttpError> {
        let mut attempts = Attempts::new(self.exchange);
        let result = loop {
            match self.attempt() {
                Ok(()) => break Ok(self.done()),
                Err(failure) => {
                    if let Err(error) = attempts.again(failure, self.done()) {
                        break Err(error);
                    }
                }
            }
        };
        self.exchange.ended();
        result
    }

    fn done(&self) -> u64 {
        self.at - self.range.start
    }

    fn attempt(&mut self) -> Result<(), HttpFailure> {
        let range = format!("bytes={}-{}", self.at, self.range.end - 1);
        let mut request = self.exchange.request(Method::GET).header(RANGE, range);
        if let Some(validator) = self.validator.as_ref().filter(|_| self.done() > 0) {
            request = request.header(IF_RANGE, validator);
        }
        let (head, answer) = self.exchange.send(request)?;
        match head.status {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                let length = number(head.headers.get(CONTENT_LENGTH));
                self.same_file(&head.headers)?;
                let end = length.map(|length| length.min(self.range.end));
                // A server without ranges sends all of the file, of which the beginning is skipped.
                self.body(&answer, self.at, end)
            }
            StatusCode::PARTIAL_CONTENT => {
                let text = head.headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let fits = text
                    .and_then(content_range)
                    .filter(|(first, last, _)| *first == self.at && last >= first);
                let Some((_, last, _)) = fits else {
                    return Err(passing("the server answers with another part"));
                };
                self.same_file(&head.headers)?;
                self.body(&answer, 0, Some((last + 1).min(self.range.end)))
            }
            // The file ends before the range begins.
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(()),
            _ => Err(self.exchange.unsuccessful(&head)),
        }
    }

    /// Refuses to put parts of two files together.
    fn same_file(&mut self, headers: &HeaderMap) -> Result<(), HttpFailure> {
        let validator = validator(headers);
        // `If-Range` is not enough: a server may ignore it and send a part of the new file.
        if self.done() > 0 && self.validator != validator {
            return Err(HttpFailure::Lasting(HttpError::Refused {
                url: self.exchange.shown.clone(),
                reason: "the file changed while a part of it was read".to_owned(),
            }));
        }
        self.validator = validator;
        Ok(())
    }

    /// Writes a body without its first bytes, up to the end, if known.
    fn body(
        &mut self,
        answer: &HttpAnswer<'_>,
        mut skip: u64,
        end: Option<u64>,
    ) -> Result<(), HttpFailure> {
        let total = end.map(|end| end.saturating_sub(self.range.start));
        self.exchange.progress(true, self.done(), total);
        while self.at < self.range.end {
            let Some(bytes) = self.exchange.bytes(answer, self.done(), total)? else { break };
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            skip -= skipped as u64;
            let left = usize::try_from(self.range.end - self.at).unwrap_or(usize::MAX);
            let bytes = &bytes[skipped..];
            let bytes = &bytes[..bytes.len().min(left)];
            self.to.write_all(bytes).map_err(|error| self.exchange.not_stored(error))?;
            self.at += bytes.len() as u64;
            self.exchange.progress(false, self.done(), total);
        }
        self.exchange.progress(true, self.done(), total);
        match end {
            Some(end) if self.at < end => {
                Err(broke_off("the connection was closed", self.done(), total))
            }
            _ => Ok(()),
        }
    }
}
