//! The ids of a project's packages, for which their images have to be found.

use std::collections::{BTreeMap, BTreeSet};

use super::{IdentifiedPackages, OutsideError, Project, ProjectError};
use crate::base::event::Observer;
use crate::build::id::{FileHasher, FolderError, IdentityError, identify};
use crate::build::images::{Building, ImageError, ImageFinder};
use crate::build::plan::{Pending, WhyPending};
use crate::image::store::ImageStore;
use crate::tree::PackageKey;

impl Project {
    /// Computes packages' ids; `order` is a dependency order. Missing images are pulled and built
    /// first.
    pub fn identify(
        &self,
        order: &[PackageKey],
        observer: &dyn Observer,
    ) -> Result<IdentifiedPackages, ProjectError> {
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        self.identify_by(&mut self.finder(&store, true), order, observer)
    }

    /// Computes the ids that need no image to be built, and returns the reason for each other
    /// package.
    pub fn identify_without_building(
        &self,
        order: &[PackageKey],
        observer: &dyn Observer,
    ) -> Result<(IdentifiedPackages, Vec<Pending>), ProjectError> {
        self.identify_what_can_be(order, false, observer)
    }

    /// The same for a preview: no image is pulled either, and none gets a name.
    pub fn preview(
        &self,
        order: &[PackageKey],
        observer: &dyn Observer,
    ) -> Result<(IdentifiedPackages, Vec<Pending>), ProjectError> {
        self.identify_what_can_be(order, true, observer)
    }

    fn identify_what_can_be(
        &self,
        order: &[PackageKey],
        is_preview: bool,
        observer: &dyn Observer,
    ) -> Result<(IdentifiedPackages, Vec<Pending>), ProjectError> {
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        let (image_locations, registry) = (&self.options.image_locations, &self.options.registry);
        let building = Building { is_preview, ..self.building(false) };
        let mut finder = ImageFinder::new(image_locations, &store, registry, building);
        let mut pending: Vec<Pending> = Vec::new();
        let mut without: BTreeSet<PackageKey> = BTreeSet::new();
        let mut with = Vec::new();
        for key in order {
            let requires = self.tree.requires(key);
            let why = if let Some(required) = requires.iter().find(|key| without.contains(key)) {
                Some(WhyPending::Requires(required.clone()))
            } else {
                let image = self.tree.package(key).map(|package| package.info.image());
                match image.map(|image| finder.find(&image, &self.tree, observer)) {
                    Some(Err(ImageError::NotBuilt { name, folder })) => {
                        Some(WhyPending::Image { name, folder })
                    }
                    Some(Err(ImageError::NotPulled { name })) => Some(WhyPending::Pull(name)),
                    // The first of other errors is reported with the id, and no other image is asked for.
                    Some(Err(_)) => {
                        with.push(key.clone());
                        break;
                    }
                    _ => None,
                }
            };
            if let Some(why) = why {
                without.insert(key.clone());
                pending.push(Pending { key: key.clone(), why });
            } else {
                with.push(key.clone());
            }
        }
        Ok((self.identify_by(&mut finder, &with, observer)?, pending))
    }

    pub(super) fn building(&self, may_build: bool) -> Building<'_> {
        Building {
            runner: &self.options.runner,
            fetch: &self.options.fetch,
            pins: &self.pins,
            tree: self.tree.root(),
            source_date_epoch: self.options.source_date_epoch,
            shared: &self.options.builders,
            shows_output: self.options.shows_output,
            network: self.options.image_network,
            caches: &self.options.shared_caches,
            may_build,
            is_preview: false,
            may_pull_builders: false,
        }
    }

    pub(super) fn finder<'a>(&'a self, store: &'a ImageStore, may_build: bool) -> ImageFinder<'a> {
        let building = self.building(may_build);
        let (image_locations, registry) = (&self.options.image_locations, &self.options.registry);
        ImageFinder::new(image_locations, store, registry, building)
    }

    pub(super) fn identify_by(
        &self,
        finder: &mut ImageFinder<'_>,
        order: &[PackageKey],
        observer: &dyn Observer,
    ) -> Result<IdentifiedPackages, ProjectError> {
        let mut images = BTreeMap::new();
        let identities = identify(
            &self.tree,
            order,
            &FileHasher::of(&self.options.runner),
            |package| {
                let name = package.info.image();
                let found = finder.find(&name, &self.tree, observer)?;
                // Such an image can be copied and built upon, but nothing runs in it.
                if let Some(problem) = found.config.unusable {
                    return Err(ImageError::Unusable { name, problem }.into());
                }
                let id = found.id.clone();
                images.insert(package.key.clone(), found);
                Ok::<_, OutsideError>(id)
            },
            |package, name, _| Ok(self.head(package, name, observer)?),
        )
        .map_err(|error| match error {
            IdentityError::Outside { source: OutsideError::Image(image), .. }
                if image.is_interruption() =>
            {
                ProjectError::Interrupted
            }
            IdentityError::Files { source: FolderError::Interrupted, .. } => {
                ProjectError::Interrupted
            }
            error => error.into(),
        })?;
        Ok(IdentifiedPackages { identities, images })
    }
}
