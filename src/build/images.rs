//! Finding the builder image that a name means (DESIGN, "Finding a builder image"): the
//! configuration, then the Dockerfiles of packages and of `rootfs/`, then the store, then the registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::archive::Limits;
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::container::helper::Interrupt;
use crate::dockerfile::BuildOptions;
use crate::dockerfile::execute::DockerfileError;
use crate::image::host::{HostError, HostImage};
use crate::image::load::LoadError;
use crate::image::location::{ImageLocation, LocationError};
use crate::image::reference::{ImageRef, ReferenceError};
use crate::image::registry::{Client, PullOptions, RegistryError};
use crate::image::store::{Image, ImageStore, StoreError};
use crate::package::ImageName;
use crate::source::FetchOptions;
use crate::tree::{DOCKER_FOLDER_IMAGES, DockerFolderTag, PackageTree};

use super::dockerfile::{ImageBuilder, log_name};
use super::home::Home;
use super::id::{FolderError, hash_folder};
use super::isolation::Wanted;
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
    /// It can't be built.
    #[error("image {name}")]
    Build {
        /// The name.
        name: String,
        /// What went wrong.
        #[source]
        source: Box<DockerfileError>,
    },
    /// The sum of the folder that it is built from can't be taken.
    #[error("image {name}")]
    Folder {
        /// The name.
        name: String,
        /// Why not.
        #[source]
        source: Box<FolderError>,
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
            Self::Build { source, .. } => return source.hint(),
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
    building: Building<'a>,
    found: BTreeMap<String, FoundImage>,
}

/// What building an image from a Dockerfile needs.
#[derive(Debug, Clone)]
pub struct Building<'a> {
    /// The builder's own folder.
    pub home: &'a Home,
    /// Which isolation.
    pub isolation: &'a Wanted,
    /// How sources are fetched.
    pub fetch: &'a FetchOptions,
    /// The latest time of files in layers, and what images say of their time.
    pub source_date_epoch: u64,
    /// Ends everything.
    pub interrupt: Arc<Interrupt>,
}

impl<'a> ImageFinder<'a> {
    /// Looks into the configuration's places, the store and registries; `limits` are those of what
    /// is loaded.
    pub fn new(
        places: &'a Places,
        store: &'a ImageStore,
        registry: &'a Client,
        limits: Limits,
        building: Building<'a>,
    ) -> Self {
        Self { places, store, registry, limits, building, found: BTreeMap::new() }
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
                let host = HostImage::detect(Path::new("/")).map_err(|source| {
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
            Some(ImageLocation::Dockerfile(folder)) => {
                let image = self.built(name, &folder, Vec::new(), observer)?;
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
            None if tree.docker_folder(name).is_some() => {
                let image = self.of_docker_folder(name, &reference, tree, observer)?;
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

    /// The image of a `docker/` folder: the one with the folder's sum from the store, else it is built. It is
    /// neither pulled nor pushed by that sum.
    fn of_docker_folder(
        &self,
        name: &ImageName,
        reference: &ImageRef,
        tree: &PackageTree,
        observer: &dyn Observer,
    ) -> Result<Image, ImageError> {
        let text = || name.as_str().to_owned();
        let nowhere =
            |pulled| ImageError::NotFound { name: name.clone(), pulled, docker_folder: None };
        let Some(folder) = tree.docker_folder(name) else { return Err(nowhere(None)) };
        let sum = hash_folder(folder.path)
            .map_err(|source| ImageError::Folder { name: text(), source: Box::new(source) })?;
        if let DockerFolderTag::Sum(wanted) = &folder.tag
            && *wanted != sum
        {
            // Of another state of the folder, which isn't there to be built.
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
        if let Some(image) = self.stored(name, &exact)? {
            return Ok(image);
        }
        self.built(name, folder.path, vec![exact, latest], observer)
    }

    /// Builds an image from a folder with a Dockerfile, unless all of it is in the cache.
    fn built(
        &self,
        name: &ImageName,
        folder: &Path,
        names: Vec<ImageRef>,
        observer: &dyn Observer,
    ) -> Result<Image, ImageError> {
        let text = || name.as_str().to_owned();
        let builder = ImageBuilder {
            home: self.building.home,
            store: self.store,
            registry: self.registry,
            isolation: self.building.isolation,
            fetch: self.building.fetch,
            limits: self.limits,
            interrupt: Arc::clone(&self.building.interrupt),
        };
        let options = BuildOptions {
            names,
            source_date_epoch: self.building.source_date_epoch,
            ..BuildOptions::of_folder(folder)
        };
        let built = builder
            .build(&log_name(&options.names, folder), &options, observer)
            .map_err(|source| ImageError::Build { name: text(), source: Box::new(source) })?;
        self.store
            .find_manifest(&built.manifest)
            .and_then(|found| found.ok_or_else(|| StoreError::NotFound(built.id.to_string())))
            .map_err(|source| ImageError::Store { name: text(), source: Box::new(source) })
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
