//! Blobs to a registry: asked for, mounted from another repository, sent from a file.

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::digest::BlobDigest;
use super::error::RegistryExchangeError;
use super::reply::shown;
use super::transport::{RegistryFailure, passing};
use super::wire::{Ask, RegistryAccess, RegistryWire};
use crate::base::event::Event;
use crate::store::backend::ObjectContent;

const OCTETS: &str = "application/octet-stream";

/// A blob to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlobUpload<'u> {
    pub(crate) digest: &'u BlobDigest,
    pub(crate) content: ObjectContent<'u>,
    /// Name of the transfer in messages.
    pub(crate) subject: &'u str,
    /// True if events report the progress.
    pub(crate) reports: bool,
}

/// Asks if the repository has a blob.
pub(crate) fn has(
    wire: &RegistryWire<'_>,
    digest: &BlobDigest,
    subject: &str,
) -> Result<bool, RegistryExchangeError> {
    let url = wire.endpoint.url(&format!("blobs/{digest}"));
    match wire.ask(subject, &Ask::new(Method::HEAD, &url, RegistryAccess::Push)) {
        Ok(_) => Ok(true),
        // A user without read access may still be allowed to send.
        Err(error) if error.is_refusal() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Has the registry take a blob from another of its repositories; `false` if that is not possible.
pub(crate) fn mount(
    wire: &RegistryWire<'_>,
    digest: &BlobDigest,
    from: &str,
    subject: &str,
) -> Result<bool, RegistryExchangeError> {
    let url = wire.endpoint.url(&format!("blobs/uploads/?mount={digest}&from={from}"));
    let ask = Ask { also: Some(from), ..Ask::new(Method::POST, &url, RegistryAccess::Push) };
    match wire.ask(subject, &ask) {
        Ok((head, _)) => Ok(head.status == StatusCode::CREATED),
        Err(error) if !error.is_the_registrys() || error.is_unreachable() => Err(error),
        // A repository that this user may not read, or that does not exist.
        Err(_) => Ok(false),
    }
}

/// Sends a blob in a single request.
pub(crate) fn send(
    wire: &RegistryWire<'_>,
    upload: &BlobUpload<'_>,
) -> Result<(), RegistryExchangeError> {
    let there = wire.endpoint.url(&format!("blobs/{}", upload.digest));
    let start = wire.endpoint.url("blobs/uploads/");
    let size = upload.content.length();
    let event = |done| {
        if upload.reports {
            let (subject, url) = (upload.subject.to_owned(), shown(&there));
            wire.observer().event(Event::Upload { subject, url, done, total: Some(size) });
        }
    };
    event(0);
    let sent = wire.retrying(upload.subject, &there, || {
        let (head, _answer) = wire.once(&Ask::new(Method::POST, &start, RegistryAccess::Push))?;
        let place = place(&start, &head.headers, upload.digest)?;
        let mut put = Ask::new(Method::PUT, &place, RegistryAccess::Push);
        put.body = Some(upload.content);
        put.headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
        put.headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        match wire.once(&put) {
            // Registries answer with any success; a registry without the blob refuses the manifest.
            Ok(_) => Ok(()),
            // Another server behind the same name may not know of the upload (BLOB_UPLOAD_UNKNOWN).
            Err(RegistryFailure::Lasting(error @ RegistryExchangeError::NotFound { .. })) => {
                Err(passing(format!("the registry has forgotten the upload ({error})")))
            }
            Err(failure) => Err(failure),
        }
    });
    event(size);
    if upload.reports {
        wire.observer().event(Event::TransferEnded { subject: upload.subject.to_owned() });
    }
    sent
}

/// Returns the URL of an upload, by the answer to its beginning.
fn place(
    start: &str,
    headers: &HeaderMap,
    digest: &BlobDigest,
) -> Result<String, RegistryExchangeError> {
    let protocol = |reason: &str| RegistryExchangeError::Protocol {
        url: shown(start),
        reason: reason.to_owned(),
    };
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let location = location.ok_or_else(|| protocol("it doesn't say where an upload goes"))?;
    let base = Url::parse(start).map_err(|_error| protocol("the URL is not valid"))?;
    let mut url = base
        .join(location)
        .map_err(|_error| protocol("the place that it names for an upload is not a URL"))?;
    // The content would go out in clear, and anybody on the way could change it.
    if base.scheme() == "https" && url.scheme() != "https" {
        return Err(protocol("it wants an upload over plain HTTP"));
    }
    // Appended: the registry's own query has the state of the upload.
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    Ok(url.into())
}
