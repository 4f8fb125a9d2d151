//! Pushing: an image of the store to a registry. What the registry has isn't sent; what another of
//! its repositories may have, by the names that the store knows, is mounted from there; the manifest
//! comes last, so that nobody ever finds half an image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode, Url};

use super::Client;
use super::error::{RegistryError, RegistryProblem, Verb};
use super::host::Endpoint;
use super::wire::{Access, Ask, Content, Failure, Wire, shown};
use crate::base::event::{Event, Observer};
use crate::image::digest::BlobDigest;
use crate::image::reference::ImageRef;
use crate::image::store::{Image, ImageStore, StoreError};

/// How many blobs are sent at once.
const AT_ONCE: usize = 4;
const OCTETS: &str = "application/octet-stream";

/// An image that has been pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Its name there.
    pub reference: ImageRef,
    /// Its manifest's digest, by which it can be pulled too.
    pub manifest: BlobDigest,
    /// How many bytes were sent.
    pub sent: u64,
}

/// A blob to be sent.
struct Sending {
    digest: BlobDigest,
    size: u64,
    subject: Option<String>,
    /// Other repositories of the registry that may have it.
    elsewhere: Vec<String>,
}

impl Client {
    /// Pushes an image of the store under a name.
    pub fn push(
        &self,
        store: &ImageStore,
        image: &Image,
        to: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Pushed, RegistryError> {
        let endpoint = Endpoint::of(&self.0.options.registries, to);
        let pushed = self.push_to(&endpoint, store, image, to, observer);
        pushed.map_err(|problem| RegistryError {
            verb: Verb::Push,
            reference: Box::new(to.clone()),
            host: endpoint.host.clone(),
            problem: Box::new(problem),
        })
    }

    fn push_to(
        &self,
        endpoint: &Endpoint,
        store: &ImageStore,
        image: &Image,
        to: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Pushed, RegistryProblem> {
        if to.digest().is_some_and(|digest| *digest != image.manifest) {
            return Err(RegistryProblem::OtherDigest { found: image.manifest.clone() });
        }
        let wire = Wire::new(&self.0, endpoint, observer)?;
        let (manifest, media_type, config_size) = store.manifest_of(image)?;
        let mut blobs = sendings(store, image, to)?;
        blobs.push(Sending {
            digest: image.id.sum().clone().into(),
            size: config_size,
            subject: None,
            elsewhere: Vec::new(),
        });
        let mut sent = send_all(&wire, store, &blobs)?;
        sent += manifest.len() as u64;
        let name = to.tag().map_or_else(|| image.manifest.to_string(), str::to_owned);
        let url = endpoint.url(&format!("manifests/{name}"));
        let mut headers = HeaderMap::new();
        if let Ok(media_type) = HeaderValue::from_str(&media_type) {
            headers.insert(CONTENT_TYPE, media_type);
        }
        let ask = Ask {
            method: Method::PUT,
            url: &url,
            access: Access::Push,
            also: None,
            headers,
            body: Content::Bytes(&manifest),
        };
        wire.ask(&to.familiar(), &ask)?;
        Ok(Pushed { reference: to.clone(), manifest: image.manifest.clone(), sent })
    }
}

/// The image's layers, each blob once.
fn sendings(store: &ImageStore, image: &Image, to: &ImageRef) -> Result<Vec<Sending>, StoreError> {
    let mut elsewhere: BTreeMap<BlobDigest, BTreeSet<String>> = BTreeMap::new();
    for other in store.list()?.images {
        let repositories: Vec<String> = other
            .references
            .iter()
            .filter(|name| name.registry() == to.registry() && !name.same_repository(to))
            .map(|name| name.repository().to_owned())
            .collect();
        for layer in &other.layers {
            elsewhere.entry(layer.digest.clone()).or_default().extend(repositories.clone());
        }
    }
    let mut seen = BTreeSet::new();
    let name = to.familiar();
    let sending = |(index, layer): (usize, &crate::image::store::Layer)| Sending {
        digest: layer.digest.clone(),
        size: layer.size,
        subject: Some(format!("{name} layer {}/{}", index + 1, image.layers.len())),
        elsewhere: elsewhere.remove(&layer.digest).into_iter().flatten().collect(),
    };
    let layers = image.layers.iter().enumerate();
    Ok(layers.filter(|(_, layer)| seen.insert(layer.digest.clone())).map(sending).collect())
}

/// Sends blobs, several at once; gives how many bytes were sent.
fn send_all(
    wire: &Wire<'_>,
    store: &ImageStore,
    blobs: &[Sending],
) -> Result<u64, RegistryProblem> {
    let next = AtomicUsize::new(0);
    let work = |wire: &Wire<'_>| -> Result<u64, RegistryProblem> {
        let mut sent = 0;
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            // The others end with the blobs that they have begun.
            sent += send(wire, store, blob)
                .inspect_err(|_problem| next.store(blobs.len(), Ordering::Relaxed))?;
        }
        Ok(sent)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..AT_ONCE.min(blobs.len()))
            .map(|_| {
                let seed = wire.share();
                scope.spawn(|| work(&seed.grow()))
            })
            .collect();
        let mut outcome = work(wire);
        for thread in threads {
            let other = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and_then(|sent| other.map(|more| sent + more));
        }
        outcome
    })
}

