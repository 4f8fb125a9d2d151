//! Push of a store's image to a registry. Blobs in the registry are not sent; blobs that may be in
//! its other repositories, by the names in the store, are mounted from there; the manifest comes
//! last, so that an incomplete image is never visible.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::client::Client;
use super::error::{RegistryError, RegistryProblem, Verb};
use crate::base::event::Observer;
use crate::image::digest::BlobDigest;
use crate::image::reference::ImageRef;
use crate::image::store::{Image, ImageStore, ImageStoreError};
use crate::store::ObjectContent;
use crate::store::registry::upload::{self, BlobUpload};
use crate::store::registry::{RegistryWire, manifest};

/// Number of blobs that are sent at once.
const AT_ONCE: usize = 4;

/// Result of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// Name in the registry.
    pub reference: ImageRef,
    /// Digest of the manifest, by which the image can be pulled, too.
    pub manifest: BlobDigest,
    /// Number of bytes sent.
    pub sent: u64,
}

/// A blob to be sent.
struct Sending {
    digest: BlobDigest,
    size: u64,
    subject: Option<String>,
    /// Other repositories of the registry that may have the blob.
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
    ) -> Result<PushedImage, RegistryError> {
        self.ask_registry(Verb::Push, to, observer, |wire| push(wire, store, image, to))
    }
}

fn push(
    wire: &RegistryWire<'_>,
    store: &ImageStore,
    image: &Image,
    to: &ImageRef,
) -> Result<PushedImage, RegistryProblem> {
    // The registry would refuse it, but only after all blobs were sent.
    if to.digest().is_some_and(|digest| *digest != image.manifest) {
        return Err(RegistryProblem::OtherDigest { found: image.manifest.clone() });
    }
    let (bytes, media_type, config_size) = store.manifest_of(image)?;
    let mut blobs = sendings(store, image, to)?;
    blobs.push(Sending {
        digest: image.id.sum().clone().into(),
        size: config_size,
        subject: None,
        elsewhere: Vec::new(),
    });
    let mut sent = send_all(wire, store, &blobs)?;
    sent += bytes.len() as u64;
    let name = to.tag().map_or_else(|| image.manifest.to_string(), str::to_owned);
    manifest::put(wire, &name, &media_type, &bytes, &to.familiar())?;
    Ok(PushedImage { reference: to.clone(), manifest: image.manifest.clone(), sent })
}

/// The image's layers, each blob once.
fn sendings(
    store: &ImageStore,
    image: &Image,
    to: &ImageRef,
) -> Result<Vec<Sending>, ImageStoreError> {
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

/// Sends blobs, several at once; returns the number of sent bytes.
fn send_all(
    wire: &RegistryWire<'_>,
    store: &ImageStore,
    blobs: &[Sending],
) -> Result<u64, RegistryProblem> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<u64, RegistryProblem> {
        let mut sent = 0;
        while let Some(blob) = blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            // The others end with the blobs that they have begun.
            sent += send(wire, store, blob)
                .inspect_err(|_problem| next.store(blobs.len(), Ordering::Relaxed))?;
        }
        Ok(sent)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..AT_ONCE.min(blobs.len())).map(|_| scope.spawn(work)).collect();
        let mut outcome = work();
        for thread in threads {
            let other = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and_then(|sent| other.map(|more| sent + more));
        }
        outcome
    })
}

/// Ensures that the registry has a blob; returns the number of sent bytes.
fn send(
    wire: &RegistryWire<'_>,
    store: &ImageStore,
    blob: &Sending,
) -> Result<u64, RegistryProblem> {
    let subject = blob.subject.as_deref().unwrap_or("the configuration");
    if upload::has(wire, &blob.digest, subject)? {
        return Ok(0);
    }
    for other in &blob.elsewhere {
        // Saves the upload if the registry lets this user read the other repository (OCI
        // Distribution Specification, "Mounting a blob from another repository").
        if upload::mount(wire, &blob.digest, other, subject)? {
            return Ok(0);
        }
    }
    let path = store.blob_path(&blob.digest);
    let content = ObjectContent::File(&path, blob.size);
    let (digest, reports) = (&blob.digest, blob.subject.is_some());
    upload::send(wire, &BlobUpload { digest, content, subject, reports })?;
    Ok(blob.size)
}
