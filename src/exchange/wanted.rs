//! Artifacts that the current ids of a tree name.

use std::collections::BTreeSet;

use crate::base::event::Observer;
use crate::bootstrap::{BootstrapId, TreePackages, active_json};
use crate::build::cache::Cache;
use crate::build::project::{Project, ProjectError};
use crate::package::{ImageName, PackageId, PackageName, Variant};
use crate::source::SourceRequest;
use crate::tree::{PackageKey, TreeError, TreeSet};

/// Selection of packages.
#[derive(Debug, Clone, Default)]
pub struct PackageSelection {
    /// Packages, with all their requirements; if empty, the packages of tree variants.
    pub packages: Vec<PackageName>,
    /// Variant of the packages, or of the tree; `None` for all.
    pub variant: Option<Variant>,
}

/// A bootstrap of a tree.
#[derive(Debug, Clone)]
pub(super) struct WantedBootstrap {
    pub(super) id: BootstrapId,
    pub(super) tree: TreePackages,
    /// Text of the list of packages.
    pub(super) active: String,
}

/// An artifact that is exchanged.
pub(super) enum ExchangeItem<'w> {
    Package(&'w PackageKey, &'w PackageId),
    Bootstrap(&'w WantedBootstrap),
    /// A source, and all packages that name it.
    Source(Vec<&'w SourceRequest>),
    /// An image of a `docker/` folder.
    Builder(&'w ImageName),
}

impl ExchangeItem<'_> {
    /// Name for people.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Package(_, id) => id.to_string(),
            Self::Bootstrap(bootstrap) => format!("bootstrap {}", bootstrap.id),
            Self::Source(requests) => requests[0].subject(),
            Self::Builder(name) => format!("image {name}"),
        }
    }
}

/// Artifacts that the current ids of a tree name.
#[derive(Debug, Clone, Default)]
pub struct WantedArtifacts {
    pub(super) packages: Vec<(PackageKey, PackageId)>,
    pub(super) bootstraps: Vec<WantedBootstrap>,
    pub(super) sources: Vec<SourceRequest>,
    /// Images that packages are built in.
    pub(super) images: Vec<ImageName>,
    /// Packages whose ids are not known, since their builder images are not built.
    pub unknown: Vec<PackageKey>,
}

impl WantedArtifacts {
    /// Packages alone, without their requirements.
    pub fn of_packages(packages: Vec<(PackageKey, PackageId)>) -> Self {
        Self { packages, ..Self::default() }
    }

    /// Number of packages that a tree's cache lacks.
    pub fn not_built(&self, cache: &Cache) -> usize {
        self.packages.iter().filter(|(_, id)| !cache.has(id)).count() + self.unknown.len()
    }

    /// Resolves a selection. Missing images are pulled, but not built.
    pub fn of(
        project: &Project,
        selection: &PackageSelection,
        observer: &dyn Observer,
    ) -> Result<Self, ProjectError> {
        let sets = if selection.packages.is_empty() {
            tree_sets(project, selection.variant.as_ref())?
        } else {
            Vec::new()
        };
        let mut keys: BTreeSet<PackageKey> =
            sets.iter().flat_map(|set| set.packages.iter().cloned()).collect();
        let mut named = Vec::new();
        for name in &selection.packages {
            named.extend(project.tree.wanted(name, selection.variant.as_ref())?);
        }
        if !named.is_empty() {
            keys.extend(project.tree.resolve_packages(&named)?.packages);
        }
        let order = project.tree.order(&keys)?;
        let (known, pending) = project.identify_without_building(&order, observer)?;
        let id_of = |key: &PackageKey| Some(known.identities.get(key)?.id.clone());
        let bootstraps = sets.iter().filter_map(|set| {
            // A bootstrap's id is that of all its packages.
            let ids = |keys: &[PackageKey]| keys.iter().map(id_of).collect::<Option<Vec<_>>>();
            let (packages, bootstrap) = (ids(&set.packages)?, ids(&set.bootstrap)?);
            let (id, active) = (BootstrapId::of(&bootstrap), active_json(&bootstrap));
            let tree = TreePackages { variant: set.variant.clone(), packages, bootstrap };
            Some(WantedBootstrap { id, tree, active })
        });
        let packages = order.iter().filter_map(|key| Some((key.clone(), id_of(key)?)));
        Ok(Self {
            packages: packages.collect(),
            bootstraps: bootstraps.collect(),
            sources: project.source_requests(&order)?,
            images: project.image_names(&order).into_iter().map(|(name, _)| name).collect(),
            unknown: pending.into_iter().map(|pending| pending.key).collect(),
        })
    }
}

fn tree_sets(project: &Project, variant: Option<&Variant>) -> Result<Vec<TreeSet>, TreeError> {
    let variants = match variant {
        Some(variant) => vec![variant.clone()],
        None => project.tree.tree_variants()?,
    };
    variants.iter().map(|variant| project.tree.resolve(variant)).collect()
}
