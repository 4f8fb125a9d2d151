//! Images of `docker/` folders: taken from the store or a registry by the folder's sum, or built.
//!
//! The digest in the name omits modes and links to folders, so an image records a complete digest
//! of its folder, and its base images. If the folder has changed, or a base image's name means
//! another image now, the image is built again. An image with a base image without a name in the
//! store, as from a tree's own mirror, gets no name: other trees with the same folder would use the
//! image.
//!
//! Shared caches are asked after mirrors, by the inputs of an image ([`super::cached`]). A registry
//! is asked once, for the name with the digest, by a client with short time limits. A registry that
//! refuses or cannot be reached is named in a warning, and not asked for builders again in this
//! run; a registry already known to be down is not asked at all.

use super::{ImageError, ImageFinder};
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::remedy::with_hint;
use crate::dockerfile::execute::{is_flattened, is_still_of};
use crate::image::reference::ImageRef;
use crate::image::registry::RegistryError;
use crate::image::store::Image;
use crate::package::ImageName;
use crate::store::registry::RegistryMirror;
use crate::tree::{DOCKER_FOLDER_IMAGES, DockerFolderTag, PackageTree};

/// Registry for images of `docker/` folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedBuilders {
    /// Registry, with the prefix of names there; by default the registry in the names.
    pub registry: Option<RegistryMirror>,
    /// True if built images are pushed.
    pub push: bool,
}

impl SharedBuilders {
    /// Name of an image in the registry.
    fn place(&self, name: &ImageRef) -> ImageRef {
        let there = self.registry.as_ref().and_then(|registry| registry.name_of(name));
        there.unwrap_or_else(|| name.clone())
    }
}

