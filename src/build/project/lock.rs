//! External inputs of a project, and its lock: all mismatches are found before anything is fetched or
//! built.

use std::collections::{BTreeMap, BTreeSet};

use super::{Project, ProjectError};
use crate::base::event::{Event, Observer, Silent};
use crate::base::http::redact_text;
use crate::build::images::{ForeignImage, ForeignInputs, ImageFinder};
use crate::build::upstream;
use crate::dockerfile::execute::AddedPlace;
use crate::image::pins::ImagePins;
use crate::image::store::ImageStore;
use crate::package::ImageName;
use crate::source::{self, AddedKey, SourceId, SourceRequest};
use crate::tree::lock::{
    LockFault, LockFaults, MissingEntry, SourceKey, TreeLock, WantedSource, is_own,
};
use crate::tree::{PackageKey, TreeError};

/// External source, with one of the requests that fetch it.
#[derive(Debug, Clone)]
pub(super) struct ForeignSource {
    pub(super) wanted: WantedSource,
    pub(super) request: SourceRequest,
}

/// External image, with its name in packages.
#[derive(Debug, Clone)]
pub(super) struct NamedImage {
    pub(super) image: ForeignImage,
    pub(super) name: ImageName,
    /// Packages that need the image.
    pub(super) users: BTreeSet<String>,
}

/// Source of ADD in the Dockerfile of an image.
#[derive(Debug, Clone)]
pub(super) struct AddedSource {
    pub(super) place: AddedPlace,
    /// Packages that need the image.
    pub(super) users: BTreeSet<String>,
}

/// External images, and other inputs of their Dockerfiles.
#[derive(Debug, Clone, Default)]
pub(super) struct ForeignImages {
    pub(super) images: Vec<NamedImage>,
    pub(super) added: BTreeMap<AddedKey, AddedSource>,
    /// True if a base image of a Dockerfile is not here, so that there may be more.
    pub(super) is_partial: bool,
}

/// All external inputs.
#[derive(Debug, Clone, Default)]
pub(super) struct Foreign {
    pub(super) upstreams: Vec<ForeignSource>,
    pub(super) sources: Vec<ForeignSource>,
    pub(super) images: ForeignImages,
}

impl Foreign {
    /// Names of inputs for `--update`, without URLs that have secrets in them.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for source in self.upstreams.iter().chain(&self.sources) {
            for user in &source.wanted.users {
                names.extend(user.split_once('/').map(|(package, _)| package.to_owned()));
                names.insert(user.clone());
            }
            names.insert(source.wanted.key.place().1.to_owned());
        }
        names.extend(self.images.images.iter().map(|named| named.image.key.name.familiar()));
        names.extend(self.images.added.keys().map(|key| key.url().to_owned()));
        names.retain(|name| redact_text(name) == *name);
        names
    }

    /// Lists inputs that the lock lacks or has with other values.
    pub(super) fn faults(&self, lock: &TreeLock) -> Vec<LockFault> {
        let of = |sources, found: &ForeignSource| LockFault::of_source(sources, &found.wanted);
        let upstreams = self.upstreams.iter().filter_map(|found| of(&lock.upstreams, found));
        let sources = self.sources.iter().filter_map(|found| of(&lock.sources, found));
        let added = self.images.added.iter().filter(|(key, _)| !lock.added.contains_key(key));
        let added = added.map(|(key, source)| LockFault::Missing {
            what: MissingEntry::Added(key.clone()),
            users: source.users.clone(),
        });
        let images = self.images.images.iter().filter_map(|NamedImage { image, users, .. }| {
            let images = if image.is_base { &lock.base_images } else { &lock.images };
            LockFault::of_image(images, &image.key, image.is_base, users)
        });
        upstreams.chain(sources).chain(images).chain(added).collect()
    }
}

impl Project {
    /// Fails if an existing lock lacks inputs of packages, or has them with other digests.
    pub fn check_lock(&self, keys: &[PackageKey]) -> Result<(), ProjectError> {
        let Some(lock) = self.options.lock.clone() else { return Ok(()) };
        let items = self.foreign(keys, &self.pins)?.faults(&lock);
        if items.is_empty() {
            return Ok(());
        }
        Err(ProjectError::Lock(Box::new(LockFaults { path: lock.path.clone(), items })))
    }

