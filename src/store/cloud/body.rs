//! Bodies of requests and answers: counts sent bytes, and ends a long silence.

use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpErrorKind, HttpRequestBody};
use tokio::time::{Instant, Sleep, sleep};

use super::exchange::{CloudExchange, NotedFault, RequestFault};

/// Number of bytes read from a file at once.
const PIECE: usize = 256 << 10;
/// Upper limit of an answer in memory. A page of a list has about 500 KB.
const LARGEST_ANSWER: usize = 16 << 20;

/// Number of sent bytes, and the read error of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    bytes: AtomicU64,
    error: Mutex<Option<io::Error>>,
}

impl Sent {
    /// Number of bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Takes the error with which the file could not be read on.
    pub(super) fn take_error(&self) -> Option<io::Error> {
        self.0.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn fail(&self, error: io::Error) -> io::Error {
        // reqwest wraps what a body gives it: the error itself is kept, and taken back in `wire`.
        let shown = io::Error::new(error.kind(), "the file cannot be read");
        *self.0.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        shown
    }
}

/// Body of a request.
#[derive(Debug)]
pub(super) struct Outgoing {
    from: BodyOrigin,
    left: u64,
    sent: Sent,
}

#[derive(Debug)]
enum BodyOrigin {
    Memory(HttpRequestBody),
    File(File),
}

impl Outgoing {
    /// Creates a body of bytes in memory.
    pub(super) fn memory(body: HttpRequestBody, length: u64, sent: Sent) -> Self {
        Self { from: BodyOrigin::Memory(body), left: length, sent }
    }

    /// Creates a body of a file's next bytes.
    pub(super) fn file(file: File, length: u64, sent: Sent) -> Self {
        Self { from: BodyOrigin::File(file), left: length, sent }
    }

    /// Reads a piece of a file.
    fn piece(file: &mut File, left: u64) -> io::Result<Bytes> {
        let most = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; most];
        let count = loop {
            match file.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if count == 0 {
            let text = format!("it ends {left} bytes too early");
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        piece.truncate(count);
        Ok(piece.into())
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (left, sent) = (self.left, self.sent.clone());
        let piece = match &mut self.from {
            BodyOrigin::File(file) => Self::piece(file, left).map_err(|error| sent.fail(error)),
            BodyOrigin::Memory(body) => match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(frame)) => frame
                    .map(|frame| frame.into_data().unwrap_or_default())
                    .map_err(|error| io::Error::other(error.to_string())),
            },
        };
        Poll::Ready(Some(piece.map(|piece| {
            self.left = self.left.saturating_sub(piece.len() as u64);
            self.sent.add(piece.len());
            Frame::data(piece)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Body of an answer, which fails after too long a silence.
#[derive(Debug)]
pub(super) struct Incoming {
    body: reqwest::Body,
    exchange: Arc<CloudExchange>,
    silence: Pin<Box<Sleep>>,
}

impl Incoming {
    /// Takes the body of an answer.
    pub(super) fn new(response: reqwest::Response, exchange: Arc<CloudExchange>) -> Self {
        let silence = Box::pin(sleep(exchange.stall_timeout));
        Self { body: response.into(), exchange, silence }
    }

    fn broken(&self, reason: String) -> HttpError {
        let fault = RequestFault::Broken(reason.clone());
        let noted = NotedFault { fault, server: String::new(), is_of_credentials: false };
        self.exchange.note(noted);
        HttpError::new(HttpErrorKind::Unknown, io::Error::other(reason))
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let until = Instant::now() + self.exchange.stall_timeout;
                // The client's own timeout would be one for the whole answer, however long that is.
                self.silence.as_mut().reset(until);
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => {
                Poll::Ready(Some(Err(self.broken("the connection broke".to_owned()))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.silence.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    let seconds = self.exchange.stall_timeout.as_secs_f32();
                    Poll::Ready(Some(Err(self.broken(format!("nothing came for {seconds} s")))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Holds an answer in memory, unless it is too large.
pub(super) async fn collect(mut body: Incoming) -> Result<Bytes, String> {
    let mut held = Vec::new();
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_noted| {
            let noted = body.exchange.take_fault();
            match noted.map(|noted| noted.fault) {
                Some(RequestFault::Broken(reason)) => reason,
                _ => "the connection broke".to_owned(),
            }
        })?;
        if let Ok(bytes) = frame.into_data() {
            if held.len() + bytes.len() > LARGEST_ANSWER {
                return Err(format!("the answer has more than {LARGEST_ANSWER} bytes"));
            }
            held.extend_from_slice(&bytes);
        }
    }
    Ok(held.into())
}
