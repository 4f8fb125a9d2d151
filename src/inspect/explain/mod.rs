//! Inputs of a package's id, and the cause of its difference from another build.
//!
//! ```text
//! inputs      what is hashed for an id, flat, with what is known of each input
//! records     what is kept of earlier builds, here and in caches
//! compare     the first input that differs, followed down through dependencies
//! ```

pub mod compare;
pub mod inputs;
pub mod records;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::base::event::Observer;
use crate::build::project::{AtHand, Project, ProjectError};
use crate::graph;
use crate::package::{PackageId, PackageName, Variant};
use crate::tree::PackageKey;

pub use compare::{BuildComparison, compare};
pub use inputs::IdInput;
pub use records::{Against, KnownBuild, RecordFolders, RecordsError};

/// Inputs of a package's id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Name.
    pub name: PackageName,
    /// Variant; null for the default one.
    pub variant: Variant,
    /// Id.
    pub id: PackageId,
    /// True if the tree's cache has the package.
    pub built: bool,
    /// Inputs, without the packages that are required.
    pub inputs: Vec<IdInput>,
    /// Ids of all direct and indirect requirements.
    pub dependencies: Vec<ExplainedDependency>,
    /// Difference from another build, if one is known.
    pub comparison: Option<BuildComparison>,
}

/// Required package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExplainedDependency {
    /// Id.
    pub id: PackageId,
    /// Variant; null for the default one.
    pub variant: Variant,
    /// True for a direct requirement.
    pub direct: bool,
}

/// Finds the ids of a package and of all requirements.
pub fn identify(
    project: &Project,
    key: &PackageKey,
    observer: &dyn Observer,
) -> Result<AtHand, ProjectError> {
    let keys: BTreeSet<PackageKey> =
        graph::closure([key.clone()], |key| project.tree.requires(key));
    project.identify_at_hand(&keys, observer)
}

/// Lists the inputs of a package's id; `None` without an id.
pub fn explain(project: &Project, known: &AtHand, key: &PackageKey) -> Option<Explanation> {
    let package = project.tree.package(key)?;
    let identity = known.identities.get(key)?;
    let dependencies = known.identities.dependencies(identity).map(|needed| ExplainedDependency {
        id: needed.id.clone(),
        variant: needed.key.variant.clone(),
        direct: package.info.requires.contains(&needed.key),
    });
    Some(Explanation {
        name: key.name.clone(),
        variant: key.variant.clone(),
        id: identity.id.clone(),
        built: project.cache.has(&identity.id),
        inputs: inputs::of_package(package, &known.identities.build_ids(package, identity)),
        dependencies: dependencies.collect(),
        comparison: None,
    })
}
