//! One operation on a store in a cloud: attempts, waits, events, classification of failures.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::address::CloudAddress;
use super::error::CloudError;
use super::exchange::{CloudExchange, NotedFault, RequestFault, UploadParts};
use super::runtime::{self, Stopped};
use crate::base::causes::with_causes;
use crate::base::event::Event;
use crate::base::http::retry::{NotSent, next_wait, not_sent, waits};
use crate::base::http::{HttpOptions, redact_text};
use crate::store::backend::StoreTransfer;
use crate::store::error::StoreError;
use crate::store::key::ObjectKey;

/// Number of further bytes after which a failed attempt does not count.
const PROGRESS: u64 = 1 << 20;
/// The least time between two progress events.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

/// Cause of a failed attempt.
#[derive(Debug)]
pub(super) enum CloudFailure {
    /// Another attempt may succeed.
    Passing { reason: String, wait: Option<Duration> },
    /// The connection was refused.
    Refused { server: String, reason: String },
    /// The store has an object of the name already.
    Taken,
    /// The store has no object of the name.
    NotFound,
    /// The store has not ended the copy that the operation began; the text is its progress.
    Copying(String),
    /// The range lies behind the object's end.
    OutOfRange,
    /// Another attempt would fail, too.
    Lasting(CloudError),
    /// Another attempt would fail, too, and not because of the store.
    Local(StoreError),
}

/// Returns a failure that another attempt may mend.
pub(super) fn passing(reason: impl Into<String>) -> CloudFailure {
    CloudFailure::Passing { reason: reason.into(), wait: None }
}

/// Verbs of the operations that upload.
pub(super) const PUT: &str = "put";
pub(super) const REPLACE: &str = "replace";
/// Verb of the operation that copies.
pub(super) const COPY: &str = "copy";

/// Operation on a store.
pub(super) struct CloudOperation<'s> {
    pub(super) address: &'s CloudAddress,
    pub(super) options: &'s HttpOptions,
    /// The operation, as a verb.
    verb: &'static str,
    pub(super) key: Option<&'s ObjectKey>,
    transfer: StoreTransfer<'s>,
    pub(super) upload: UploadParts,
    /// Upper limit of the size of an object that is got, in bytes.
    pub(super) longest: u64,
    last_event: Cell<Option<Instant>>,
}

impl<'s> CloudOperation<'s> {
    pub(super) fn new(
        address: &'s CloudAddress,
        options: &'s HttpOptions,
        verb: &'static str,
        key: Option<&'s ObjectKey>,
        transfer: &StoreTransfer<'s>,
    ) -> Self {
        let last_event = Cell::new(None);
        let upload = UploadParts::default();
        let longest = options.max_bytes;
        Self { address, options, verb, key, transfer: *transfer, upload, longest, last_event }
    }

    /// Runs the operation on this thread until it ends or the run is interrupted.
    pub(super) fn run<T>(
        &self,
        work: impl Future<Output = Result<T, CloudFailure>>,
    ) -> Result<T, CloudFailure> {
        runtime::run(self.transfer.observer, work).unwrap_or_else(|stopped| match stopped {
            Stopped::Interrupted => Err(CloudFailure::Local(StoreError::Interrupted)),
            Stopped::NoRuntime(reason) => {
                Err(CloudFailure::Lasting(CloudError::Settings { reason, hint: None }))
            }
        })
    }

