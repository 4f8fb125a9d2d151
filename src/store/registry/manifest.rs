//! Manifests and indexes as bytes: asked for, fetched with their digest checked, and put.

use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;

use super::digest::BlobDigest;
use super::error::RegistryExchangeError;
use super::media_type;
use super::reply::{ReadAll, read_all, shown};
use super::transport::RegistryFailure;
use super::wire::{Ask, RegistryAccess, RegistryWire};
use crate::base::digest::Sha256Sum;
use crate::store::backend::ObjectContent;

/// The header in which registries name the digest of their answer.
const DIGEST_HEADER: &str = "docker-content-digest";
const MANIFEST: &str = "the manifest";

/// A manifest or index as the registry gave it.
#[derive(Debug, Clone)]
pub(crate) struct ManifestDocument {
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
    wire: &RegistryWire<'_>,
    request: &DocumentRequest<'_>,
) -> Result<Option<BlobDigest>, RegistryExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{}", request.name));
    let headers = accept(request.accept);
    let ask = Ask { headers, ..Ask::new(Method::HEAD, &url, RegistryAccess::Pull) };
    match wire.ask(request.subject, &ask) {
        Ok((head, _answer)) => Ok(digest_header(&head.headers)),
        Err(error) if error.is_refusal() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Fetches a document of at most `limit` bytes into memory, and checks its digest: `expected`, or
/// else the one of the registry's header.
pub(crate) fn get(
    wire: &RegistryWire<'_>,
    request: &DocumentRequest<'_>,
    expected: Option<&BlobDigest>,
    limit: u64,
) -> Result<ManifestDocument, RegistryExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{}", request.name));
    let headers = accept(request.accept);
    let ask = Ask { headers, ..Ask::new(Method::GET, &url, RegistryAccess::Pull) };
    let (headers, bytes) = wire.retrying(request.subject, &url, || {
        let (head, answer) = wire.once(&ask)?;
        let bytes = read_all(&answer, limit).map_err(|problem| match problem {
            ReadAll::Broken(broken) => wire.transport.broken(broken),
            ReadAll::TooLong(bytes) => {
                let what = MANIFEST.to_owned();
                RegistryFailure::Lasting(RegistryExchangeError::LongDocument { what, bytes, limit })
            }
        })?;
        Ok((head.headers, bytes))
    })?;
    let found = BlobDigest::from(Sha256Sum::of(&bytes));
    let named = digest_header(&headers);
    // Of a tag only the header says what was sent: it tells of damage, and the digest is kept from
    // then on.
    if let Some(expected) = expected.or(named.as_ref())
        && *expected != found
    {
        let (what, expected) = (MANIFEST.to_owned(), expected.clone());
        return Err(RegistryExchangeError::Digest { what, expected, found });
    }
    let media_type =
        media_type(&headers, &bytes).ok_or_else(|| RegistryExchangeError::Protocol {
            url: shown(&url),
            reason: "the registry answers with something else than a manifest".to_owned(),
        })?;
    Ok(ManifestDocument { bytes, digest: found, media_type })
}

/// Puts a document under a tag or its digest.
pub(crate) fn put(
    wire: &RegistryWire<'_>,
    name: &str,
    media_type: &str,
    bytes: &[u8],
    subject: &str,
) -> Result<(), RegistryExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{name}"));
    let mut ask = Ask::new(Method::PUT, &url, RegistryAccess::Push);
    ask.body = Some(ObjectContent::Bytes(bytes));
    if let Ok(media_type) = HeaderValue::from_str(media_type) {
        ask.headers.insert(CONTENT_TYPE, media_type);
    }
    wire.ask(subject, &ask).map(drop)
}

/// Removes a document by its digest, and thereby its tags.
pub(crate) fn delete(
    wire: &RegistryWire<'_>,
    digest: &BlobDigest,
    subject: &str,
) -> Result<(), RegistryExchangeError> {
    let url = wire.endpoint.url(&format!("manifests/{digest}"));
    wire.ask(subject, &Ask::new(Method::DELETE, &url, RegistryAccess::Delete)).map(drop)
}

fn accept(types: &[&str]) -> HeaderMap {
    let types = HeaderValue::from_str(&types.join(", "));
    types.into_iter().map(|types| (ACCEPT, types)).collect()
}

fn digest_header(headers: &HeaderMap) -> Option<BlobDigest> {
    headers.get(DIGEST_HEADER)?.to_str().ok()?.trim().parse().ok()
}

/// Returns a document's media type: its own field, else the registry's header if that names a document, else by
/// its shape: plain web servers know neither. `None` if the bytes are not JSON.
pub(crate) fn media_type(headers: &HeaderMap, bytes: &[u8]) -> Option<String> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let own = document.get("mediaType").and_then(Value::as_str).filter(|own| !own.is_empty());
    if let Some(own) = own {
        return Some(own.to_owned());
    }
    let header = headers.get(CONTENT_TYPE).and_then(|header| header.to_str().ok());
    let header = header.map(|header| header.split(';').next().unwrap_or_default().trim());
    let header = header.filter(|header| !header.is_empty());
    let documents = header.filter(|header| header.starts_with("application/vnd."));
    documents.or_else(|| shape_of(&document)).or(header).map(str::to_owned)
}

/// The media type of a document without one, which only OCI's may be. A document that could be read as either is
/// neither.
fn shape_of(document: &Value) -> Option<&'static str> {
    let has = |key: &str, is: fn(&Value) -> bool| document.get(key).is_some_and(is);
    let is_manifest = has("config", Value::is_object) && has("layers", Value::is_array);
    match (is_manifest, has("manifests", Value::is_array)) {
        (true, false) => Some(media_type::MANIFEST),
        (false, true) => Some(media_type::INDEX),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_a_type_has_that_of_its_shape() {
        const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
        let manifest = r#"{"config": {}, "layers": []}"#;
        for (header, document, expected) in [
            ("", manifest, Some(MANIFEST)),
            ("text/plain; charset=utf-8", manifest, Some(MANIFEST)),
            ("application/json", r#"{"manifests": [], "mediaType": ""}"#, Some(INDEX)),
            (DOCKER, manifest, Some(DOCKER)),
            ("application/json", r#"{"mediaType": "a/b", "manifests": []}"#, Some("a/b")),
            // Read as either, it is neither.
            ("text/plain", r#"{"config": {}, "layers": [], "manifests": []}"#, Some("text/plain")),
            ("", r#"{"config": {}, "layers": [], "manifests": []}"#, None),
            ("", r#"{"config": null, "layers": []}"#, None),
            ("", "{}", None),
            (MANIFEST, "<html>", None),
        ] {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(header));
            }
            let found = media_type(&headers, document.as_bytes());
            assert_eq!(found.as_deref(), expected, "{header} {document}");
        }
    }
}