    /// Collects all external inputs of packages and of the tree itself; `pins` are those of images,
    /// which may have triggers. Unknown inputs are left out: a build reports their problem.
    pub(super) fn foreign(
        &self,
        keys: &[PackageKey],
        pins: &ImagePins,
    ) -> Result<Foreign, ProjectError> {
        let upstreams = upstream::requests(&self.options.packages, &self.options.local_sources)?;
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        let finder = self.pinned_finder(&store, pins, &self.options.registry);
        Ok(Foreign {
            upstreams: self.foreign_sources(upstreams),
            sources: self.foreign_sources(self.own_requests(keys)),
            images: self.foreign_images(&finder, keys),
        })
    }

    fn foreign_sources(&self, requests: Vec<SourceRequest>) -> Vec<ForeignSource> {
        let mut found: BTreeMap<SourceKey, ForeignSource> = BTreeMap::new();
        for request in requests {
            let spec = &request.source.spec;
            if is_own(&self.options.packages, &request.package_dir, spec) {
                continue;
            }
            let head = match source::identify(&request, &self.options.fetch, &Silent) {
                Ok(SourceId::Commit(commit)) => Some(commit),
                _ => None,
            };
            let Some(key) = SourceKey::of(spec, head.as_ref()) else { continue };
            let user = request.subject();
            let entry = found.entry(key.clone()).or_insert_with(|| ForeignSource {
                wanted: WantedSource { key, users: BTreeSet::new() },
                request,
            });
            entry.wanted.users.insert(user);
        }
        found.into_values().collect()
    }

    pub(super) fn foreign_images(
        &self,
        finder: &ImageFinder<'_>,
        keys: &[PackageKey],
    ) -> ForeignImages {
        let mut found: BTreeMap<_, NamedImage> = BTreeMap::new();
        let mut foreign = ForeignImages::default();
        for (name, keys) in self.image_names(keys) {
            let packages = || keys.iter().map(|key| key.name.to_string());
            // Of a faulty Dockerfile the inputs are unknown.
            let unknown = |_| ForeignInputs { is_partial: true, ..ForeignInputs::default() };
            let inputs = finder.foreign(&name, &self.tree).unwrap_or_else(unknown);
            foreign.is_partial |= inputs.is_partial;
            for image in inputs.images {
                let entry = found.entry((image.is_base, image.key.clone()));
                let entry = entry.or_insert_with(|| NamedImage {
                    image,
                    name: name.clone(),
                    users: BTreeSet::new(),
                });
                entry.users.extend(packages());
            }
            for (key, place) in inputs.added {
                let new = || AddedSource { place, users: BTreeSet::new() };
                foreign.added.entry(key).or_insert_with(new).users.extend(packages());
            }
        }
        foreign.images = found.into_values().collect();
        foreign
    }

    /// Returns the packages covered by a lock of the whole tree: the packages of all tree variants,
    /// all packages in the folder itself, and their requirements. A faulty one among them causes a
    /// warning.
    pub fn lockable(&self, observer: &dyn Observer) -> Vec<PackageKey> {
        let mut found = BTreeSet::new();
        // A fault of a tree is that of one of its packages as well.
        let mut told: BTreeSet<String> = BTreeSet::new();
        let mut add = |result: Result<Vec<PackageKey>, TreeError>| {
            let faults: Vec<String> = match result {
                Ok(keys) => return found.extend(keys),
                Err(TreeError::Problems(reports)) => {
                    reports.iter().map(ToString::to_string).collect()
                }
                Err(error) => vec![error.to_string()],
            };
            for fault in faults {
                let message = format!("left out of the lock: {fault}");
                if told.insert(fault) {
                    let subject = String::new();
                    observer.event(Event::Warning { subject, message });
                }
            }
        };
        for variant in self.tree.tree_variants().unwrap_or_default() {
            add(self.tree.resolve(&variant).map(|set| set.packages));
        }
        let own = |key: &PackageKey| {
            let package = self.tree.package(key);
            package.and_then(|package| package.folder.parent()) == Some(&self.options.packages)
        };
        for key in self.tree.keys().filter(own).collect::<Vec<_>>() {
            add(self.tree.resolve_packages(&[key]).map(|set| set.packages));
        }
        found.into_iter().collect()
    }
}