impl ImageFinder<'_> {
    /// The image of a `docker/` folder: the one with the folder's sum from the store or from a registry,
    /// else it is built, and pushed if the configuration says so.
    pub(super) fn of_docker_folder(
        &mut self,
        name: &ImageName,
        reference: &ImageRef,
        tree: &PackageTree,
        observer: &dyn Observer,
    ) -> Result<Image, ImageError> {
        let text = || name.as_str().to_owned();
        let nowhere =
            |pulled| ImageError::NotFound { name: name.clone(), pulled, docker_folder: None };
        let Some(folder) = tree.docker_folder(name) else { return Err(nowhere(None)) };
        let failed = |source| ImageError::Folder { name: text(), source: Box::new(source) };
        let hasher = self.building.hasher();
        let sum = hasher.hash_folder(folder.path).map_err(failed)?;
        let whole = hasher.whole_sum(folder.path).map_err(failed)?;
        if let DockerFolderTag::Sum(wanted) = &folder.tag
            && *wanted != sum
        {
            // Of another state of the folder, which isn't there to be built.
            if let Some(image) = self.pinned(name, reference, reference, observer)? {
                return Ok(image);
            }
            if let Some(image) = self.stored(name, reference)? {
                return Ok(image);
            }
            return self.pulled(name, reference, observer)?.map_err(|error| nowhere(Some(error)));
        }
        let tag = |state: &str| {
            let tag = format!("{DOCKER_FOLDER_IMAGES}{}_dockerdir-{state}", folder.name);
            tag.parse::<ImageRef>()
                .map_err(|source| ImageError::Name { name: tag, source: Box::new(source) })
        };
        let (exact, latest) = (tag(sum.as_str())?, tag("latest")?);
        if let Some(image) = self.stored(name, &exact)?
            && self.is_still_of(name, &image, &whole)?
        {
            return Ok(image);
        }
        let names = vec![exact, latest];
        if let Some(image) = self.mirrored_builder(name, &names, &whole, observer)? {
            return Ok(image);
        }
        let made_from = (folder.path, &whole);
        if let Some(image) = self.cached_builder(name, &names, made_from, observer)? {
            return Ok(image);
        }
        if !self.building.may_build && !self.building.may_pull_builders {
            return self.built(name, folder.path, (names, Some(whole)), observer);
        }
        let shared = self.building.shared.place(&names[0]);
        if let Some(image) = self.published(name, &shared, &names, &whole, observer)? {
            return Ok(image);
        }
        let exact = names[0].clone();
        let image = self.built(name, folder.path, (names, Some(whole.clone())), observer)?;
        if self.building.may_build {
            self.upload_builder(name, &image, &exact, (folder.path, &whole), observer)?;
        }
        if self.building.shared.push && self.building.may_build {
            self.push(name, &image, &shared, observer)?;
        }
        Ok(image)
    }

    /// Pulls the image of that digest from a registry, under its names. A missing image is not an
    /// error.
    fn published(
        &mut self,
        name: &ImageName,
        shared: &ImageRef,
        names: &[ImageRef],
        folder: &Sha256Sum,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        if self.registry.is_offline() || self.silent.contains(shared.registry()) {
            return Ok(None);
        }
        let found = self.registry.giving_up_early().has(shared, observer);
        let pulled = match found {
            Ok(false) => return Ok(None),
            Ok(true) => match self.pulled(name, shared, observer)? {
                Ok(image) => image,
                Err(error) => return self.not_given(&error, shared, observer),
            },
            Err(error) => return self.not_given(&error, shared, observer),
        };
        if !self.is_still_of(name, &pulled, folder)? {
            return Ok(None);
        }
        // An image from a tree's own mirror has no name, and gets none here.
        let named = self.stored(name, shared)?;
        if named.is_some_and(|named| named.manifest == pulled.manifest) {
            let failed = |source| ImageError::Store {
                name: name.as_str().to_owned(),
                source: Box::new(source),
            };
            self.store.name(&pulled, names, observer).map_err(failed)?;
        }
        Ok(Some(pulled))
    }

    pub(super) fn is_still_of(
        &self,
        name: &ImageName,
        image: &Image,
        folder: &Sha256Sum,
    ) -> Result<bool, ImageError> {
        let failed =
            |source| ImageError::Store { name: name.as_str().to_owned(), source: Box::new(source) };
        let pins = (self.building.pins, self.building.fetch.added.as_ref());
        is_still_of(self.store, image, folder, pins).map_err(failed)
    }

    /// Reports an unusable registry, which does not stop a build.
    fn not_given(
        &mut self,
        error: &RegistryError,
        shared: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        if error.is_interruption() {
            return Err(ImageError::Interrupted);
        }
        self.silent.insert(shared.registry().to_owned());
        let message = format!(
            "can't look for builder images at {}, so they are built: {}",
            shared.registry(),
            with_causes(error)
        );
        observer.event(Event::Warning { subject: shared.familiar(), message });
        Ok(None)
    }

    /// Pushes a built image. A failure is a warning, since the image exists locally.
    fn push(
        &self,
        name: &ImageName,
        image: &Image,
        shared: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<(), ImageError> {
        let failed =
            |source| ImageError::Store { name: name.as_str().to_owned(), source: Box::new(source) };
        let warn = |message| {
            observer.event(Event::Warning { subject: shared.familiar(), message });
        };
        if self.registry.is_offline() {
            return Ok(());
        }
        if self.silent.contains(shared.registry()) {
            warn(format!("not pushed, as {} could not be asked", shared.registry()));
            return Ok(());
        }
        if is_flattened(self.store, image).map_err(failed)? {
            warn("not pushed: it was built with one id, so owners may be lost that its commands gave to files; build it where the isolation tier is `ranges`".to_owned());
            return Ok(());
        }
        match self.registry.push(self.store, image, shared, observer) {
            Ok(_) => {
                let message = format!("pushed {}", shared.familiar());
                observer.event(Event::Note { message });
            }
            Err(error) if error.is_interruption() => return Err(ImageError::Interrupted),
            Err(error) => {
                let message = format!("not pushed: {}", with_causes(&error));
                warn(with_hint(message, error.hint().as_deref()));
            }
        }
        Ok(())
    }
}
