//! Builder images and mirrors: images from a mirror, and the required contents of a mirror for a
//! name.

use std::path::{Path, PathBuf};

use super::{ImageError, ImageFinder};
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::image::load::LoadProblem;
use crate::image::location::ImageLocation;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::RegistryProblem;
use crate::image::store::{Image, ImageStoreError};
use crate::package::ImageName;
use crate::tree::{DOCKER_FOLDER_IMAGES, DockerFolderTag, PackageTree};

/// Beginning of the names of images that are made from a folder of the configuration (`dockerfile:DIR`); the
/// folder's sum follows.
const FOLDER_IMAGES: &str = "localhost/mkpanda/dockerfile:";

/// Presence of an image on this machine and in mirrors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// The image is here.
    Here,
    /// The image would be built from a folder, but these base images are missing.
    ToBuild {
        /// The folder.
        folder: PathBuf,
        /// Base images that are neither here nor in a mirror.
        missing: Vec<ImageRef>,
    },
    /// The image is missing, and would come from here.
    Missing(String),
}

/// Image in a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorImage {
    /// Name under which the mirror holds the image.
    pub name: ImageRef,
    /// The image.
    pub image: Image,
}

/// Images in a mirror with one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorImages {
    /// The images.
    pub images: Vec<MirrorImage>,
    /// False if the image itself would have to be built first, and is not among them.
    pub is_built: bool,
}

