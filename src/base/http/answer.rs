//! Response of a server, awaited in slices: the thread that waits for the server cannot be stopped,
//! so an interrupted caller abandons the thread, which ends with its connection or the process.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use reqwest::blocking::RequestBuilder;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

use crate::base::event::Observer;

/// Maximum reaction time to an interruption.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

/// Waits before another attempt; `false` if the run is over before that.
pub(crate) fn wait_unless_interrupted(wait: Duration, observer: &dyn Observer) -> bool {
    let until = Instant::now() + wait;
    while !observer.is_interrupted() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::sleep(left.min(SLICE));
    }
    false
}
/// Upper limit of buffered pieces.
const AHEAD: usize = 2;
const PIECE_BYTES: usize = 128 * 1024;

/// Reason of a response's early end.
pub(crate) enum Broken {
    /// The request came to nothing.
    NotSent(reqwest::Error),
    /// The body broke off.
    Body(io::Error),
    /// The run is over.
    Interrupted,
}

enum Piece {
    Head(Box<AnswerHead>),
    Body(Vec<u8>),
}

/// Beginning of a response.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// URL of the final response, after redirects.
    #[cfg_attr(not(feature = "builder"), expect(dead_code, reason = "registries need it"))]
    pub(crate) url: Url,
}

/// An answer under way.
pub(crate) struct HttpAnswer<'a> {
    pieces: Receiver<Result<Piece, Broken>>,
    observer: &'a dyn Observer,
}

impl<'a> HttpAnswer<'a> {
    /// Sends a request, and gives the answer as soon as it has begun.
    pub(crate) fn to(
        request: RequestBuilder,
        observer: &'a dyn Observer,
    ) -> Result<(AnswerHead, Self), Broken> {
        // Bounded: a server that is faster than the disk would otherwise fill memory.
        let (sender, pieces) = sync_channel(AHEAD);
        std::thread::Builder::new()
            .name("download".to_owned())
            .spawn(move || converse(request, &sender))
            .map_err(Broken::Body)?;
        let answer = Self { pieces, observer };
        match answer.next()? {
            Some(Piece::Head(head)) => Ok((*head, answer)),
            Some(Piece::Body(_)) | None => {
                Err(Broken::Body(io::Error::other("an answer without a head")))
            }
        }
    }

    /// The next bytes of the body; none at its end.
    pub(crate) fn bytes(&self) -> Result<Option<Vec<u8>>, Broken> {
        Ok(self.next()?.map(|piece| match piece {
            Piece::Body(bytes) => bytes,
            Piece::Head(..) => Vec::new(),
        }))
    }

    fn next(&self) -> Result<Option<Piece>, Broken> {
        loop {
            if self.observer.is_interrupted() {
                return Err(Broken::Interrupted);
            }
            match self.pieces.recv_timeout(SLICE) {
                Ok(piece) => return piece.map(Some),
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// The thread's part. Who hears no more has given up, and so does the thread.
fn converse(request: RequestBuilder, to: &SyncSender<Result<Piece, Broken>>) {
    let mut response = match request.send() {
        Ok(response) => response,
        Err(error) => return drop(to.send(Err(Broken::NotSent(error)))),
    };
    let head = AnswerHead {
        status: response.status(),
        headers: response.headers().clone(),
        url: response.url().clone(),
    };
    if to.send(Ok(Piece::Head(Box::new(head)))).is_err() {
        return;
    }
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        let piece = match response.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => Ok(Piece::Body(buffer[..count].to_vec())),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(Broken::Body(error)),
        };
        let last = piece.is_err();
        if to.send(piece).is_err() || last {
            return;
        }
    }
}
