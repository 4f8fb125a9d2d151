//! State of one attempt, shared with the connection: `object_store` passes neither headers nor the content
//! of a file through, and quotes URLs in errors.

use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};

use super::answer::StoreAnswer;

tokio::task_local! {
    /// The attempt of the current task.
    static CURRENT: Arc<CloudExchange>;
}

/// Fault of the last request of an attempt.
#[derive(Debug)]
pub(super) enum RequestFault {
    /// The request has no answer.
    NotSent(reqwest::Error),
    /// The answer or the body did not come.
    Broken(String),
    /// The request may not be sent.
    Forbidden(String),
    /// The answer is not a success.
    Answer(StoreAnswer),
    /// The object is that of a copy that has not ended; the text is its progress.
    Copying(String),
    /// The object is what a failed copy has left.
    NotCopied(String),
    /// The answer is not an object store's.
    Foreign(&'static str),
    /// The content to send cannot be read.
    Content(io::Error),
}

/// A fault, and the server.
#[derive(Debug)]
pub(super) struct NotedFault {
    pub(super) fault: RequestFault,
    /// Scheme, host and port.
    pub(super) server: String,
    /// True if the server gives credentials and is not the store.
    pub(super) is_of_credentials: bool,
}

/// Parts of the requests of an upload in parts that `object_store` does not make. None of them is signed.
#[derive(Debug, Clone, Default)]
pub(super) struct UploadParts {
    /// True if the object takes the place of another one.
    pub(super) replaces: bool,
    /// Headers of the request that begins the upload.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

/// State of an attempt.
#[derive(Debug, Default)]
pub(super) struct CloudExchange {
    /// True if the body of a success is streamed instead of held in memory.
    pub(super) is_streamed: bool,
    /// Longest silence of the server.
    pub(super) stall_timeout: Duration,
    pub(super) upload: UploadParts,
    state: Mutex<AttemptState>,
}

#[derive(Debug, Default)]
struct AttemptState {
    content: Option<(File, u64)>,
    noted: Option<NotedFault>,
}

impl CloudExchange {
    /// Creates the state of an attempt whose answers are small.
    pub(super) fn new(stall_timeout: Duration) -> Self {
        Self { stall_timeout, ..Self::default() }
    }

    /// Adds parts of the requests of an upload in parts.
    pub(super) fn uploading(self, upload: UploadParts) -> Self {
        Self { upload, ..self }
    }

    /// Creates the state of an attempt whose answer is an object.
    pub(super) fn streamed(stall_timeout: Duration) -> Self {
        Self { is_streamed: true, ..Self::new(stall_timeout) }
    }

    /// Creates the state of an attempt that sends a file's next bytes instead of the request's body.
    pub(super) fn sending(stall_timeout: Duration, file: File, length: u64) -> Self {
        let state = Mutex::new(AttemptState { content: Some((file, length)), noted: None });
        Self { state, ..Self::new(stall_timeout) }
    }

    /// Returns the attempt of this task.
    pub(super) fn current() -> Arc<Self> {
        CURRENT.try_with(Arc::clone).unwrap_or_default()
    }

    /// Runs a future as part of this attempt.
    pub(super) async fn scope<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Notes the fault of a request.
    pub(super) fn note(&self, noted: NotedFault) {
        self.state().noted = Some(noted);
    }

    /// Forgets the fault of an earlier request.
    pub(super) fn succeeded(&self) {
        self.state().noted = None;
    }

    /// Takes the fault of the last request, if any.
    pub(super) fn take_fault(&self) -> Option<NotedFault> {
        self.state().noted.take()
    }

    /// Takes the file for a request's body of a length.
    pub(super) fn take_content(&self, length: u64) -> Option<File> {
        let mut state = self.state();
        // By the length: a request for a token, on the way, has a body of its own.
        state.content.take_if(|(_, announced)| *announced == length).map(|(file, _)| file)
    }

    fn state(&self) -> MutexGuard<'_, AttemptState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