impl ImageFinder<'_> {
    /// Pulls the image of a name from a mirror, except in a preview; `None` if no mirror has the image.
    pub(super) fn mirrored(
        &self,
        name: &ImageName,
        reference: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        let text = || name.as_str().to_owned();
        if self.building.is_preview {
            return Ok(None);
        }
        let options = self.pull_options(Platform::host());
        let pulled = self
            .registry
            .pull_mirrored(self.store, reference, &options, observer)
            .map_err(|source| ImageError::Pull { name: text(), source: Box::new(source) })?;
        let Some(pulled) = pulled else { return Ok(None) };
        let found = self.store.find_manifest(&pulled.manifest);
        found.map_err(|source| ImageError::Store { name: text(), source: Box::new(source) })
    }

    /// Returns the name for mirrors of the image of a configured folder, and the folder's sum.
    fn image_of_folder(
        &self,
        name: &ImageName,
        folder: &Path,
    ) -> Result<(ImageRef, Sha256Sum), ImageError> {
        let failed = |source| ImageError::Folder {
            name: name.as_str().to_owned(),
            source: Box::new(source),
        };
        let sum = self.building.hasher().whole_sum(folder).map_err(failed)?;
        let text = format!("{FOLDER_IMAGES}{sum}");
        let name = text.parse();
        let name =
            name.map_err(|source| ImageError::Name { name: text, source: Box::new(source) })?;
        Ok((name, sum))
    }

    /// Pulls the image of a configured folder from a mirror.
    pub(super) fn mirrored_of_folder(
        &self,
        name: &ImageName,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        if !self.registry.has_mirrors() {
            return Ok(None);
        }
        let (named, sum) = self.image_of_folder(name, folder)?;
        let Some(image) = self.mirrored(name, &named, observer)? else { return Ok(None) };
        // If the tree has a lock, the image must be made from the bases that the lock pins.
        let has_pins = self.building.pins.is_complete;
        Ok(Some(image)
            .filter(|image| !has_pins || self.is_still_of(name, image, &sum).unwrap_or(false)))
    }

    /// Pulls the image of a `docker/` folder from a mirror, and gives the image its names if the mirror is the
    /// user's.
    pub(super) fn mirrored_builder(
        &self,
        name: &ImageName,
        names: &[ImageRef],
        folder: &Sha256Sum,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ImageError> {
        let Some(image) = self.mirrored(name, &names[0], observer)? else { return Ok(None) };
        if !self.is_still_of(name, &image, folder)? {
            return Ok(None);
        }
        let may_name = self.building.may_build || self.building.may_pull_builders;
        // An image of a tree's own mirror came without that name, and gets none: other trees would
        // use it.
        if may_name && image.references.contains(&names[0]) {
            let failed = |source| ImageError::Store {
                name: name.as_str().to_owned(),
                source: Box::new(source),
            };
            self.store.name(&image, names, observer).map_err(failed)?;
        }
        Ok(Some(image))
    }

    /// Checks if the image of a name is present, or lists its missing inputs. Nothing is built.
    pub fn presence(
        &mut self,
        name: &ImageName,
        tree: &PackageTree,
        observer: &dyn Observer,
    ) -> Result<Presence, ImageError> {
        let is_away = |problem: &RegistryProblem| matches!(problem, RegistryProblem::Exchange(_));
        match self.find(name, tree, observer) {
            Ok(_) => Ok(Presence::Here),
            Err(error) if error.is_interruption() => Err(error),
            Err(ImageError::NotBuilt { folder, .. }) => {
                let missing = self.missing_bases(&folder, observer)?;
                Ok(Presence::ToBuild { folder, missing })
            }
            Err(ImageError::NotFound { pulled, .. })
                if pulled.as_ref().is_none_or(|error| is_away(&error.problem)) =>
            {
                self.origin(name).map(Presence::Missing)
            }
            Err(ImageError::Pull { source, .. }) if is_away(&source.problem) => {
                self.origin(name).map(Presence::Missing)
            }
            Err(ImageError::Pin { source, .. }) if source.is_away() => {
                self.origin(name).map(Presence::Missing)
            }
            Err(ImageError::Load { source, .. }) if is_absent(&source.problem) => {
                self.origin(name).map(Presence::Missing)
            }
            Err(error) => Err(error),
        }
    }

    /// Place from which an image would come, in skopeo's spelling.
    fn origin(&self, name: &ImageName) -> Result<String, ImageError> {
        let reference = reference(name)?;
        let pin = self.pin(name, &reference).ok().flatten();
        let place = self.place(name, &reference)?.unwrap_or(ImageLocation::Registry(reference));
        Ok(match (place, pin) {
            (ImageLocation::Registry(place), Some(pin)) => {
                ImageLocation::Registry(place.pinned_to(&pin.manifest)).to_string()
            }
            (place, _) => place.to_string(),
        })
    }

    /// Images that a mirror holds for a name: the image itself, unless a build is needed first, and
    /// the bases of its Dockerfile. The embedded builder needs none.
    pub fn for_mirror(
        &mut self,
        name: &ImageName,
        tree: &PackageTree,
        observer: &dyn Observer,
    ) -> Result<MirrorImages, ImageError> {
        let reference = reference(name)?;
        let manifest = match self.find(name, tree, observer) {
            Ok(found) => found.manifest,
            Err(ImageError::NotBuilt { folder, .. }) => {
                let images = self.fetch_bases(&folder, observer)?;
                return Ok(MirrorImages { images, is_built: false });
            }
            Err(error) => return Err(error),
        };
        let none = MirrorImages { images: Vec::new(), is_built: true };
        let Some(manifest) = manifest else { return Ok(none) };
        let failed =
            |source| ImageError::Store { name: name.as_str().to_owned(), source: Box::new(source) };
        let image = self.store.find_manifest(&manifest).map_err(failed)?;
        let image =
            image.ok_or_else(|| failed(ImageStoreError::not_found(manifest.to_string())))?;
        let (called, folder) = match self.place(name, &reference)? {
            Some(ImageLocation::Host) => return Ok(none),
            Some(ImageLocation::Stored(_)) => (reference, None),
            Some(ImageLocation::Registry(place)) => (place, None),
            Some(ImageLocation::Dockerfile(folder)) => {
                (self.image_of_folder(name, &folder)?.0, Some(folder))
            }
            None => match tree.docker_folder(name) {
                None => (reference, None),
                Some(folder) => {
                    let failed = |source| ImageError::Folder {
                        name: name.as_str().to_owned(),
                        source: Box::new(source),
                    };
                    let hasher = self.building.hasher();
                    let sum = hasher.hash_folder(folder.path).map_err(failed)?;
                    match &folder.tag {
                        DockerFolderTag::Sum(wanted) if *wanted != sum => (reference, None),
                        _ => {
                            let tag =
                                format!("{DOCKER_FOLDER_IMAGES}{}_dockerdir-{sum}", folder.name);
                            let named = tag.parse().map_err(|source| ImageError::Name {
                                name: tag,
                                source: Box::new(source),
                            })?;
                            (named, Some(folder.path.to_owned()))
                        }
                    }
                }
            },
        };
        let mut images = vec![MirrorImage { name: called, image }];
        if let Some(folder) = folder {
            images.extend(self.fetch_bases(&folder, observer)?);
        }
        Ok(MirrorImages { images, is_built: true })
    }
}

/// True if the place from which an image is loaded is not there.
pub(super) fn is_absent(problem: &LoadProblem) -> bool {
    matches!(problem, LoadProblem::Read(error) if error.kind() == std::io::ErrorKind::NotFound)
}

pub(super) fn reference(name: &ImageName) -> Result<ImageRef, ImageError> {
    let text = || name.as_str().to_owned();
    let parsed = name.as_str().parse();
    parsed.map_err(|source| ImageError::Name { name: text(), source: Box::new(source) })
}
