//! Finds the builder image of a name (docs/format.md, "Builder images"): in the configuration, then
//! among the Dockerfiles of packages and of `rootfs/` (`folder`), then in the store, then in the
//! registry.

mod bases;
mod cached;
mod error;
mod folder;
mod mirrored;
mod pinned;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::artifact::shared_cache::SharedCaches;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::build::id::FileHasher;
use crate::dockerfile::ImageBuildOptions;
use crate::dockerfile::builder::{ImageBuilder, log_name};
use crate::dockerfile::execute::DockerfileError;
use crate::dockerfile::step::RunNetwork;
use crate::image::config::RunConfig;
use crate::image::digest::BlobDigest;
use crate::image::host::HostImage;
use crate::image::location::{ImageLocation, StoredImage};
use crate::image::pins::ImagePins;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::{Client, RegistryError};
use crate::image::store::{Image, ImageStore, ImageStoreError, RootImage};
use crate::package::ImageName;
use crate::source::FetchOptions;
use crate::tree::PackageTree;

use crate::runner::command::CommandRoot;
use crate::runner::session::RunnerSettings;

pub use cached::BuilderUpload;
pub use error::ImageError;
pub use folder::SharedBuilders;
pub use mirrored::{MirrorImage, Presence};
pub use pinned::{ForeignImage, ForeignInputs};

/// Configured locations of images: name, location, and the folder for relative paths.
pub type ImageLocations = BTreeMap<String, (String, PathBuf)>;

/// Result of the search.
#[derive(Debug, Clone)]
pub struct FoundImage {
    /// Id of the image, part of packages' ids.
    pub id: Sha256Sum,
    /// Its manifest in the store; the machine itself has none.
    pub manifest: Option<BlobDigest>,
    /// Root file system of builds.
    pub root: CommandRoot,
    /// Environment, entrypoint, user and working directory of builds.
    pub config: RunConfig,
}

/// Finds images, each once per run.
#[derive(Debug)]
pub struct ImageFinder<'a> {
    image_locations: &'a ImageLocations,
    store: &'a ImageStore,
    registry: &'a Client,
    building: Building<'a>,
    /// Registries that could not be asked for builders.
    silent: BTreeSet<String>,
    found: BTreeMap<String, FoundImage>,
}

/// Inputs for building an image from a Dockerfile.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a permission or a wish of its own")]
pub struct Building<'a> {
    /// Settings of everything that runs in containers.
    pub runner: &'a RunnerSettings,
    /// Options for fetching sources.
    pub fetch: &'a FetchOptions,
    /// Images pinned to names.
    pub pins: &'a ImagePins,
    /// Latest time of files in layers, and the creation time of images.
    pub source_date_epoch: u64,
    /// Packages folder of the tree, absolute and without symlinks.
    pub tree: &'a Path,
    /// Registry for images of `docker/` folders.
    pub shared: &'a SharedBuilders,
    /// True if the output of commands is shown while they run.
    pub shows_output: bool,
    /// Network of commands.
    pub network: RunNetwork,
    /// Shared caches, in which images of `docker/` folders are looked up before and put after they are built.
    pub caches: &'a SharedCaches,
    /// True if images may be built; if not, those whose steps are all in the cache are found.
    pub may_build: bool,
    /// True if nothing may change: no image is pulled.
    pub is_preview: bool,
    /// True if images of `docker/` folders are looked for in registries although they may not be built.
    pub may_pull_builders: bool,
}

impl<'a> Building<'a> {
    fn hasher(&self) -> FileHasher<'a> {
        FileHasher::of(self.runner)
    }
}

impl ImageFinder<'_> {
    /// Scope of the caches of a folder's commands: the tree and the folder. Another tree can have the same
    /// folder by a link, and other base images and mirrors for it.
    fn cache_scope(&self, folder: &Path) -> PathBuf {
        let folder = folder.canonicalize().unwrap_or_else(|_error| folder.to_owned());
        self.building.tree.join(folder.strip_prefix("/").unwrap_or(&folder))
    }
}

impl<'a> ImageFinder<'a> {
    /// Looks into the configuration's places, the store and registries.
    pub fn new(
        image_locations: &'a ImageLocations,
        store: &'a ImageStore,
        registry: &'a Client,
        building: Building<'a>,
    ) -> Self {
        Self {
            image_locations,
            store,
            registry,
            building,
            silent: BTreeSet::new(),
            found: BTreeMap::new(),
        }
    }

