//! Uploads: an object is complete or absent, and not overwritten unless that is the purpose. An object
//! that takes the place of another one is sent in the same way, without the conditions.
//!
//! | size | S3 | Azure, GCS |
//! | --- | --- | --- |
//! | up to 8 MiB | one conditional request (`If-None-Match: *`) | the same (GCS: `x-goog-if-generation-match: 0`) |
//! | larger | parts, with a conditional request for completion | one conditional request, streamed from the file |
//!
//! `object_store` completes uploads in parts without a condition. For S3 the connection adds the header,
//! which S3 accepts unsigned (`wire`). Azure signs the header and GCS does not support it there, so
//! both get the object in one request; its size is limited to 5,000 MiB on Azure. Before a large
//! object is sent, a request checks for its existence, which avoids the transfer and protects
//! objects in stores without support for the condition.

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
use object_store::{
    Attribute, Attributes, GetOptions, ObjectStore, PutMode, PutOptions, PutPayload,
};
use reqwest::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::connected::ConnectedStore;
use super::error::CloudError;
use super::exchange::{CloudExchange, UploadParts};
use super::operation::{CloudFailure, CloudOperation, FailedAttempt};
use super::runtime;
use crate::base::event::Silent;
use crate::store::backend::{About, NO_CACHE, ObjectContent, Put};
use crate::store::error::StoreError;

/// Size of a part, and upper limit of content sent from memory.
const PART: u64 = 8 << 20;
/// Number of parts of one object under way at once.
const AT_ONCE: usize = 2;
/// Upper limit of the number of parts; S3 allows 10,000.
const MOST_PARTS: u64 = 9_999;
/// Upper limit of the time to remove the parts of a failed upload.
const CLEANUP: Duration = Duration::from_secs(10);
/// Number of bytes in which the connection counts progress.
const PIECE: usize = 256 << 10;

/// Object to be put, and its place.
pub(super) struct ObjectUpload<'u> {
    pub(super) path: Path,
    pub(super) content: ObjectContent<'u>,
    pub(super) about: About<'u>,
    /// True if the object takes the place of another one.
    pub(super) replaces: bool,
}

impl ObjectUpload<'_> {
    /// Parts of the requests of an upload in parts.
    pub(super) fn parts(&self) -> UploadParts {
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let kind = self.about.content_type.and_then(value).map(|value| (CONTENT_TYPE, value));
        let cached = HeaderValue::from_static(NO_CACHE);
        let cached = self.about.is_uncached.then_some((CACHE_CONTROL, cached));
        UploadParts { replaces: self.replaces, headers: kind.into_iter().chain(cached).collect() }
    }

    /// Options of an upload in one request.
    fn options(&self) -> PutOptions {
        let mut attributes = Attributes::new();
        if let Some(kind) = self.about.content_type {
            attributes.insert(Attribute::ContentType, kind.to_owned().into());
        }
        if self.about.is_uncached {
            attributes.insert(Attribute::CacheControl, NO_CACHE.into());
        }
        let mode = if self.replaces { PutMode::Overwrite } else { PutMode::Create };
        PutOptions { mode, attributes, ..PutOptions::default() }
    }
}

/// Puts an object.
pub(super) fn put(
    operation: &CloudOperation<'_>,
    store: &ConnectedStore,
    upload: &ObjectUpload<'_>,
) -> Result<Put, StoreError> {
    let put = try_put(operation, store, upload);
    operation.ended();
    match put {
        Ok(()) => Ok(Put::Written),
        Err(CloudFailure::Taken) => Ok(Put::WasThere),
        Err(failure) => Err(operation.failed(failure)),
    }
}

fn try_put(
    operation: &CloudOperation<'_>,
    store: &ConnectedStore,
    upload: &ObjectUpload<'_>,
) -> Result<(), CloudFailure> {
    let ObjectUpload { path, content, .. } = upload;
    let length = content.length();
    if let Some(limit) = store.largest_put.filter(|limit| length > *limit) {
        return Err(CloudFailure::Lasting(CloudError::TooLarge { size: length, limit }));
    }
    // A file that is too short is found before anything is sent.
    let mut file = match *content {
        ObjectContent::File(path, _) => Some(
            open(path, length).map_err(|error| CloudFailure::Local(operation.content(error)))?,
        ),
        ObjectContent::Bytes(_) => None,
    };
    let asks_first = !upload.replaces && (length > PART || store.asks_first);
    if asks_first && operation.run(has(operation, &*store.objects, path))? {
        return Err(CloudFailure::Taken);
    }
    operation.progress(true, 0, Some(length));
    send(operation, store, upload, file.as_mut())?;
    operation.progress(true, length, Some(length));
    Ok(())
}

