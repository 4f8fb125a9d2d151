//! Finding the builder image that a name means (DESIGN, "Finding a builder image"): the
//! configuration, then the store. Dockerfiles, mirrors and registries have their place between and
//! behind these.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::archive::Limits;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::image::host::{HostError, HostImage};
use crate::image::load::LoadError;
use crate::image::location::{ImageLocation, LocationError};
use crate::image::reference::{ImageRef, ReferenceError};
use crate::image::store::{ImageStore, StoreError};
use crate::package::ImageName;
use crate::tree::PackageTree;

use super::job::BuildRoot;

/// Where the configuration says that images are: name, place, and the folder that a relative path
/// starts from.
pub type Places = BTreeMap<String, (String, PathBuf)>;

/// An image that was found.
#[derive(Debug, Clone)]
pub struct FoundImage {
    /// Its id, which goes into the ids of packages.
    pub id: Sha256Sum,
    /// What builds are given of it.
    pub root: BuildRoot,
}

/// An image can't be found or used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The name is none.
    #[error("{name:?} is no image's name")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: Box<ReferenceError>,
    },
    /// The configuration says nowhere where it could be.
    #[error("mkpanda.toml, images.{name:?}")]
    Location {
        /// The name.
        name: String,
        /// What is wrong.
        #[source]
        source: Box<LocationError>,
    },
    /// It can't be loaded from where the configuration says.
    #[error("image {name}")]
    Load {
        /// The name.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<LoadError>,
    },
    /// The store can't be read.
    #[error("image {name}")]
    Store {
        /// The name.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<StoreError>,
    },
    /// The machine itself can't be used.
    #[error("image {name}: the embedded builder host")]
    Host {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: Box<HostError>,
    },
    /// It is nowhere.
    #[error("there is no image {name}")]
    NotFound {
        /// The name.
        name: ImageName,
        /// The `docker/` folder from which it could be built.
        docker_folder: Option<PathBuf>,
    },
}

impl ImageError {
    /// What to do: each way in which an image can be found, with its exact command.
    pub fn hint(&self) -> Option<String> {
        let (name, docker_folder) = match self {
            Self::NotFound { name, docker_folder } => (name, docker_folder),
            Self::Load { source, .. } => return source.problem.hint().map(str::to_owned),
            _ => return None,
        };
        let mut ways = vec![
            format!(
                "load it: mkpanda image load --name {name} FILE   (docker save, podman save or skopeo copy write such a FILE)"
            ),
            format!(
                "or say where it is, in mkpanda.toml beside the tree: [images] \"{name}\" = \"docker-archive:FILE\" (or oci-archive:FILE, oci:DIR)"
            ),
            format!("or build in this machine's own /usr: [images] \"{name}\" = \"host\""),
        ];
        if let Some(folder) = docker_folder {
            ways.push(format!(
                "or build it from {}, with a tool of your choice, and load it",
                folder.display()
            ));
        }
        Some(ways.join("\n"))
    }
}

/// Finds images, each once per run.
#[derive(Debug)]
pub struct ImageFinder<'a> {
    places: &'a Places,
    store: &'a ImageStore,
    limits: Limits,
    found: BTreeMap<String, FoundImage>,
}

impl<'a> ImageFinder<'a> {
    /// Looks into the configuration's places and the store; `limits` are those of what is loaded.
    pub fn new(places: &'a Places, store: &'a ImageStore, limits: Limits) -> Self {
        Self { places, store, limits, found: BTreeMap::new() }
    }

    /// Finds the image of a name.
    pub fn find(
        &mut self,
        name: &ImageName,
        tree: &PackageTree,
        observer: &dyn Observer,
    ) -> Result<FoundImage, ImageError> {
        if let Some(found) = self.found.get(name.as_str()) {
            return Ok(found.clone());
        }
        let text = || name.as_str().to_owned();
        let reference: ImageRef = name
            .as_str()
            .parse()
            .map_err(|source| ImageError::Name { name: text(), source: Box::new(source) })?;
        let found = match self.place(name, &reference)? {
            Some(ImageLocation::Host) => {
                let host = HostImage::detect(std::path::Path::new("/")).map_err(|source| {
                    ImageError::Host { name: text(), source: Box::new(source) }
                })?;
                FoundImage {
                    id: host.id.sum().clone(),
                    root: BuildRoot::Host { root: host.root, config: host.config },
                }
            }
            Some(ImageLocation::Stored(place)) => {
                let image =
                    self.store.at_location(&place, &reference, self.limits, observer).map_err(
                        |source| ImageError::Load { name: text(), source: Box::new(source) },
                    )?;
                FoundImage {
                    id: image.id.sum().clone(),
                    root: BuildRoot::Layers(image.root(self.store)),
                }
            }
            None => {
                let image = self
                    .store
                    .find(&reference)
                    .map_err(|source| ImageError::Store { name: text(), source: Box::new(source) })?
                    .ok_or_else(|| ImageError::NotFound {
                        name: name.clone(),
                        docker_folder: tree
                            .docker_folder(name)
                            .map(|folder| folder.path.to_owned()),
                    })?;
                FoundImage {
                    id: image.id.sum().clone(),
                    root: BuildRoot::Layers(image.root(self.store)),
                }
            }
        };
        tracing::info!(%name, id = %found.id, "found an image");
        self.found.insert(text(), found.clone());
        Ok(found)
    }

    /// Where the configuration says that an image is, by the name as written or any that means the
    /// same.
    fn place(
        &self,
        name: &ImageName,
        reference: &ImageRef,
    ) -> Result<Option<ImageLocation>, ImageError> {
        let same =
            |known: &&String| known.parse::<ImageRef>().is_ok_and(|known| known == *reference);
        let configured = self
            .places
            .get(name.as_str())
            .or_else(|| self.places.keys().find(same).and_then(|known| self.places.get(known)));
        let Some((text, base)) = configured else { return Ok(None) };
        let location: ImageLocation = text.parse().map_err(|source| ImageError::Location {
            name: name.as_str().to_owned(),
            source: Box::new(source),
        })?;
        Ok(Some(location.relative_to(base)))
    }
}
