//! Builder images in shared caches, by their inputs (docs/format.md, "Builder images in caches").
//!
//! ```text
//! <cache>/images/<folder>-<platform>.json           the image of a docker/ folder: an index with one manifest
//! <cache>/images/<folder>-<platform>-<bases>.json   the same, of these base images
//! <cache>/images/blobs/sha256/<digest>              manifests, configurations, layers
//! ```
//!
//! An image is pushed there after a local build, if the image has a name in the store: images made
//! from a tree's own names or from a tree's own caches have none. An image is used if it records
//! the same folder and the local base images; where signatures are required, a trusted key must
//! have signed the index, which contains the manifest's digest.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use super::bases::named_bases;
use super::{ImageError, ImageFinder};
use crate::artifact::publish::{ImagePublication, PublishError, Published, publish_image};
use crate::artifact::shared_cache::SharedCache;
use crate::artifact::signed::{SignedError, get_signed};
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer, Silent, WithoutDownloads};
use crate::build::upload::warning_of;
use crate::dockerfile::execute::is_flattened;
use crate::image::digest::BlobDigest;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::IMAGES;
use crate::image::store::{Image, ImageStoreError};
use crate::package::ImageName;
use crate::package::json::canonical;
use crate::store::StoreTransfer;
use crate::store::registry::media_type;
use crate::tree::{DOCKER_FOLDER_IMAGES, PackageTree};

/// Name of a cache in warnings.
const ROLE: &str = "the cache";
/// Upper limit of an index in bytes: longer ones are cut off, and so not read.
const LONGEST_INDEX: u64 = 1 << 20;
/// Number of digits that tell base images apart.
// 64 bits: the image itself records its bases in full, so a collision costs a build, and nothing
// else.
const BASES_DIGITS: usize = 16;

/// Keys of the image of a `docker/` folder: the one with all inputs from elsewhere, the one with the base
/// images that the Dockerfile itself names, each if all of them are known, and the one without.
struct Keys(Vec<String>);

impl Keys {
    fn documents(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|key| format!("{IMAGES}/{key}.json"))
    }
}

/// An image of a `docker/` folder, for caches.
#[derive(Debug)]
pub struct BuilderUpload {
    /// Files of the image.
    pub publication: ImagePublication,
    /// Size of the image in bytes.
    pub size: u64,
    /// True if this machine has built the image.
    pub is_own: bool,
}