    /// Makes attempts until success or the last attempt. `have` is the number of bytes moved so far.
    pub(super) async fn attempt<T>(
        &self,
        have: impl Fn() -> u64,
        mut work: impl AsyncFnMut() -> (Arc<CloudExchange>, Result<T, FailedAttempt>),
    ) -> Result<T, CloudFailure> {
        let (mut furthest, mut made, mut left) =
            (0, 0, waits(self.options).collect::<Vec<_>>().into_iter());
        loop {
            let (exchange, result) = work().await;
            let failure = match result {
                Ok(done) => return Ok(done),
                Err(FailedAttempt::Failed(failure)) => failure,
                Err(FailedAttempt::Store(error)) => self.classify(&exchange, &error),
            };
            let (reason, asked) = match failure {
                CloudFailure::Passing { reason, wait } => (reason, wait),
                // A server that restarts has taken a connection before.
                CloudFailure::Refused { reason, .. } if made > 0 => (reason, None),
                failure => return Err(failure),
            };
            // As for downloads from web servers: progress earns new attempts.
            if have() >= furthest + PROGRESS {
                furthest = have();
                left = waits(self.options).collect::<Vec<_>>().into_iter();
            }
            made += 1;
            let wait = next_wait(left.next(), asked).map_err(|end| {
                let reason = format!("{reason}{end}");
                CloudFailure::Lasting(CloudError::GaveUp { attempts: made, reason })
            })?;
            let subject = self.transfer.subject.to_owned();
            self.transfer.observer.event(Event::Retry { subject, reason, wait });
            tokio::time::sleep(wait).await;
        }
    }

    /// Makes attempts at a request with a small answer.
    pub(super) async fn ask<T>(
        &self,
        mut work: impl AsyncFnMut() -> object_store::Result<T>,
    ) -> Result<T, CloudFailure> {
        self.attempt(
            || 0,
            async || {
                let upload = self.upload.clone();
                let exchange = CloudExchange::new(self.options.stall_timeout).uploading(upload);
                let exchange = Arc::new(exchange);
                let result = Arc::clone(&exchange).scope(work()).await;
                (exchange, result.map_err(FailedAttempt::Store))
            },
        )
        .await
    }

    /// Classifies an error of `object_store` by the connection's notes.
    fn classify(&self, exchange: &CloudExchange, error: &object_store::Error) -> CloudFailure {
        let Some(NotedFault { fault, server, is_of_credentials }) = exchange.take_fault() else {
            return unnoted(error);
        };
        match fault {
            RequestFault::Answer(answer) if answer.may_pass() => {
                let reason = format!("{server} answers {}", answer.status);
                CloudFailure::Passing { reason, wait: answer.wait }
            }
            // Before the statuses of objects: a 404 of a token server is not a missing object.
            RequestFault::Answer(answer) if is_of_credentials => {
                CloudFailure::Lasting(CloudError::NoToken { server, answer: Box::new(answer) })
            }
            RequestFault::Answer(answer) if answer.is_taken() => CloudFailure::Taken,
            RequestFault::Answer(answer) if answer.status == 416 => CloudFailure::OutOfRange,
            RequestFault::Answer(answer) if answer.status == 404 && !answer.is_without_bucket() => {
                CloudFailure::NotFound
            }
            RequestFault::Answer(answer) => {
                CloudFailure::Lasting(CloudError::Answer { server, answer: Box::new(answer) })
            }
            RequestFault::Broken(reason) | RequestFault::Forbidden(reason) if is_of_credentials => {
                CloudFailure::Lasting(CloudError::NoCredentials { server, reason })
            }
            RequestFault::Broken(reason) => passing(reason),
            RequestFault::Copying(progress) if self.verb == COPY => CloudFailure::Copying(progress),
            RequestFault::Copying(_) => passing("the store has not ended the copy of the object"),
            RequestFault::NotCopied(reason) => {
                let left = self.key.map(|key| self.address.path(key));
                CloudFailure::Lasting(CloudError::NotCopied { server, reason, left })
            }
            RequestFault::Forbidden(reason) => {
                CloudFailure::Lasting(CloudError::NotSent { server, reason })
            }
            RequestFault::NotSent(error) => match not_sent(error, self.options) {
                NotSent::Passing(reason) | NotSent::Refused(reason) | NotSent::Lasting(reason)
                    if is_of_credentials =>
                {
                    CloudFailure::Lasting(CloudError::NoCredentials { server, reason })
                }
                NotSent::Passing(reason) => passing(format!("{server}: {reason}")),
                NotSent::Refused(reason) => CloudFailure::Refused { server, reason },
                NotSent::Lasting(reason) => {
                    CloudFailure::Lasting(CloudError::NotSent { server, reason })
                }
            },
            RequestFault::Foreign(reason) => {
                CloudFailure::Lasting(CloudError::Protocol { reason: reason.to_owned() })
            }
            RequestFault::Content(error) => CloudFailure::Local(self.content(error)),
        }
    }

