//! Search for inputs that a run without network lacks, before any build.

use std::collections::{BTreeMap, BTreeSet};

use super::{Project, ProjectError, ProjectOptions};
use crate::artifact::repository::Repository;
use crate::base::event::Observer;
use crate::build::cache::Cache;
use crate::build::images::{ImageFinder, Presence};
use crate::build::missing::{MissingInput, MissingList};
use crate::build::upstream;
use crate::image::store::ImageStore;
use crate::source::{self, MissingSource};
use crate::tree::{PackageKey, PackageTree};

impl Project {
    /// Lists everything that packages lack without a network: images, their bases and sources.
    /// `order` is a dependency order. Sources of packages that are there already are not needed, except those
    /// of `with_sources`. Nothing is built.
    pub fn check_offline(
        &self,
        order: &[PackageKey],
        with_sources: &[PackageKey],
        repository: Option<&Repository>,
        observer: &dyn Observer,
    ) -> Result<(), ProjectError> {
        if !self.options.fetch.offline {
            return Ok(());
        }
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        let mut finder = self.finder(&store, false);
        let mut items = Vec::new();
        let present = self.missing_images(&mut finder, order, &mut items, observer)?;
        // A package whose image is missing, or which requires such a package, has no id, and is not
        // in a cache.
        let mut with = Vec::new();
        let mut without = BTreeSet::new();
        for key in order {
            let has_id = present.contains(key)
                && self.tree.requires(key).iter().all(|required| !without.contains(required));
            if has_id {
                with.push(key.clone());
            } else {
                without.insert(key.clone());
            }
        }
        let identified = self.identify_by(&mut finder, &with, observer)?;
        let is_there = |key: &PackageKey| {
            identified.identities.get(key).is_some_and(|identity| {
                self.cache.has(&identity.id)
                    || repository.is_some_and(|repository| repository.has_locally(&identity.id))
            })
        };
        let is_needed = |key: &&PackageKey| with_sources.contains(key) || !is_there(key);
        let needed: Vec<PackageKey> = order.iter().filter(is_needed).cloned().collect();
        let requests = self.own_requests(&needed);
        let sources = source::missing(&requests, &self.options.fetch, observer);
        let sources = sources.ok_or(ProjectError::Interrupted)?;
        items.extend(sources.into_iter().map(MissingInput::Source));
        self.listed(items)
    }

    fn listed(&self, items: Vec<MissingInput>) -> Result<(), ProjectError> {
        let only_mirrors = self.options.fetch.only_mirrors;
        if items.is_empty() {
            return Ok(());
        }
        Err(ProjectError::Missing(MissingList { items, only_mirrors }))
    }

    /// Lists missing images; returns the packages whose images are here.
    fn missing_images(
        &self,
        finder: &mut ImageFinder<'_>,
        keys: &[PackageKey],
        items: &mut Vec<MissingInput>,
        observer: &dyn Observer,
    ) -> Result<BTreeSet<PackageKey>, ProjectError> {
        let mut present = BTreeSet::new();
        let mut bases = BTreeMap::new();
        for (name, keys) in self.image_names(keys) {
            match finder.presence(&name, &self.tree, observer) {
                Ok(Presence::ToBuild { missing, .. }) => {
                    bases.extend(missing.into_iter().map(|base| (base, name.clone())));
                }
                Ok(Presence::Missing(origin)) => {
                    let packages = keys.iter().map(|key| key.name.to_string()).collect();
                    items.push(MissingInput::Image { name, packages, origin });
                }
                Err(error) if error.is_interruption() => return Err(ProjectError::Interrupted),
                // Other problems are reported with the package's id.
                Ok(Presence::Here) | Err(_) => present.extend(keys),
            }
        }
        items
            .extend(bases.into_iter().map(|(name, image)| MissingInput::BaseImage { name, image }));
        Ok(present)
    }

    /// Error for a missing upstream: the upstream and the missing inputs of the tree's own
    /// packages. The inputs of the upstream's packages are unknown without the upstream.
    pub(super) fn without_upstream(
        options: ProjectOptions,
        cache: Cache,
        upstream: MissingSource,
        observer: &dyn Observer,
    ) -> Result<ProjectError, ProjectError> {
        // Without the upstream's packages, which nobody can know yet.
        let tree = PackageTree::read(&options.packages, &[])?;
        let lock = options.lock.as_ref();
        let pins = lock.map(|lock| lock.image_pins(true)).unwrap_or_default();
        let project = Self { tree, cache, options, pins, local: std::sync::OnceLock::new() };
        let keys: Vec<PackageKey> = project.tree.keys().collect();
        let mut items = vec![MissingInput::Upstream(upstream)];
        let store =
            ImageStore::open(project.options.runner.home.root()).map_err(ProjectError::Store)?;
        let mut finder = project.finder(&store, false);
        project.missing_images(&mut finder, &keys, &mut items, observer)?;
        let requests = project.own_requests(&keys);
        let sources = source::missing(&requests, &project.options.fetch, observer);
        let sources = sources.ok_or(ProjectError::Interrupted)?;
        items.extend(sources.into_iter().map(MissingInput::Source));
        let only_mirrors = project.options.fetch.only_mirrors;
        Ok(ProjectError::Missing(MissingList { items, only_mirrors }))
    }

    /// The first upstream that is neither expanded nor here, if the network may not be used.
    pub(super) fn missing_upstream(
        options: &ProjectOptions,
        observer: &dyn Observer,
    ) -> Result<Option<MissingSource>, ProjectError> {
        if !options.fetch.offline {
            return Ok(None);
        }
        let requests = upstream::requests(&options.packages, &options.local_sources)?;
        let is_made = |cache: &source::SourceRequest| cache.cache_dir.with_file_name("checkout");
        let absent = requests.into_iter().filter(|request| !is_made(request).is_dir());
        let missing = source::missing(&absent.collect::<Vec<_>>(), &options.fetch, observer);
        Ok(missing.ok_or(ProjectError::Interrupted)?.into_iter().next())
    }
}