impl ImageFinder<'_> {
    fn keys(&self, folder: &Path, whole: &Sha256Sum) -> Result<Keys, ImageError> {
        let plain = format!("{whole}-{}", Platform::host().to_string().replace('/', "-"));
        let (_, inputs) =
            self.walk_bases(folder, |base, platform| self.stored_base(base, platform))?;
        let pins = &self.building.fetch.added.pins;
        let pinned = inputs.added.keys().filter_map(|key| pins.get_key_value(key));
        let added: Vec<_> = pinned.map(|(key, pin)| (key.to_string(), pin.to_string())).collect();
        let key = |inputs: BTreeMap<String, String>| {
            let sum = Sha256Sum::of(canonical(&json!(inputs)).as_bytes());
            format!("{plain}-{}", &sum.as_str()[..BASES_DIGITS])
        };
        let all = self.ids_of_bases(inputs.images)?;
        let all = all.map(|bases| key(bases.into_iter().chain(added).collect()));
        // Without the base images, their triggers are unknown, and what stages on them add.
        let named = self.ids_of_bases(named_bases(folder)?)?.map(key);
        let mut keys: Vec<String> = all.into_iter().chain(named).collect();
        keys.push(plain);
        keys.dedup();
        Ok(Keys(keys))
    }

    /// Ids of base images, in the lock or in the store, by their names; `None` if one is in neither.
    fn ids_of_bases(
        &self,
        bases: impl IntoIterator<Item = (ImageRef, Platform)>,
    ) -> Result<Option<BTreeMap<String, String>>, ImageError> {
        let mut ids = BTreeMap::new();
        for (base, platform) in bases {
            let id = match self.base_pin(&base, &platform)? {
                Some(pin) => Some(pin.id.clone()),
                None => self.stored_base(&base, &platform)?.map(|image| image.id),
            };
            let Some(id) = id else { return Ok(None) };
            ids.insert(base.to_string(), id.to_string());
        }
        Ok(Some(ids))
    }

    /// Fetches the image of a `docker/` folder from a cache, under its names.
    pub(super) fn cached_builder(
        &self,
        name: &ImageName,
        names: &[ImageRef],
        (folder, whole): (&Path, &Sha256Sum),
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        let caches = self.building.caches;
        if !caches.read() {
            return Ok(None);
        }
        let keys = self.keys(folder, whole)?;
        for cache in caches.iter().filter(|cache| cache.reads()) {
            for document in keys.documents() {
                let Some(image) = self.taken(name, cache, &document, &names[0], observer)? else {
                    continue;
                };
                if !self.is_still_of(name, &image, whole)? {
                    continue;
                }
                let failed = |source| store_error(name, source);
                self.store.name(&image, names, observer).map_err(failed)?;
                let message = format!("{name} comes from {}", cache.name());
                observer.event(Event::Note { message });
                return Ok(Some(image));
            }
        }
        Ok(None)
    }

    /// Takes the image of an index into the store, without a name.
    fn taken(
        &self,
        name: &ImageName,
        cache: &SharedCache,
        document: &str,
        reference: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        let transfer = StoreTransfer { subject: name.as_str(), observer };
        let got = cache.store().item(ROLE, &transfer, SignedError::kind, |backend| {
            get_signed(backend, document, LONGEST_INDEX, cache.required_keys(), observer)
        });
        let bytes = match got {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => bytes,
            Err(error) => {
                let message =
                    format!("{document} in {} is not used: {}", cache.name(), with_causes(&error));
                observer.event(Event::Warning { subject: name.as_str().to_owned(), message });
                return Ok(None);
            }
        };
        let options = self.pull_options(Platform::host());
        let index = (document, bytes.as_slice());
        let pulled = self
            .registry
            .pull_indexed(self.store, (cache.store(), index), reference, &options, observer)
            .map_err(|source| ImageError::Pull {
                name: name.as_str().to_owned(),
                source: Box::new(source),
            })?;
        let Some(pulled) = pulled else { return Ok(None) };
        self.store.find_manifest(&pulled.manifest).map_err(|source| store_error(name, source))
    }

    /// Files of an image for caches; `None`, with a note, for one that others must not get.
    fn publication(
        &self,
        name: &ImageName,
        image: &Image,
        (folder, whole): (&Path, &Sha256Sum),
        observer: &dyn Observer,
    ) -> Result<Option<ImagePublication>, ImageError> {
        let failed = |source| store_error(name, source);
        if is_flattened(self.store, image).map_err(failed)? {
            let message = "not put into caches: it was built with one id, so owners may be lost that its commands gave to files".to_owned();
            observer.event(Event::Note { message: format!("{name}: {message}") });
            return Ok(None);
        }
        let (entry, blobs) = self.store.for_layout(image).map_err(failed)?;
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type::INDEX,
            "manifests": [entry],
        });
        let blob = |(digest, path): (BlobDigest, _)| {
            (format!("{IMAGES}/blobs/sha256/{}", digest.hex()), path)
        };
        Ok(Some(ImagePublication {
            documents: self.keys(folder, whole)?.documents().collect(),
            index: canonical(&index).into_bytes(),
            blobs: blobs.into_iter().map(blob).collect(),
        }))
    }

    /// The image of a `docker/` folder that is in the store, for caches; `None` if the name is that of another
    /// image, or if the image is not here. Nothing is built or fetched.
    pub fn builder_upload(
        &self,
        name: &ImageName,
        tree: &PackageTree,
        observer: &dyn Observer,
    ) -> Result<Option<BuilderUpload>, ImageError> {
        let Some(folder) = tree.docker_folder(name) else { return Ok(None) };
        let failed = |source| ImageError::Folder {
            name: name.as_str().to_owned(),
            source: Box::new(source),
        };
        let hasher = self.building.hasher();
        let sum = hasher.hash_folder(folder.path).map_err(failed)?;
        let whole = hasher.whole_sum(folder.path).map_err(failed)?;
        let exact = format!("{DOCKER_FOLDER_IMAGES}{}_dockerdir-{sum}", folder.name);
        let exact: ImageRef = exact
            .parse()
            .map_err(|source| ImageError::Name { name: exact.clone(), source: Box::new(source) })?;
        let Some(image) = self.stored(name, &exact)? else { return Ok(None) };
        if !self.is_still_of(name, &image, &whole)? {
            return Ok(None);
        }
        let made_from = (folder.path, &whole);
        let Some(publication) = self.publication(name, &image, made_from, observer)? else {
            return Ok(None);
        };
        // What was built here is found by its steps alone.
        let built = self.built(name, folder.path, (Vec::new(), Some(whole.clone())), &Silent);
        let is_own = match built {
            Ok(built) => built.manifest == image.manifest,
            Err(error) if error.is_interruption() => return Err(error),
            Err(_) => false,
        };
        Ok(Some(BuilderUpload { publication, size: image.size, is_own }))
    }

    /// Puts an image that was built into all caches that are written to; failures are warnings.
    pub(super) fn upload_builder(
        &self,
        name: &ImageName,
        image: &Image,
        exact: &ImageRef,
        (folder, whole): (&Path, &Sha256Sum),
        observer: &dyn Observer,
    ) -> Result<(), ImageError> {
        let caches = self.building.caches;
        let is_named = image.references.contains(exact);
        if !is_named || !caches.iter().any(SharedCache::writes) {
            return Ok(());
        }
        let Some(publication) = self.publication(name, image, (folder, whole), observer)? else {
            return Ok(());
        };
        let uploading = WithoutDownloads(observer);
        for cache in caches.iter().filter(|cache| cache.writes()) {
            let transfer = StoreTransfer { subject: name.as_str(), observer: &uploading };
            let put = cache.store().item(ROLE, &transfer, PublishError::kind, |backend| {
                publish_image(backend, &publication, caches.signer(), &uploading)
            });
            let put = warning_of(put, name.as_str(), cache, observer);
            if put == Some(Published::Written) {
                let subject = publication.documents.last().cloned().unwrap_or_default();
                let (place, bytes) = (cache.name(), image.size);
                observer.event(Event::Sent { subject, place, bytes });
            }
        }
        Ok(())
    }
}

fn store_error(name: &ImageName, source: ImageStoreError) -> ImageError {
    ImageError::Store { name: name.as_str().to_owned(), source: Box::new(source) }
}
