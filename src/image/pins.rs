//! Images that a lock pins: a name stands for one manifest, whatever the store or a registry holds
//! under the name.
//!
//! A lock requires an id, the digest of the configuration with the digests of all layers: an image
//! with that id is accepted from any origin. The manifest's digest is used in requests to
//! registries and mirrors.

use std::collections::BTreeMap;

use super::digest::{BlobDigest, ImageId};
use super::platform::Platform;
use super::reference::ImageRef;
use super::registry::{Client, PullOptions, RegistryError, RegistryProblem};
use super::store::{Image, ImageStore, ImageStoreError};
use crate::base::event::Observer;

/// An image as a lock pins it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePin {
    /// Digest of the manifest.
    pub manifest: BlobDigest,
    /// Id of the image.
    pub id: ImageId,
}

/// Name of an image, for a platform.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageKey {
    /// The name.
    pub name: ImageRef,
    /// The platform.
    pub platform: Platform,
}

/// Images by their names and platforms.
pub type PinnedImages = BTreeMap<ImageKey, ImagePin>;

/// All images in a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePins {
    /// Images of packages, for this machine's platform and others.
    pub images: PinnedImages,
    /// Base images of Dockerfiles.
    pub bases: PinnedImages,
    /// True if every image needs a pin.
    pub is_complete: bool,
}

/// A pinned image is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// The lock does not have the image.
    #[error("mkpanda.lock does not have the image {} for {}", key.name.familiar(), key.platform)]
    Absent {
        /// Name and platform.
        key: Box<ImageKey>,
    },
    /// There is another image under the name.
    #[error("mkpanda.lock wants the image {wanted}, but {} is {found}", name.familiar())]
    Other {
        /// The name.
        name: Box<ImageRef>,
        /// The lock's id.
        wanted: ImageId,
        /// Id of the image that was found.
        found: ImageId,
    },
    /// The locked manifest belongs to another image.
    #[error(
        "mkpanda.lock wants the image {wanted}, but its manifest {manifest} is of the image {found}"
    )]
    Inconsistent {
        /// The name.
        name: Box<ImageRef>,
        /// The lock's manifest.
        manifest: BlobDigest,
        /// The lock's id.
        wanted: ImageId,
        /// Id of the image that the manifest leads to.
        found: ImageId,
    },
    /// The image cannot be pulled.
    #[error("mkpanda.lock wants the image {} with the manifest {}{}", pin.id, pin.manifest, stored(found.as_ref()))]
    Pull {
        /// The name.
        name: Box<ImageRef>,
        /// Pin in the lock.
        pin: Box<ImagePin>,
        /// Id of the image that the store has under the name.
        found: Option<ImageId>,
        /// Cause.
        #[source]
        source: Box<RegistryError>,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(Box<ImageStoreError>),
}

fn stored(found: Option<&ImageId>) -> String {
    found.map_or_else(String::new, |id| format!(", and the image store has {id} under the name"))
}

impl From<ImageStoreError> for PinError {
    fn from(error: ImageStoreError) -> Self {
        Self::Store(Box::new(error))
    }
}

impl PinError {
    /// True if the run was interrupted.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Pull { source, .. } if source.is_interruption())
    }

    /// True if no registry could be asked for the image.
    pub fn is_away(&self) -> bool {
        let Self::Pull { source, .. } = self else { return false };
        matches!(source.problem.as_ref(), RegistryProblem::Exchange(_))
    }

    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        let name = match self {
            Self::Absent { .. } => return Some("add what is new: mkpanda lock".to_owned()),
            Self::Store(error) => return error.hint(),
            Self::Other { name, .. }
            | Self::Inconsistent { name, .. }
            | Self::Pull { name, .. } => name.familiar(),
        };
        Some(format!("if the image was meant to change: mkpanda lock --update {name}"))
    }
}

impl ImagePins {
    /// Pin of a package's image.
    pub fn image(&self, key: &ImageKey) -> Result<Option<&ImagePin>, PinError> {
        self.pin(&self.images, key)
    }