    /// Finds the image of a name.
    pub fn find(
        &mut self,
        name: &ImageName,
        tree: &PackageTree,
        observer: &dyn Observer,
    ) -> Result<FoundImage, ImageError> {
        if self.building.runner.interrupt.is_raised() {
            return Err(ImageError::Interrupted);
        }
        // Once a run, so that all packages of a run are built in the same image, whatever a tag
        // means by then.
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
                    manifest: None,
                    root: CommandRoot::Host(host.root),
                    config: host.config,
                }
            }
            Some(ImageLocation::Stored(place)) => {
                let image = self.at_location(name, &place, &reference, observer)?;
                self.layers(&image)
            }
            Some(ImageLocation::Dockerfile(folder)) => {
                let mirrored = self.mirrored_of_folder(name, &folder, observer)?;
                let image = match mirrored {
                    Some(image) => image,
                    None => self.built(name, &folder, (Vec::new(), None), observer)?,
                };
                self.layers(&image)
            }
            Some(ImageLocation::Registry(place)) => {
                let failed = |source| ImageError::Pull { name: text(), source };
                let image = match self.pinned(name, &reference, &place, observer)? {
                    Some(image) => image,
                    None => match self.stored(name, &place)? {
                        Some(image) => image,
                        None => self.pulled(name, &place, observer)?.map_err(failed)?,
                    },
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
                let found = match self.pinned(name, &reference, &reference, observer)? {
                    None => self.stored(name, &reference)?,
                    pinned => pinned,
                };
                let image = match found {
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

    /// The image of a place on disk, or that of a mirror if the place is not here.
    fn at_location(
        &self,
        name: &ImageName,
        place: &StoredImage,
        reference: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Image, ImageError> {
        let limits = self.building.runner.archives;
        let error = match self.store.at_location(place, reference, limits, observer) {
            Ok(image) => return self.check_pin(name, reference, image),
            Err(error) => error,
        };
        let failed = |source| ImageError::Load { name: name.as_str().to_owned(), source };
        if mirrored::is_absent(&error.problem)
            && let Some(image) =
                self.mirrored(name, &self.pinned_name(name, reference)?, observer)?
        {
            return self.check_pin(name, reference, image);
        }
        Err(failed(Box::new(error)))
    }

    /// Builds an image from a folder with a Dockerfile, unless the cache has all of its steps.
    fn built(
        &self,
        name: &ImageName,
        folder: &Path,
        (names, shared_as): (Vec<ImageRef>, Option<Sha256Sum>),
        observer: &dyn Observer,
    ) -> Result<Image, ImageError> {
        let text = || name.as_str().to_owned();
        let builder = ImageBuilder {
            pulls: false,
            runner: self.building.runner,
            store: self.store,
            registry: self.registry,
            pins: self.building.pins,
            fetch: self.building.fetch,
            shows_output: self.building.shows_output,
            only_cached: !self.building.may_build,
        };
        // Looking for an image is no reason to give it a name.
        let names = if self.building.may_build { names } else { Vec::new() };
        let options = ImageBuildOptions {
            cache_scope: Some(self.cache_scope(folder)),
            names,
            shared_as,
            network: self.building.network,
            source_date_epoch: self.building.source_date_epoch,
            ..ImageBuildOptions::of_folder(folder)
        };
        let built = builder.build(&log_name(&options.names, folder), &options, observer).map_err(
            |source| match source {
                DockerfileError::Step { .. } | DockerfileError::Image { .. }
                    if !self.building.may_build =>
                {
                    ImageError::NotBuilt { name: name.clone(), folder: folder.to_owned() }
                }
                source => ImageError::Build { name: text(), source: Box::new(source) },
            },
        )?;
        self.store
            .find_manifest(&built.manifest)
            .and_then(|found| found.ok_or_else(|| ImageStoreError::not_found(built.id.to_string())))
            .map_err(|source| ImageError::Store { name: text(), source: Box::new(source) })
    }

    fn layers(&self, image: &Image) -> FoundImage {
        let RootImage { layers, config, .. } = image.root(self.store);
        FoundImage {
            id: image.id.sum().clone(),
            manifest: Some(image.manifest.clone()),
            root: CommandRoot::Layers(layers),
            config,
        }
    }

    fn stored(&self, name: &ImageName, reference: &ImageRef) -> Result<Option<Image>, ImageError> {
        let name = || name.as_str().to_owned();
        let found = self.store.find(reference);
        found.map_err(|source| ImageError::Store { name: name(), source: Box::new(source) })
    }

    /// Pulls a missing image. The inner error is a failed pull; the outer one is a fault of the
    /// pulled image.
    fn pulled(
        &self,
        name: &ImageName,
        reference: &ImageRef,
        observer: &dyn Observer,
    ) -> Result<Result<Image, Box<RegistryError>>, ImageError> {
        if self.building.is_preview {
            // Of an image that would be pulled, the manifest alone is asked for: it has to be there.
            let is_there = self.registry.is_mirrored(reference, &Platform::host(), observer);
            return match if is_there { Ok(()) } else { self.registry.look(reference, observer) } {
                Ok(()) => Err(ImageError::NotPulled { name: name.clone() }),
                Err(error) => Ok(Err(Box::new(error))),
            };
        }
        let options = self.pull_options(Platform::host());
        let pulled = match self.registry.pull(self.store, reference, &options, None, observer) {
            Ok(pulled) => pulled,
            Err(error) => return Ok(Err(Box::new(error))),
        };
        let gone = || ImageStoreError::not_found(reference.familiar());
        let store =
            |source| ImageError::Store { name: name.as_str().to_owned(), source: Box::new(source) };
        // It may have got no name.
        let found = self.store.find_manifest(&pulled.manifest);
        found.and_then(|found| found.ok_or_else(gone)).map(Ok).map_err(store)
    }

    /// Returns the configured location of an image, by the written name or an equivalent one.
    fn place(
        &self,
        name: &ImageName,
        reference: &ImageRef,
    ) -> Result<Option<ImageLocation>, ImageError> {
        let same =
            |known: &&String| known.parse::<ImageRef>().is_ok_and(|known| known == *reference);
        let configured = self.image_locations.get(name.as_str()).or_else(|| {
            self.image_locations.keys().find(same).and_then(|known| self.image_locations.get(known))
        });
        let Some((text, base)) = configured else { return Ok(None) };
        let location: ImageLocation = text.parse().map_err(|source| ImageError::Location {
            name: name.as_str().to_owned(),
            source: Box::new(source),
        })?;
        Ok(Some(location.relative_to(base)))
    }
}
