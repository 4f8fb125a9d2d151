//! Finding the builder image that a name means (DESIGN, "Finding a builder image"): the
//! configuration, then the store, then the registry. Dockerfiles have their place between these.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::archive::Limits;
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::image::host::{HostError, HostImage};
use crate::image::load::LoadError;
use crate::image::location::{ImageLocation, LocationError};
use crate::image::reference::{ImageRef, ReferenceError};
use crate::image::registry::{Client, PullOptions, RegistryError};
use crate::image::store::{Image, ImageStore, StoreError};
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
    /// It can't be pulled from where the configuration says.
    #[error("image {name}")]
    Pull {
        /// The name.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<RegistryError>,
    },
    /// It is nowhere.
    #[error("there is no image {name}{}", tried(pulled.as_deref()))]
    NotFound {
        /// The name.
        name: ImageName,
        /// Why its registry doesn't give it.
        pulled: Option<Box<RegistryError>>,
        /// The `docker/` folder from which it could be built.
        docker_folder: Option<PathBuf>,
    },
}

impl ImageError {
    /// What to do: each way in which an image can be found, with its exact command.
    pub fn hint(&self) -> Option<String> {
        let (name, docker_folder) = match self {
            Self::NotFound { name, docker_folder, .. } => (name, docker_folder),
            Self::Pull { source, .. } => return source.hint(),
            Self::Load { source, .. } => return source.problem.hint().map(str::to_owned),
            _ => return None,
        };
        let mut ways = vec![
            format!("pull it: mkpanda image pull {name}"),
            format!(
                "or load it: mkpanda image load --name {name} FILE   (docker save, podman save or skopeo copy write such a FILE)"
            ),
            format!(
                "or say where it is, in mkpanda.toml beside the tree: [images] \"{name}\" = \"docker-archive:FILE\" (or oci-archive:FILE, oci:DIR, docker://REFERENCE)"
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

fn tried(error: Option<&RegistryError>) -> String {
    error.map_or_else(String::new, |error| format!(": {}", with_causes(error)))
}

/// Finds images, each once per run.
#[derive(Debug)]
pub struct ImageFinder<'a> {
    places: &'a Places,
    store: &'a ImageStore,
    registry: &'a Client,
    limits: Limits,
    found: BTreeMap<String, FoundImage>,
}

impl<'a> ImageFinder<'a> {
    /// Looks into the configuration's places, the store and registries; `limits` are those of what
    /// is loaded.
    pub fn new(
        places: &'a Places,
        store: &'a ImageStore,
        registry: &'a Client,
        limits: Limits,
    ) -> Self {
        Self { places, store, registry, limits, found: BTreeMap::new() }
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
                self.layers(&image)
            }
            Some(ImageLocation::Registry(place)) => {
                let failed = |source| ImageError::Pull { name: text(), source };
                let image = match self.stored(name, &place)? {
                    Some(image) => image,
                    None => self.pulled(name, &place, observer)?.map_err(failed)?,
                };
                self.layers(&image)
            }
            None => {
                let missing = |error| ImageError::NotFound {
                    name: name.clone(),
                    pulled: error,
                    docker_folder: tree.docker_folder(name).map(|folder| folder.path.to_owned()),
                };
                let image = match self.stored(name, &reference)? {
                    Some(image) => image,
                    // A registry's would be made of another folder.
                    None if tree.docker_folder(name).is_some() => return Err(missing(None)),
                    None => {
                        let pulled = self.pulled(name, &reference, observer)?;
                        pulled.map_err(|error| missing(Some(error)))?
                    }
                };
                self.layers(&image)
            }
        };
        tracing::info!(%name, id = %found.id, "found an image");
        self.found.insert(text(), found.clone());
        Ok(found)
    }

    fn layers(&self, image: &Image) -> FoundImage {
        let root = BuildRoot::Layers(image.root(self.store));
        FoundImage { id: image.id.sum().clone(), root }
    }

    fn stored(&self, name: &ImageName, reference: &ImageRef) -> Result<Option<Image>, ImageError> {
        let name = || name.as_str().to_owned();
        let found = self.store.find(reference);
        found.map_err(|source| ImageError::Store { name: name(), source: Box::new(source) })
    }

    /// Pulls an image that the store doesn't have. What is found wrong there is another error than
    /// that it can't be pulled.
    fn pulled(
        &self,
        name: &ImageName,
        reference: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Result<Image, Box<RegistryError>>, ImageError> {
        let options = PullOptions { limits: self.limits, ..PullOptions::default() };
        if let Err(error) = self.registry.pull(self.store, reference, &options, None, observer) {
            return Ok(Err(Box::new(error)));
        }
        let gone = || StoreError::NotFound(reference.familiar());
        let store =
            |source| ImageError::Store { name: name.as_str().to_owned(), source: Box::new(source) };
        self.stored(name, reference)?.ok_or_else(gone).map(Ok).map_err(store)
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
