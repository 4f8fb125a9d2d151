//! Builder images and a lock: the external images behind a name, the locked image, and the image to
//! lock from now on.

use std::collections::BTreeMap;
use std::path::Path;

use super::mirrored::reference;
use super::{ImageError, ImageFinder};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer};
use crate::dockerfile::execute::AddedPlace;
use crate::image::location::ImageLocation;
use crate::image::pins::{ImageKey, ImagePin, PinError};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::PullOptions;
use crate::image::store::Image;
use crate::package::ImageName;
use crate::source::AddedKey;
use crate::tree::{DockerFolderTag, PackageTree};

/// External image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignImage {
    /// Name and platform.
    pub key: ImageKey,
    /// True for a base image of a Dockerfile.
    pub is_base: bool,
}

/// External inputs behind the name of an image.
#[derive(Debug, Clone, Default)]
pub struct ForeignInputs {
    /// The image itself, or those that its Dockerfile and the triggers of its base images name.
    pub images: Vec<ForeignImage>,
    /// Sources of ADD in its Dockerfile.
    pub added: BTreeMap<AddedKey, AddedPlace>,
    /// True if a base image is not here, so that there may be more.
    pub is_partial: bool,
}

/// Key of a builder image, whose platform is this machine's.
pub(super) fn key(name: &ImageRef) -> ImageKey {
    ImageKey { name: name.clone(), platform: Platform::host() }
}

impl ImageFinder<'_> {
    pub(super) fn pin_error(name: &ImageName, error: PinError) -> ImageError {
        ImageError::Pin { name: name.as_str().to_owned(), source: Box::new(error) }
    }

    /// Pin of a package's image.
    pub(super) fn pin(
        &self,
        name: &ImageName,
        reference: &ImageRef,
    ) -> Result<Option<&ImagePin>, ImageError> {
        let pin = self.building.pins.image(&key(reference));
        pin.map_err(|error| Self::pin_error(name, error))
    }

    /// The image that the lock pins for a name, from the store or from `place`; `None` without a pin.
    pub(super) fn pinned(
        &self,
        name: &ImageName,
        reference: &ImageRef,
        place: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        let Some(pin) = self.pin(name, reference)? else { return Ok(None) };
        let options = self.pull_options(Platform::host());
        let image = pin.provide(self.store, self.registry, place, &options, observer);
        image.map(Some).map_err(|error| Self::pin_error(name, error))
    }

    /// Fails if the found image differs from the locked one.
    pub(super) fn check_pin(
        &self,
        name: &ImageName,
        reference: &ImageRef,
        image: Image,
    ) -> Result<Image, ImageError> {
        if let Some(pin) = self.pin(name, reference)? {
            pin.check(reference, &image).map_err(|error| Self::pin_error(name, error))?;
        }
        Ok(image)
    }

    /// Name of an image in requests to mirrors.
    pub(super) fn pinned_name(
        &self,
        name: &ImageName,
        reference: &ImageRef,
    ) -> Result<ImageRef, ImageError> {
        let pin = self.pin(name, reference)?;
        Ok(pin.map_or_else(|| reference.clone(), |pin| reference.pinned_to(&pin.manifest)))
    }

    pub(super) fn pull_options(&self, platform: Platform) -> PullOptions {
        PullOptions { platform, limits: self.building.runner.archives }
    }

    /// External inputs behind a name: the image itself, or those of its Dockerfile. The machine
    /// itself is not an image. Nothing is fetched.
    pub fn foreign(
        &self,
        name: &ImageName,
        tree: &PackageTree,
    ) -> Result<ForeignInputs, ImageError> {
        let reference = reference(name)?;
        let itself = || {
            let images = vec![ForeignImage { key: key(&reference), is_base: false }];
            ForeignInputs { images, ..ForeignInputs::default() }
        };
        let bases = |folder: &Path| -> Result<_, ImageError> {
            // One that the lock lacks is not here as the locked one.
            let here = |base: &ImageRef, platform: &Platform| {
                Ok(self.stored_base(base, platform).unwrap_or_default())
            };
            let (_, inputs) = self.walk_bases(folder, here)?;
            let base =
                |(name, platform)| ForeignImage { key: ImageKey { name, platform }, is_base: true };
            Ok(ForeignInputs {
                images: inputs.images.into_iter().map(base).collect(),
                added: inputs.added,
                is_partial: !inputs.is_complete,
            })
        };
        match self.place(name, &reference)? {
            Some(ImageLocation::Host) => Ok(ForeignInputs::default()),
            Some(ImageLocation::Stored(_) | ImageLocation::Registry(_)) => Ok(itself()),
            Some(ImageLocation::Dockerfile(folder)) => bases(&folder),
            None => match tree.docker_folder(name) {
                None => Ok(itself()),
                Some(folder) => match &folder.tag {
                    DockerFolderTag::Latest => bases(folder.path),
                    DockerFolderTag::Sum(wanted) => {
                        let sum = self.building.hasher().hash_folder(folder.path);
                        let sum = sum.map_err(|source| {
                            let name = name.as_str().to_owned();
                            ImageError::Folder { name, source: Box::new(source) }
                        })?;
                        if *wanted == sum { bases(folder.path) } else { Ok(itself()) }
                    }
                },
            },
        }
    }

    /// Returns the current pin of an image: the locked image, else the store's, else the
    /// registry's. With `is_update`, the registry is asked first.
    pub fn resolve(
        &mut self,
        name: &ImageName,
        image: &ForeignImage,
        tree: &PackageTree,
        is_update: bool,
        observer: &dyn Observer,
    ) -> Result<ImagePin, ImageError> {
        let ForeignImage { key, is_base } = image;
        let place = if *is_base { None } else { self.place(name, &key.name)? };
        let place = match place {
            // It is read where it lies.
            Some(ImageLocation::Stored(_)) => None,
            Some(ImageLocation::Registry(place)) => Some(place),
            _ => Some(key.name.clone()),
        };
        if let Some(place) = place.filter(|_| is_update) {
            return self.current(name, &place, &key.platform, observer);
        }
        if *is_base {
            let found = match self.stored_base(&key.name, &key.platform)? {
                Some(image) => image,
                None => self.pulled_base(&key.name, &key.platform, observer)?,
            };
            return Ok(ImagePin::of(&found));
        }
        let found = self.find(name, tree, observer)?;
        let manifest = found.manifest.ok_or_else(|| ImageError::NotFound {
            name: name.clone(),
            pulled: None,
            docker_folder: None,
        })?;
        Ok(ImagePin { manifest, id: found.id.into() })
    }

    /// Returns a pin of the registry's current image; of the store's image if the registry fails.
    fn current(
        &self,
        name: &ImageName,
        place: &ImageRef,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<ImagePin, ImageError> {
        let options = self.pull_options(platform.clone());
        let error = match self.registry.pull(self.store, place, &options, None, observer) {
            Ok(pulled) => return Ok(ImagePin { manifest: pulled.manifest, id: pulled.id }),
            Err(error) if error.is_interruption() => return Err(ImageError::Interrupted),
            Err(error) => error,
        };
        let Some(image) = self.stored(name, place)? else {
            return Err(ImageError::Pull { name: place.familiar(), source: Box::new(error) });
        };
        let message = format!(
            "the registry does not give it, so the image of the store is pinned: {}",
            with_causes(&error)
        );
        observer.event(Event::Warning { subject: place.familiar(), message });
        Ok(ImagePin::of(&image))
    }
}