/// Sends the content, in a way chosen by size and store.
fn send(
    operation: &CloudOperation<'_>,
    store: &ConnectedStore,
    upload: &ObjectUpload<'_>,
    file: Option<&mut File>,
) -> Result<(), CloudFailure> {
    let ObjectUpload { path, content, .. } = upload;
    let (length, objects) = (content.length(), &*store.objects);
    let unreadable = |error| CloudFailure::Local(operation.content(error));
    match (file, content, &store.parts) {
        (Some(file), _, Some(parts)) if length > PART => {
            in_parts(operation, &**parts, path, file, length)
        }
        (Some(file), _, None) if length > PART => {
            operation.run(streamed(operation, objects, upload, file, length))
        }
        (Some(file), ..) => {
            let payload = read_part(file, length).map_err(unreadable)?;
            operation.run(at_once(operation, objects, upload, payload))
        }
        (None, ObjectContent::Bytes(bytes), _) => {
            operation.run(at_once(operation, objects, upload, payload(bytes.to_vec())))
        }
        (None, ObjectContent::File(..), _) => Err(unreadable(io::ErrorKind::NotFound.into())),
    }
}

/// Asks if the store has an object.
async fn has(
    operation: &CloudOperation<'_>,
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<bool, CloudFailure> {
    let head =
        async || store.get_opts(path, GetOptions { head: true, ..GetOptions::default() }).await;
    match operation.ask(head).await {
        Ok(_) => Ok(true),
        Err(CloudFailure::NotFound) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Puts an object from memory.
async fn at_once(
    operation: &CloudOperation<'_>,
    store: &dyn ObjectStore,
    upload: &ObjectUpload<'_>,
    payload: PutPayload,
) -> Result<(), CloudFailure> {
    let put = async || store.put_opts(&upload.path, payload.clone(), upload.options()).await;
    operation.ask(put).await.map(drop)
}

/// Puts an object in one request, streamed from the file.
async fn streamed(
    operation: &CloudOperation<'_>,
    store: &dyn ObjectStore,
    upload: &ObjectUpload<'_>,
    file: &File,
    length: u64,
) -> Result<(), CloudFailure> {
    let stand_in = stand_in(length);
    operation
        .attempt(
            || 0,
            async || {
                let again = file.try_clone().and_then(|mut again| again.rewind().map(|()| again));
                let again = match again {
                    Ok(again) => again,
                    Err(error) => {
                        let failure = CloudFailure::Local(operation.content(error));
                        return (Arc::default(), Err(FailedAttempt::Failed(failure)));
                    }
                };
                let exchange = Arc::new(CloudExchange::sending(
                    operation.options.stall_timeout,
                    again,
                    length,
                ));
                let put = store.put_opts(&upload.path, stand_in.clone(), upload.options());
                let result = Arc::clone(&exchange).scope(put).await;
                (exchange, result.map(drop).map_err(FailedAttempt::Store))
            },
        )
        .await
}

/// Makes a payload with a length and no memory, in place of which the connection sends the file. Azure and
/// GCS sign no bodies.
fn stand_in(length: u64) -> PutPayload {
    // Shared by all pieces: the crate wants a payload, of which it asks nothing but the length.
    static ZEROS: [u8; 1 << 20] = [0; 1 << 20];
    let zeros = Bytes::from_static(&ZEROS);
    let whole = usize::try_from(length / zeros.len() as u64).unwrap_or(usize::MAX);
    let rest = usize::try_from(length % zeros.len() as u64).unwrap_or_default();
    std::iter::repeat_n(zeros.clone(), whole).chain([zeros.slice(..rest)]).collect()
}

/// Puts an object in parts, and removes the parts of a failed or interrupted upload.
fn in_parts(
    operation: &CloudOperation<'_>,
    store: &dyn MultipartStore,
    path: &Path,
    file: &mut File,
    length: u64,
) -> Result<(), CloudFailure> {
    let id = operation.run(operation.ask(async || store.create_multipart(path).await))?;
    let sent = operation.run(async {
        let parts = send_parts(operation, store, path, &id, file, length).await?;
        operation.ask(async || store.complete_multipart(path, &id, parts.clone()).await).await
    });
    if sent.is_err() {
        let exchange = Arc::new(CloudExchange::new(CLEANUP));
        let abort = exchange.scope(store.abort_multipart(path, &id));
        // A store that does not answer removes the parts itself, if its owner has told it to.
        drop(runtime::run(&Silent, async { tokio::time::timeout(CLEANUP, abort).await }));
    }
    sent.map(drop)
}

async fn send_parts(
    operation: &CloudOperation<'_>,
    store: &dyn MultipartStore,
    path: &Path,
    id: &String,
    file: &mut File,
    length: u64,
) -> Result<Vec<PartId>, CloudFailure> {
    // Larger parts where 8 MiB would be too many.
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
            operation.progress(true, done, Some(length));
            sent.push((number, part));
        }
        if left == 0 {
            continue;
        }
        let bytes = left.min(size);
        let payload = read_part(file, bytes)
            .map_err(|error| CloudFailure::Local(operation.content(error)))?;
        begun += bytes;
        let number = usize::try_from(begun.div_ceil(size)).unwrap_or(number) - 1;
        under_way.push(async move {
            let part = async || store.put_part(path, id, number, payload.clone()).await;
            operation.ask(part).await.map(|part| (number, part, bytes))
        });
    }
    // Parts end in any order, and S3 takes the list in that of their numbers alone.
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

/// Splits bytes into pieces, the steps in which the connection counts progress.
fn payload(bytes: Vec<u8>) -> PutPayload {
    let bytes = Bytes::from(bytes);
    let starts = (0..bytes.len()).step_by(PIECE);
    starts.map(|start| bytes.slice(start..bytes.len().min(start + PIECE))).collect()
}
