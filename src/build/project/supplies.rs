//! All external inputs of a project's builds: sources, upstreams and images, and fetching them without
//! building anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{Project, ProjectError};
use crate::base::event::Observer;
use crate::base::parallel;
use crate::build::images::{BuilderUpload, Building, ImageError, ImageFinder, MirrorImage};
use crate::build::upstream;
use crate::dockerfile::execute::AddedError;
use crate::image::store::ImageStore;
use crate::package::ImageName;
use crate::source::{self, FetchOptions, FetchedSource, SourceError, SourceRequest};
use crate::tree::PackageKey;

/// Input that could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum SupplyFailure {
    /// A source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A source that a Dockerfile adds.
    #[error(transparent)]
    Added(#[from] AddedError),
}

impl SupplyFailure {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.problem.hint(),
            Self::Image(error) => error.hint(),
            Self::Added(error) => error.hint(),
        }
    }
}

/// Fetched inputs, and failures.
#[derive(Debug, Default)]
pub struct Supplies {
    /// Sources.
    pub sources: Vec<(SourceRequest, FetchedSource)>,
    /// Images in the form of a mirror.
    pub images: Vec<MirrorImage>,
    /// Unbuilt images, of which only the base images are present.
    pub unbuilt: Vec<ImageName>,
    /// Failures.
    pub failures: Vec<SupplyFailure>,
}

impl Project {
    /// The sources of packages, each once, without upstreams.
    pub(super) fn own_requests(&self, keys: &[PackageKey]) -> Vec<SourceRequest> {
        let packages = keys.iter().filter_map(|key| self.tree.package(key));
        let mut seen = BTreeSet::new();
        let requests = packages.flat_map(|package| {
            let sources = package.info.sources.iter();
            sources.map(move |(name, declared)| self.request(package, name, declared))
        });
        requests
            .filter(|request| {
                let shown = format!("{:?}", request.source);
                seen.insert((request.cache_dir.clone(), shown))
            })
            .collect()
    }

    /// The sources of packages and the upstreams of the tree, each once.
    pub fn source_requests(&self, keys: &[PackageKey]) -> Result<Vec<SourceRequest>, ProjectError> {
        let mut requests = upstream::requests(&self.options.packages, &self.options.local_sources)?;
        requests.extend(self.own_requests(keys));
        Ok(requests)
    }

    /// The images of packages, with the packages that are built in each.
    pub fn image_names(&self, keys: &[PackageKey]) -> Vec<(ImageName, Vec<PackageKey>)> {
        let mut names: BTreeMap<String, (ImageName, Vec<PackageKey>)> = BTreeMap::new();
        for key in keys {
            let Some(package) = self.tree.package(key) else { continue };
            let image = package.info.image();
            let entry = names.entry(image.as_str().to_owned());
            entry.or_insert_with(|| (image, Vec::new())).1.push(key.clone());
        }
        names.into_values().collect()
    }

    /// The image of a `docker/` folder that this home has, for caches; `None` for any other name.
    pub fn builder_upload(
        &self,
        name: &ImageName,
        observer: &dyn Observer,
    ) -> Result<Option<BuilderUpload>, ImageError> {
        let store = ImageStore::open(self.options.runner.home.root()).map_err(|source| {
            ImageError::Store { name: name.as_str().to_owned(), source: Box::new(source) }
        })?;
        self.finder(&store, false).builder_upload(name, &self.tree, observer)
    }

    /// Options of fetching sources.
    pub fn fetch_options(&self) -> &FetchOptions {
        &self.options.fetch
    }

    /// Fetches sources and the images of packages, with limited parallelism. A failure does not
    /// stop the others.
    pub fn fetch_all(
        &self,
        requests: Vec<SourceRequest>,
        keys: &[PackageKey],
        jobs: usize,
        observer: &dyn Observer,
    ) -> Result<Supplies, ProjectError> {
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        self.note(observer);
        let (fetched, images) = std::thread::scope(|scope| {
            let fetched = scope.spawn(|| {
                parallel::each(&requests, jobs, observer, |request| {
                    source::identify(request, &self.options.fetch, observer)
                        .and_then(|id| source::fetch(request, &id, &self.options.fetch, observer))
                })
            });
            // In this thread, beside the sources: images come from other servers.
            let images = self.fetch_images(&store, keys, observer);
            let fetched = fetched.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (fetched, images)
        });
        if observer.is_interrupted() {
            return Err(ProjectError::Interrupted);
        }
        let mut supplies = images?;
        let mut failures = Vec::new();
        for (request, result) in requests.into_iter().zip(fetched) {
            match result {
                Some(Ok(found)) => supplies.sources.push((request, found)),
                Some(Err(error)) => failures.push(SupplyFailure::Source(error)),
                None => {}
            }
        }
        failures.append(&mut supplies.failures);
        supplies.failures = failures;
        Ok(supplies)
    }

    fn fetch_images(
        &self,
        store: &ImageStore,
        keys: &[PackageKey],
        observer: &dyn Observer,
    ) -> Result<Supplies, ProjectError> {
        let mut supplies = Supplies::default();
        let building = Building { may_pull_builders: true, ..self.building(false) };
        let (image_locations, registry) = (&self.options.image_locations, &self.options.registry);
        let mut finder = ImageFinder::new(image_locations, store, registry, building);
        for (name, _) in self.image_names(keys) {
            match finder.for_mirror(&name, &self.tree, observer) {
                Ok(found) => {
                    supplies.unbuilt.extend((!found.is_built).then_some(name));
                    for image in found.images {
                        if !supplies.images.contains(&image) {
                            supplies.images.push(image);
                        }
                    }
                }
                Err(error) if error.is_interruption() => return Err(ProjectError::Interrupted),
                Err(error) => supplies.failures.push(error.into()),
            }
        }
        Ok(supplies)
    }
}
