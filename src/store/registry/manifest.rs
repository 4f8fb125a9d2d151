//! Manifests and indexes as bytes: asked for, fetched with their digest checked, and put.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};

use super::digest::BlobDigest;
use super::error::ExchangeError;
use super::reply::{ReadAll, read_all, shown};
use super::transport::Failure;
use super::wire::{Access, Ask, Wire};
use crate::base::digest::Sha256Sum;
use crate::store::backend::Content;

/// The header in which registries name the digest of their answer.
const DIGEST_HEADER: &str = "docker-content-digest";
const MANIFEST: &str = "the manifest";

/// A manifest or index as the registry gave it.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    /// Digest of the bytes; equal to the requested one, if given.
    pub(crate) digest: BlobDigest,
    pub(crate) media_type: String,
}

/// Request for the document of a tag or digest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DocumentRequest<'r> {
    /// The tag or digest.
    pub(crate) name: &'r str,
    /// The accepted media types, the preferred ones first.
    pub(crate) accept: &'r [&'r str],
    /// Name of the transfer in events.
    pub(crate) subject: &'r str,
}

/// Requests the digest of a document; `None` if the registry does not report it, or refuses HEAD:
/// then only GET can tell.
pub(crate) fn head(
    wire: &Wire<'_>,
    request: &DocumentRequest<'_>,
) -> Result<Option<BlobDigest>, ExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{}", request.name));
    let headers = accept(request.accept);
    let ask = Ask { headers, ..Ask::new(Method::HEAD, &url, Access::Pull) };
    match wire.ask(request.subject, &ask) {
        Ok((head, _answer)) => Ok(digest_header(&head.headers)),
        Err(error) if error.is_refusal() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fetches a document of at most `limit` bytes into memory, and checks its digest: `expected`, or
/// else the one of the registry's header.
pub(crate) fn get(
    wire: &Wire<'_>,
    request: &DocumentRequest<'_>,
    expected: Option<&BlobDigest>,
    limit: u64,
) -> Result<Document, ExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{}", request.name));
    let headers = accept(request.accept);
    let ask = Ask { headers, ..Ask::new(Method::GET, &url, Access::Pull) };
    let (headers, bytes) = wire.retrying(request.subject, &url, || {
        let (head, answer) = wire.once(&ask)?;
        let bytes = read_all(&answer, limit).map_err(|problem| match problem {
            ReadAll::Broken(broken) => wire.transport.broken(broken),
            ReadAll::TooLong(bytes) => {
                let what = MANIFEST.to_owned();
                Failure::Lasting(ExchangeError::LongDocument { what, bytes, limit })
            }
        })?;
        Ok((head.headers, bytes))
    })?;
    let found = BlobDigest::from(Sha256Sum::of(&bytes));
    let named = digest_header(&headers);
    if let Some(expected) = expected.or(named.as_ref())
        && *expected != found
    {
        let (what, expected) = (MANIFEST.to_owned(), expected.clone());
        return Err(ExchangeError::Digest { what, expected, found });
    }
    let media_type = media_type(&headers, &bytes).ok_or_else(|| ExchangeError::Protocol {
        url: shown(&url),
        reason: "the registry answers with something else than a manifest".to_owned(),
    })?;
    Ok(Document { bytes, digest: found, media_type })
}

/// Puts a document under a tag or its digest.
pub(crate) fn put(
    wire: &Wire<'_>,
    name: &str,
    media_type: &str,
    bytes: &[u8],
    subject: &str,
) -> Result<(), ExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{name}"));
    let mut ask = Ask::new(Method::PUT, &url, Access::Push);
    ask.body = Some(Content::Bytes(bytes));
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        ask.headers.insert(CONTENT_TYPE, media_type);
    }
    wire.ask(subject, &ask).map(drop)
}

/// Removes a document by its digest, and thereby its tags.
pub(crate) fn delete(
    wire: &Wire<'_>,
    digest: &BlobDigest,
    subject: &str,
) -> Result<(), ExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{digest}"));
    wire.ask(subject, &Ask::new(Method::DELETE, &url, Access::Delete)).map(drop)
}

fn accept(types: &[&str]) -> HeaderMap {
    let types = HeaderValue::from_str(&types.join(", "));
    types.into_iter().map(|types| (ACCEPT, types)).collect()
}

fn digest_header(headers: &HeaderMap) -> Option<BlobDigest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.trim().parse().ok()
}

/// Returns a document's media type: its own field, else the registry's header. `None` if the bytes
/// are not JSON.
pub(crate) fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Option<String> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let own = document.get("mediaType").and_then(serde_json::Value::as_str);
    let header = || {
        let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        Some(text.split(';').next().unwrap_or_default().trim())
    };
    own.or_else(header).map(str::to_owned)
}
