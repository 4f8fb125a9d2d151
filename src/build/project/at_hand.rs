//! Ids of all packages of which they can be told without a network and without a build. The fault of one package
//! leaves the others theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;

use super::{Project, ProjectError, ProjectOptions};
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::escape::shell_argument;
use crate::base::event::Observer;
use crate::build::id::{
    FileHasher, Identities, IdentityError, Inputs, identify_with, sums_of_files,
};
use crate::build::images::{Building, ImageError, ImageFinder};
use crate::build::plan::{Pending, WhyPending};
use crate::build::upstream;
use crate::graph;
use crate::image::store::ImageStore;
use crate::package::SourceSpec;
use crate::tree::{Package, PackageKey, PackageTree};

/// Ids that can be told, and the packages without one.
#[derive(Debug, Default)]
pub struct AtHand {
    /// The ids.
    pub identities: Identities,
    /// Reasons of the packages without one.
    pub without: BTreeMap<PackageKey, WithoutId>,
}

/// Reason for which a package has no id.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WithoutId {
    /// The reason.
    pub why: String,
    /// Remedy, if one is known.
    pub hint: Option<String>,
}

impl From<String> for WithoutId {
    fn from(why: String) -> Self {
        Self { why, hint: None }
    }
}

impl WithoutId {
    /// The reason of a package whose image is not on this machine.
    fn of_image(why: String) -> Self {
        let hint =
            "fetch what is missing (mkpanda fetch), or build the package's image: mkpanda tree";
        Self { why, hint: Some(hint.to_owned()) }
    }

    fn of(error: &dyn std::error::Error, hint: Option<String>) -> Self {
        Self { why: with_causes(error), hint }
    }
}

impl Project {
    /// Reads the tree with those of its upstreams that are expanded, and fetches and writes nothing. Gives the
    /// `upstream.json` of the first upstream that is not expanded, too.
    pub fn open_at_hand(
        mut options: ProjectOptions,
    ) -> Result<(Self, Option<PathBuf>), ProjectError> {
        let (cache, pins) = Self::prepare(&mut options)?;
        let (packages, home) = (&options.packages, &options.runner.home);
        let (upstreams, missing) =
            upstream::expanded(packages, home, &options.fetch, &options.local_sources)?;
        Ok((Self::read(options, cache, pins, &upstreams)?, missing))
    }

    /// Makes a project of a tree that was read before.
    pub fn of_tree(mut options: ProjectOptions, tree: PackageTree) -> Result<Self, ProjectError> {
        let (cache, pins) = Self::prepare(&mut options)?;
        Self::with_tree(options, cache, pins, tree)
    }

    /// Gives ids to all packages of which they can be told. Nothing is fetched, pulled or built; an image in a file
    /// that the configuration names is loaded.
    pub fn identify_at_hand(
        &self,
        keys: &BTreeSet<PackageKey>,
        observer: &dyn Observer,
    ) -> Result<AtHand, ProjectError> {
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        let building = Building { is_preview: true, ..self.building(false) };
        let mut finder = ImageFinder::new(
            &self.options.image_locations,
            &store,
            &self.options.registry,
            building,
        );
        let mut without: BTreeMap<PackageKey, WithoutId> = BTreeMap::new();
        let mut allowed = keys.clone();
        // Before the order, which does not exist for them.
        for group in graph::cyclic_groups(keys, |key| self.tree.requires(key)) {
            for key in group {
                let why = "it requires itself, directly or not".to_owned();
                allowed.remove(&key);
                without.insert(key, why.into());
            }
        }
        let order = self.tree.order(&allowed)?;
        let mut inputs = BTreeMap::new();
        // Each image is looked for once, also one that is not found.
        let mut images = BTreeMap::new();
        for key in &order {
            let Some(package) = self.tree.package(key) else {
                without.insert(key.clone(), "its description is wrong".to_owned().into());
                continue;
            };
            let name = package.info.image();
            let image = images
                .entry(name.as_str().to_owned())
                .or_insert_with(|| self.image_at_hand(package, &mut finder, observer))
                .clone();
            match image.and_then(|image| self.inputs_at_hand(package, image, observer)) {
                Ok(found) => drop(inputs.insert(key.clone(), found)),
                Err(why) => drop(without.insert(key.clone(), why)),
            }
        }
        loop {
            let mut with = Vec::new();
            for key in order.iter().filter(|key| !without.contains_key(*key)).collect::<Vec<_>>() {
                let requires = self.tree.requires(key);
                let is_without =
                    |needed: &&PackageKey| without.contains_key(*needed) || !keys.contains(*needed);
                match requires.iter().find(is_without) {
                    Some(needed) => {
                        let why = format!("it requires {needed}, which has none");
                        let typed = needed.typed();
                        let hint = format!("see why: mkpanda explain {}", shell_argument(&typed));
                        let hint = Some(hint);
                        without.insert(key.clone(), WithoutId { why, hint });
                    }
                    None => with.push(key.clone()),
                }
            }
            let identified = identify_with(&self.tree, &with, |package| {
                let missing = || IdentityError::<Infallible>::Order(package.key.clone());
                inputs.get(&package.key).cloned().ok_or_else(missing)
            });
            match identified {
                Ok(identities) => return Ok(AtHand { identities, without }),
                // A value without a hash: once more, without it and what requires it.
                Err(error) => {
                    let (IdentityError::Files { package, .. }
                    | IdentityError::Outside { package, .. }
                    | IdentityError::Hash { package, .. }
                    | IdentityError::Version { package, .. }
                    | IdentityError::Order(package)) = &error;
                    without.insert(package.clone(), WithoutId::of(&error, None));
                }
            }
        }
    }

    fn image_at_hand(
        &self,
        package: &Package,
        finder: &mut ImageFinder<'_>,
        observer: &dyn Observer,
    ) -> Result<Sha256Sum, WithoutId> {
        match finder.find(&package.info.image(), &self.tree, observer) {
            Ok(found) => Ok(found.id),
            Err(ImageError::NotBuilt { name, folder }) => {
                let why = WhyPending::Image { name, folder };
                Err(WithoutId::of_image(Pending { key: package.key.clone(), why }.reason()))
            }
            Err(ImageError::NotPulled { name } | ImageError::NotFound { name, .. }) => {
                Err(WithoutId::of_image(format!("its image {name} is not on this machine")))
            }
            Err(error) => Err(WithoutId::of(&error, error.hint())),
        }
    }

    fn inputs_at_hand(
        &self,
        package: &Package,
        image: Sha256Sum,
        observer: &dyn Observer,
    ) -> Result<Inputs, WithoutId> {
        let mut heads = BTreeMap::new();
        for (name, source) in &package.info.sources {
            if matches!(source.spec, SourceSpec::GitLocal { .. }) {
                let head = self.head(package, name, observer);
                let head = head.map_err(|error| WithoutId::of(&error, error.problem.hint()))?;
                heads.insert(name.clone(), head);
            }
        }
        let hasher = FileHasher::of(&self.options.runner);
        let (build, extra) =
            sums_of_files(package, &hasher).map_err(|error| WithoutId::of(&error, error.hint()))?;
        Ok(Inputs { image, build, extra, heads })
    }
}