    /// Pin of an image that a Dockerfile names.
    pub fn base(&self, key: &ImageKey) -> Result<Option<&ImagePin>, PinError> {
        self.pin(&self.bases, key)
    }

    fn pin<'p>(
        &self,
        pins: &'p PinnedImages,
        key: &ImageKey,
    ) -> Result<Option<&'p ImagePin>, PinError> {
        match pins.get(key) {
            None if self.is_complete => Err(PinError::Absent { key: Box::new(key.clone()) }),
            found => Ok(found),
        }
    }

    /// True if a Dockerfile's image whose base has that id matches the pins; `None` if the pins
    /// lack the name.
    pub fn accept_base(&self, name: &ImageRef, id: &str) -> Option<bool> {
        let mut pins = self.bases.iter().filter(|(key, _)| key.name == *name).peekable();
        if pins.peek().is_none() {
            return self.is_complete.then_some(false);
        }
        Some(pins.any(|(_, pin)| pin.id.to_string() == id))
    }
}

impl ImagePin {
    /// Pin of an image.
    pub fn of(image: &Image) -> Self {
        Self { manifest: image.manifest.clone(), id: image.id.clone() }
    }

    /// Fails if an image is not the pinned one.
    pub fn check(&self, name: &ImageRef, image: &Image) -> Result<(), PinError> {
        if image.id == self.id {
            return Ok(());
        }
        let (wanted, found) = (self.id.clone(), image.id.clone());
        Err(PinError::Other { name: Box::new(name.clone()), wanted, found })
    }

    /// Returns the pinned image in the store, under whatever name.
    pub fn stored(&self, store: &ImageStore, name: &ImageRef) -> Result<Option<Image>, PinError> {
        // The manifest may be another: a registry that compresses layers anew gives the same image
        // another one.
        let is_it = |image: &Image| image.id == self.id;
        if let Some(image) = store.find(name)?.filter(is_it) {
            return Ok(Some(image));
        }
        if let Some(image) = store.find_manifest(&self.manifest)? {
            // Checked, although both digests come from the lock: an edited lock could pair two
            // images.
            return self.made_of_manifest(name, image).map(Some);
        }
        Ok(store.find_id(&self.id.to_string())?)
    }

    fn made_of_manifest(&self, name: &ImageRef, image: Image) -> Result<Image, PinError> {
        if image.id == self.id {
            return Ok(image);
        }
        Err(PinError::Inconsistent {
            name: Box::new(name.clone()),
            manifest: self.manifest.clone(),
            wanted: self.id.clone(),
            found: image.id,
        })
    }

    /// Pulls the pinned image into the store by the manifest's digest.
    pub fn pull(
        &self,
        store: &ImageStore,
        registry: &Client,
        name: &ImageRef,
        options: &PullOptions,
        observer: &dyn Observer,
    ) -> Result<Image, PinError> {
        let pinned = name.pinned_to(&self.manifest);
        let pulled = match registry.pull(store, &pinned, options, None, observer) {
            Ok(pulled) => pulled,
            Err(source) => {
                let found = store.find(name)?.map(|image| image.id);
                let (name, pin) = (Box::new(name.clone()), Box::new(self.clone()));
                return Err(PinError::Pull { name, pin, found, source: Box::new(source) });
            }
        };
        let image = store.find_manifest(&pulled.manifest)?;
        let image = image.ok_or_else(|| ImageStoreError::not_found(pinned.familiar()))?;
        self.made_of_manifest(name, image)
    }

    /// The pinned image, pulled if the store lacks it.
    pub fn provide(
        &self,
        store: &ImageStore,
        registry: &Client,
        name: &ImageRef,
        options: &PullOptions,
        observer: &dyn Observer,
    ) -> Result<Image, PinError> {
        match self.stored(store, name)? {
            Some(image) => Ok(image),
            None => self.pull(store, registry, name, options, observer),
        }
    }
}
