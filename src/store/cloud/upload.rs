//! Objects to stores in clouds: complete or absent, and never over another one.
//!
//! | size | S3 | Azure, GCS |
//! | --- | --- | --- |
//! | up to 8 MiB | one conditional request (`If-None-Match: *`) | the same (GCS: `x-goog-if-generation-match: 0`) |
//! | larger | parts; the request that completes them is conditional | one conditional request, read from the file as it goes out |
//!
//! `object_store` completes uploads in parts without a condition. For S3 the connection adds the header,
//! which S3 takes unsigned (`wire`). Azure signs it and GCS does not know it there, so that they get the
//! object in one request; its size is limited to 5,000 MiB on Azure. Before a large object is sent, the
//! store is asked for it, which spares the transfer and protects objects in stores that do not know the
//! condition.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore, PutMode, PutOptions, PutPayload};

use super::connected::Connected;
use super::error::CloudError;
use super::exchange::Exchange;
use super::runtime;
use super::session::{Failure, Session, Tried};
use crate::base::event::Silent;
use crate::store::backend::{Content, Put};
use crate::store::error::StoreError;

/// Size of a part, and upper limit of what is sent at once from memory.
const PART: u64 = 8 << 20;
/// Number of parts of one object that are sent at once.
const AT_ONCE: usize = 2;
/// Upper limit of the number of parts: that of S3, less one.
const MOST_PARTS: u64 = 9_999;
/// Upper limit of the time to remove the parts of a failed upload.
const CLEANUP: Duration = Duration::from_secs(10);
/// Number of bytes after which the connection reports progress.
const PIECE: usize = 256 << 10;

/// Puts an object.
pub(super) fn put(
    session: &Session<'_>,
    store: &Connected,
    path: &Path,
    content: Content<'_>,
) -> Result<Put, StoreError> {
    let put = try_put(session, store, path, content);
    session.ended();
    match put {
        Ok(()) => Ok(Put::Written),
        Err(Failure::Taken) => Ok(Put::WasThere),
        Err(failure) => Err(session.failed(failure)),
    }
}

fn try_put(
    session: &Session<'_>,
    store: &Connected,
    path: &Path,
    content: Content<'_>,
) -> Result<(), Failure> {
    let length = content.length();
    if let Some(limit) = store.largest_put.filter(|limit| length > *limit) {
        return Err(Failure::Lasting(CloudError::TooLarge { size: length, limit }));
    }
    // A file that is too short is found before anything is sent.
    let mut file = match content {
        Content::File(path, _) => {
            Some(open(path, length).map_err(|error| Failure::Local(session.content(error)))?)
        }
        Content::Bytes(_) => None,
    };
    let asks_first = length > PART || store.asks_first;
    if asks_first && session.run(has(session, &*store.objects, path))? {
        return Err(Failure::Taken);
    }
    session.progress(true, 0, Some(length));
    send(session, store, path, content, file.as_mut())?;
    session.progress(true, length, Some(length));
    Ok(())
}

/// Sends the content in the way that its size and the store call for.
fn send(
    session: &Session<'_>,
    store: &Connected,
    path: &Path,
    content: Content<'_>,
    file: Option<&mut File>,
) -> Result<(), Failure> {
    let (length, objects) = (content.length(), &*store.objects);
    let unreadable = |error| Failure::Local(session.content(error));
    match (file, content, &store.parts) {
        (Some(file), _, Some(parts)) if length > PART => {
            in_parts(session, &**parts, path, file, length)
        }
        (Some(file), _, None) if length > PART => {
            session.run(streamed(session, objects, path, file, length))
        }
        (Some(file), ..) => {
            let payload = read_part(file, length).map_err(unreadable)?;
            session.run(at_once(session, objects, path, payload))
        }
        (None, Content::Bytes(bytes), _) => {
            session.run(at_once(session, objects, path, payload(bytes.to_vec())))
        }
        (None, Content::File(..), _) => Err(unreadable(io::ErrorKind::NotFound.into())),
    }
}