    /// Makes the operation's error of a failure.
    pub(super) fn failed(&self, failure: CloudFailure) -> StoreError {
        match (failure, self.key) {
            (CloudFailure::NotFound, Some(key)) => {
                StoreError::NotFound { store: self.address.to_string(), key: key.clone() }
            }
            (CloudFailure::Lasting(error), _) => self.error(error),
            (CloudFailure::Local(error), _) => error,
            (CloudFailure::Refused { server, reason }, _) => {
                self.error(CloudError::Refused { server, reason })
            }
            (CloudFailure::Passing { reason, .. }, _) => {
                self.error(CloudError::GaveUp { attempts: 1, reason })
            }
            (CloudFailure::Copying(_), _) => {
                let reason = "the store has not ended the copy".to_owned();
                self.error(CloudError::GaveUp { attempts: 1, reason })
            }
            (
                failure @ (CloudFailure::NotFound | CloudFailure::Taken | CloudFailure::OutOfRange),
                _,
            ) => self.error(CloudError::Protocol { reason: format!("{failure:?}") }),
        }
    }

    /// Adds the operation and the place to an error.
    pub(super) fn error(&self, error: CloudError) -> StoreError {
        let place = match self.key {
            Some(key) => format!("{}/{key}", self.address),
            None => self.address.to_string(),
        };
        let (failure, hint) = (error.kind(), error.hint(self.address));
        StoreError::Remote { operation: self.verb, place, failure, hint, error: Box::new(error) }
    }

    /// Returns the failure to read the content of a put.
    pub(super) fn content(&self, error: std::io::Error) -> StoreError {
        match self.key {
            Some(key) => StoreError::Content { key: key.clone(), error },
            None => self.error(CloudError::Protocol { reason: error.to_string() }),
        }
    }

    /// Returns the failure to keep received bytes.
    pub(super) fn not_stored(&self, error: std::io::Error) -> CloudFailure {
        CloudFailure::Local(match self.key {
            Some(key) => StoreError::Destination { key: key.clone(), error },
            None => self.error(CloudError::Protocol { reason: error.to_string() }),
        })
    }

    /// True if the run is over.
    pub(super) fn is_interrupted(&self) -> bool {
        self.transfer.observer.is_interrupted()
    }

    /// Reports progress, unless a report was made just now.
    pub(super) fn progress(&self, always: bool, done: u64, total: Option<u64>) {
        if !always && self.last_event.get().is_some_and(|last| last.elapsed() < EVENT_INTERVAL) {
            return;
        }
        self.last_event.set(Some(Instant::now()));
        let url = self.key.map_or_else(String::new, |key| format!("{}/{key}", self.address));
        let subject = self.transfer.subject.to_owned();
        self.transfer.observer.event(match self.verb {
            PUT | REPLACE => Event::Upload { subject, url, done, total },
            _ => Event::Download { subject, url, done, total },
        });
    }

    /// Reports the end of a transfer.
    pub(super) fn ended(&self) {
        let subject = self.transfer.subject.to_owned();
        self.transfer.observer.event(Event::TransferEnded { subject });
    }
}

/// Failure of an attempt, classified or not.
#[derive(Debug)]
pub(super) enum FailedAttempt {
    /// An error without a classification.
    Store(object_store::Error),
    /// A classified failure.
    Failed(CloudFailure),
}

/// Classifies an error without a note: all requests, if any, had successful answers.
fn unnoted(error: &object_store::Error) -> CloudFailure {
    match error {
        object_store::Error::NotFound { .. } => CloudFailure::NotFound,
        object_store::Error::AlreadyExists { .. } => CloudFailure::Taken,
        error => {
            CloudFailure::Lasting(CloudError::Protocol { reason: redact_text(&with_causes(error)) })
        }
    }
}