fn ask<'r>(method: Method, url: &'r str, also: Option<&'r str>, body: Content<'r>) -> Ask<'r> {
    Ask { method, url, access: Access::Push, also, headers: HeaderMap::new(), body }
}

/// Has the registry have a blob; gives how many bytes had to be sent.
fn send(wire: &Wire<'_>, store: &ImageStore, blob: &Sending) -> Result<u64, RegistryProblem> {
    let subject = blob.subject.clone().unwrap_or_else(|| "the configuration".to_owned());
    let there = wire.endpoint.url(&format!("blobs/{}", blob.digest));
    match wire.ask(&subject, &ask(Method::HEAD, &there, None, Content::None)) {
        Ok(_) => return Ok(0),
        Err(RegistryProblem::NotFound { .. } | RegistryProblem::Status { .. }) => {}
        Err(problem) => return Err(problem),
    }
    for other in &blob.elsewhere {
        let path = format!("blobs/uploads/?mount={}&from={other}", blob.digest);
        let url = wire.endpoint.url(&path);
        // One that this user may not read, or that isn't there, is as good as none.
        match wire.ask(&subject, &ask(Method::POST, &url, Some(other), Content::None)) {
            Ok((head, _)) if head.status == StatusCode::CREATED => return Ok(0),
            Err(problem @ RegistryProblem::Interrupted) => return Err(problem),
            _ => {}
        }
    }
    let start = wire.endpoint.url("blobs/uploads/");
    let path = store.blob_path(&blob.digest);
    let event = |done| {
        if let Some(subject) = blob.subject.clone() {
            let (url, total) = (shown(&there), Some(blob.size));
            wire.observer.event(Event::Download { subject, url, done, total });
        }
    };
    event(0);
    let sent = wire.retrying(&subject, &there, || {
        let begin = ask(Method::POST, &start, None, Content::None);
        let (head, _answer) = wire.once(&begin)?;
        let place = place(&start, &head.headers, &blob.digest)?;
        let mut put = ask(Method::PUT, &place, None, Content::File(&path, blob.size));
        put.headers.insert(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
        put.headers.insert(CONTENT_LENGTH, HeaderValue::from(blob.size));
        let (head, _answer) = wire.once(&put)?;
        if head.status == StatusCode::CREATED {
            return Ok(blob.size);
        }
        let reason = format!("the registry answers {} to a whole blob", head.status);
        Err(Failure::Lasting(RegistryProblem::Protocol { url: shown(&place), reason }))
    });
    event(blob.size);
    if let Some(subject) = blob.subject.clone() {
        wire.observer.event(Event::DownloadEnded { subject });
    }
    sent
}

/// Where an upload goes, by the answer to its beginning.
fn place(start: &str, headers: &HeaderMap, digest: &BlobDigest) -> Result<String, RegistryProblem> {
    let protocol =
        |reason: &str| RegistryProblem::Protocol { url: shown(start), reason: reason.to_owned() };
    let location = headers.get(LOCATION).and_then(|location| location.to_str().ok());
    let location = location.ok_or_else(|| protocol("it doesn't say where an upload goes"))?;
    let base = Url::parse(start).map_err(|_error| protocol("the URL is none"))?;
    let mut url = base
        .join(location)
        .map_err(|_error| protocol("what it says of where an upload goes is no URL"))?;
    if base.scheme() == "https" && url.scheme() != "https" {
        return Err(protocol("it wants an upload over plain HTTP"));
    }
    url.query_pairs_mut().append_pair("digest", &digest.to_string());
    Ok(url.into())
}