/// Asks if the store has an object.
async fn has(session: &Session<'_>, store: &dyn ObjectStore, path: &Path) -> Result<bool, Failure> {
    let head =
        async || store.get_opts(path, GetOptions { head: true, ..GetOptions::default() }).await;
    match session.ask(head).await {
        Ok(_) => Ok(true),
        Err(Failure::NotFound) => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn create() -> PutOptions {
    PutOptions { mode: PutMode::Create, ..PutOptions::default() }
}

/// Puts an object that is in memory.
async fn at_once(
    session: &Session<'_>,
    store: &dyn ObjectStore,
    path: &Path,
    payload: PutPayload,
) -> Result<(), Failure> {
    session.ask(async || store.put_opts(path, payload.clone(), create()).await).await.map(drop)
}

/// Puts an object in one request whose body is read from the file.
async fn streamed(
    session: &Session<'_>,
    store: &dyn ObjectStore,
    path: &Path,
    file: &File,
    length: u64,
) -> Result<(), Failure> {
    let stand_in = stand_in(length);
    session
        .attempt(
            || 0,
            async || {
                let again = file.try_clone().and_then(|mut again| again.rewind().map(|()| again));
                let again = match again {
                    Ok(again) => again,
                    Err(error) => {
                        let failure = Failure::Local(session.content(error));
                        return (Arc::default(), Err(Tried::Failed(failure)));
                    }
                };
                let exchange =
                    Arc::new(Exchange::sending(session.options.stall_timeout, again, length));
                let put = store.put_opts(path, stand_in.clone(), create());
                let result = Arc::clone(&exchange).scope(put).await;
                (exchange, result.map(drop).map_err(Tried::Store))
            },
        )
        .await
}

/// Makes a payload that has a length and no memory. The connection sends the file in its place; the
/// clouds for which that is done do not sign a body.
fn stand_in(length: u64) -> PutPayload {
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let zeros = Bytes::from_static(&ZEROS);
    let whole = usize::try_from(length / zeros.len() as u64).unwrap_or(usize::MAX);
    let rest = usize::try_from(length % zeros.len() as u64).unwrap_or_default();
    std::iter::repeat_n(zeros.clone(), whole).chain([zeros.slice(..rest)]).collect()
}

/// Puts an object in parts. What is left of an upload that fails or is interrupted is removed.
fn in_parts(
    session: &Session<'_>,
    store: &dyn MultipartStore,
    path: &Path,
    file: &mut File,
    length: u64,
) -> Result<(), Failure> {
    let id = session.run(session.ask(async || store.create_multipart(path).await))?;
    let sent = session.run(async {
        let parts = send_parts(session, store, path, &id, file, length).await?;
        session.ask(async || store.complete_multipart(path, &id, parts.clone()).await).await
    });
    if sent.is_err() {
        let exchange = Arc::new(Exchange::new(CLEANUP));
        let abort = exchange.scope(store.abort_multipart(path, &id));
        // A store that does not answer removes the parts itself, if its owner has told it to.
        drop(runtime::run(&Silent, async { tokio::time::timeout(CLEANUP, abort).await }));
    }
    sent.map(drop)
}

async fn send_parts(
    session: &Session<'_>,
    store: &dyn MultipartStore,
    path: &Path,
    id: &String,
    file: &mut File,
    length: u64,
) -> Result<Vec<PartId>, Failure> {
    let size = PART.max(length.div_ceil(MOST_PARTS));
    let mut sent: Vec<(usize, PartId)> = Vec::new();
    let (mut done, mut begun) = (0, 0);
    let mut under_way = pin!(FuturesUnordered::new());
    for number in 0.. {
        let left = length - begun;
        if under_way.len() == AT_ONCE || left == 0 {
            let Some(result) = under_way.next().await else { break };
            let (number, part, bytes): (usize, PartId, u64) = result?;
            done += bytes;
            session.progress(true, done, Some(length));
            sent.push((number, part));
        }
        if left == 0 {
            continue;
        }
        let bytes = left.min(size);
        let payload =
            read_part(file, bytes).map_err(|error| Failure::Local(session.content(error)))?;
        begun += bytes;
        let number = usize::try_from(begun.div_ceil(size)).unwrap_or(number) - 1;
        under_way.push(async move {
            let part = async || store.put_part(path, id, number, payload.clone()).await;
            session.ask(part).await.map(|part| (number, part, bytes))
        });
    }
    sent.sort_unstable_by_key(|(number, _)| *number);
    Ok(sent.into_iter().map(|(_, part)| part).collect())
}

fn open(path: &std::path::Path, length: u64) -> io::Result<File> {
    let file = fs_err::File::open(path)?.into_file();
    let has = file.metadata()?.len();
    if has < length {
        let text = format!("it ends after {has} of {length} bytes");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(file)
}

/// Reads the next bytes of a file.
fn read_part(file: &mut File, length: u64) -> io::Result<PutPayload> {
    let mut part = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut part)?;
    if part.len() as u64 != length {
        let text = format!("it ends {} bytes too early", length - part.len() as u64);
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(payload(part))
}

/// Splits bytes into pieces, since the connection counts them as it sends them.
fn payload(bytes: Vec<u8>) -> PutPayload {
    let bytes = Bytes::from(bytes);
    let starts = (0..bytes.len()).step_by(PIECE);
    starts.map(|start| bytes.slice(start..bytes.len().min(start + PIECE))).collect()
}
