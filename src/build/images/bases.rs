//! Images that Dockerfiles of builder folders start from or take files from, those included that
//! ONBUILD triggers of their base images name.

use std::collections::BTreeMap;
use std::path::Path;

use super::mirrored::MirrorImage;
use super::{ImageError, ImageFinder};
use crate::base::event::Observer;
use crate::dockerfile::execute::{OutsideInputs, outside_inputs};
use crate::dockerfile::{ConfigDocument, ImageBuildOptions};
use crate::image::pins::{ImageKey, ImagePin, PinError};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::store::{Image, ImageStoreError};

impl ImageFinder<'_> {
    /// Lists images of a folder's Dockerfile that are neither in the store nor in a mirror. Except for a
    /// preview, images of mirrors are pulled, as their ONBUILD triggers may name further images.
    pub(super) fn missing_bases(
        &self,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Vec<ImageRef>, ImageError> {
        let mut missing = Vec::new();
        self.walk_bases(folder, |base, platform| {
            if let Some(image) = self.stored_base(base, platform)? {
                return Ok(Some(image));
            }
            let pin = self.base_pin(base, platform)?;
            let named = pin.map_or_else(|| base.clone(), |pin| base.pinned_to(&pin.manifest));
            if !self.registry.is_mirrored(&named, platform, observer) {
                missing.push(named);
                return Ok(None);
            }
            if self.building.is_preview {
                return Ok(None);
            }
            // A failure comes again, and is reported, when the image is built.
            let options = self.pull_options(platform.clone());
            let pulled = self.registry.pull_mirrored(self.store, &named, &options, observer);
            let Ok(Some(pulled)) = pulled else { return Ok(None) };
            self.store.find_manifest(&pulled.manifest).map_err(|source| store_error(base, source))
        })?;
        Ok(missing)
    }

    /// Walks all images of a folder's Dockerfile, those included that triggers of its base images
    /// name. `get` is called once for each, and returns the image if the store has it then. Returns
    /// the images in the store, and all inputs from outside of the folder.
    pub(super) fn walk_bases(
        &self,
        folder: &Path,
        mut get: impl FnMut(&ImageRef, &Platform) -> Result<Option<Image>, ImageError>,
    ) -> Result<(BTreeMap<ImageKey, Image>, OutsideInputs), ImageError> {
        let failed = |source| ImageError::Build {
            name: folder.display().to_string(),
            source: Box::new(source),
        };
        let mut found: BTreeMap<ImageKey, Option<Image>> = BTreeMap::new();
        // Again with what was found: the triggers of a base image may name images that were unknown
        // before.
        loop {
            // A name that is not a reference is the id of an image in the store.
            let mut known = |name: &str, platform: &Platform| {
                if let Ok(name) = name.parse() {
                    let key = ImageKey { name, platform: platform.clone() };
                    return self.configuration(found.get(&key)?.as_ref()?);
                }
                self.configuration(&self.store.find_id(name).ok()??)
            };
            let inputs = outside_inputs(&ImageBuildOptions::of_folder(folder), &mut known);
            let inputs = inputs.map_err(failed)?;
            let keys = inputs.images.iter().map(|(name, platform)| ImageKey {
                name: name.clone(),
                platform: platform.clone(),
            });
            let new: Vec<ImageKey> = keys.filter(|key| !found.contains_key(key)).collect();
            if new.is_empty() {
                let here = |(key, image): (ImageKey, Option<Image>)| Some((key, image?));
                return Ok((found.into_iter().filter_map(here).collect(), inputs));
            }
            for key in new {
                let image = get(&key.name, &key.platform)?;
                found.insert(key, image);
            }
        }
    }

    fn configuration(&self, image: &Image) -> Option<ConfigDocument> {
        ConfigDocument::parse(&self.store.config_of(image).ok()?).ok()
    }

    /// Pin of an image that a Dockerfile names.
    pub(super) fn base_pin(
        &self,
        base: &ImageRef,
        platform: &Platform,
    ) -> Result<Option<&ImagePin>, ImageError> {
        let key = ImageKey { name: base.clone(), platform: platform.clone() };
        self.building.pins.base(&key).map_err(|error| base_error(base, error))
    }

    /// Returns a base image if the store has it: the pinned one, if the lock file pins the name.
    pub(super) fn stored_base(
        &self,
        base: &ImageRef,
        platform: &Platform,
    ) -> Result<Option<Image>, ImageError> {
        if let Some(pin) = self.base_pin(base, platform)? {
            return pin.stored(self.store, base).map_err(|error| base_error(base, error));
        }
        self.store.find(base).map_err(|source| store_error(base, source))
    }

    /// Pulls a base image: the pinned one, if the lock file pins the name.
    pub(super) fn pulled_base(
        &self,
        base: &ImageRef,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Image, ImageError> {
        let failed = |source| store_error(base, source);
        let options = self.pull_options(platform.clone());
        if let Some(pin) = self.base_pin(base, platform)? {
            let pulled = pin.pull(self.store, self.registry, base, &options, observer);
            return pulled.map_err(|error| base_error(base, error));
        }
        let pulled = self.registry.pull(self.store, base, &options, None, observer);
        let pulled = pulled.map_err(|source| ImageError::Pull {
            name: base.familiar(),
            source: Box::new(source),
        })?;
        let image = self.store.find_manifest(&pulled.manifest).map_err(failed)?;
        image.ok_or_else(|| failed(ImageStoreError::not_found(base.familiar())))
    }

    /// Pulls missing images of a folder's Dockerfile; returns all of its images.
    pub fn fetch_bases(
        &self,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Vec<MirrorImage>, ImageError> {
        let (images, _) =
            self.walk_bases(folder, |base, platform| match self.stored_base(base, platform)? {
                Some(image) => Ok(Some(image)),
                None => self.pulled_base(base, platform, observer).map(Some),
            })?;
        let mirrored = |(key, image): (ImageKey, Image)| MirrorImage { name: key.name, image };
        Ok(images.into_iter().map(mirrored).collect())
    }
}

fn base_error(base: &ImageRef, error: PinError) -> ImageError {
    ImageError::Pin { name: base.familiar(), source: Box::new(error) }
}

/// Lists images that a folder's Dockerfile itself names, without those of ONBUILD triggers.
pub(super) fn named_bases(folder: &Path) -> Result<Vec<(ImageRef, Platform)>, ImageError> {
    let inputs = outside_inputs(&ImageBuildOptions::of_folder(folder), &mut |_, _| None);
    let inputs = inputs.map_err(|source| ImageError::Build {
        name: folder.display().to_string(),
        source: Box::new(source),
    })?;
    Ok(inputs.images.into_iter().collect())
}

fn store_error(base: &ImageRef, source: ImageStoreError) -> ImageError {
    ImageError::Store { name: base.familiar(), source: Box::new(source) }
}
