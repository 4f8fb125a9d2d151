//! A download of a whole file: the file's state between the attempts.

use std::fs::File;
use std::io::{self, Seek, Write};

use reqwest::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE,
    LAST_MODIFIED, RANGE, TRANSFER_ENCODING,
};
use reqwest::{Method, StatusCode};

use super::answer::HttpAnswer;
use super::exchange::{Attempts, HttpExchange, HttpFailure, broke_off, passing};
use super::retry::{content_range, number};
use super::{Downloaded, HttpError};
use crate::base::atomic::naming_file;

/// Number of errors that may pass after which ranges are taken for their cause.
const MOST_REFUSALS: u32 = 2;

pub(super) struct HttpTransfer<'a> {
    exchange: &'a HttpExchange<'a>,
    file: &'a mut File,
    have: u64,
    total: Option<u64>,
    validator: Option<HeaderValue>,
    resumed: bool,
    may_be_short: bool,
    /// Number of answers in a row to requests for the rest that were errors.
    refusals: u32,
}

impl<'a> HttpTransfer<'a> {
    pub(super) fn new(exchange: &'a HttpExchange<'a>, file: &'a mut File) -> Self {
        Self {
            exchange,
            file,
            have: 0,
            total: None,
            validator: None,
            resumed: false,
            may_be_short: false,
            refusals: 0,
        }
    }

    pub(super) fn run(mut self) -> Result<Downloaded, HttpError> {
        let mut attempts = Attempts::new(self.exchange);
        let result = loop {
            match self.attempt() {
                Ok(()) => {
                    break Ok(Downloaded {
                        bytes: self.have,
                        resumed: self.resumed,
                        may_be_short: self.may_be_short,
                    });
                }
                Err(failure) => {
                    if let Err(error) = attempts.again(failure, self.have) {
                        break Err(error);
                    }
                }
            }
        };
        self.exchange.ended();
        result
    }

    fn attempt(&mut self) -> Result<(), HttpFailure> {
        let mut request = self.exchange.request(Method::GET);
        let ranged = match &self.validator {
            Some(validator) if self.have > 0 => {
                let range = format!("bytes={}-", self.have);
                request = request.header(RANGE, range).header(IF_RANGE, validator);
                true
            }
            _ => false,
        };
        let (head, answer) = self.exchange.send(request)?;
        match head.status {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                self.begin(&head.headers)?;
            }
            StatusCode::PARTIAL_CONTENT if ranged => self.go_on(&head.headers)?,
            // A server may refuse a range, and does so by any status (RFC 9110, 14.2).
            _ if ranged => return Err(self.not_gone_on(self.exchange.unsuccessful(&head))),
            _ => return Err(self.exchange.unsuccessful(&head)),
        }
        self.body(&answer)
    }

    /// Has the next attempt begin at the start, unless the server only was not ready for a range this once.
    fn not_gone_on(&mut self, failure: HttpFailure) -> HttpFailure {
        self.refusals += 1;
        let is_lasting = matches!(failure, HttpFailure::Lasting(_));
        if is_lasting || self.refusals >= MOST_REFUSALS {
            self.validator = None;
        }
        if is_lasting { passing("the server can't go on where it stopped") } else { failure }
    }

    /// Prepares for the whole file: what is there goes.
    fn begin(&mut self, headers: &HeaderMap) -> Result<(), HttpFailure> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(|e| self.not_stored(e))?;
        self.have = 0;
        self.resumed = false;
        self.total = number(headers.get(CONTENT_LENGTH));
        // With neither, the end of the connection is the end of the file, be it cut off or not.
        self.may_be_short = self.total.is_none() && !headers.contains_key(TRANSFER_ENCODING);
        self.validator = validator(headers);
        if self.total.is_some_and(|total| total > self.exchange.options.max_bytes) {
            return Err(self.too_large());
        }
        Ok(())
    }

    /// Prepares for the rest of the file, if it is the rest of the same file.
    fn go_on(&mut self, headers: &HeaderMap) -> Result<(), HttpFailure> {
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
        self.refusals = 0;
        Ok(())
    }

    fn body(&mut self, answer: &HttpAnswer<'_>) -> Result<(), HttpFailure> {
        self.progress(true);
        while let Some(bytes) = self.exchange.bytes(answer, self.have, self.total)? {
            self.file.write_all(&bytes).map_err(|e| self.not_stored(e))?;
            self.have += bytes.len() as u64;
            if self.have > self.exchange.options.max_bytes {
                return Err(self.too_large());
            }
            self.progress(false);
        }
        self.progress(true);
        match self.total {
            Some(total) if total != self.have => {
                Err(broke_off("the connection was closed", self.have, self.total))
            }
            _ => Ok(()),
        }
    }

    fn progress(&self, always: bool) {
        self.exchange.progress(always, self.have, self.total);
    }

    fn not_stored(&self, error: io::Error) -> HttpFailure {
        self.exchange.not_stored(naming_file(self.file, error))
    }

    fn too_large(&self) -> HttpFailure {
        let limit = self.exchange.options.max_bytes;
        HttpFailure::Lasting(HttpError::TooLarge { url: self.exchange.shown.clone(), limit })
    }
}

/// Returns the value for `If-Range`: a strong `ETag`, else the time of the last change (RFC 9110,
/// 13.1.5).
pub(super) fn validator(headers: &HeaderMap) -> Option<HeaderValue> {
    if headers.get(ACCEPT_RANGES).is_some_and(|value| value == "none") {
        return None;
    }
    // A weak one (`W/"…"`) does not say that the bytes are the same.
    headers.get(ETAG).filter(|value| is_etag(value)).or_else(|| headers.get(LAST_MODIFIED)).cloned()
}

fn is_etag(value: &HeaderValue) -> bool {
    value.as_bytes().starts_with(b"\"")
}
