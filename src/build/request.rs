//! A package that a run is about to build.

use super::job::PackageBuild;
use super::record::RecordedDeclarations;
use crate::base::digest::Sha256Sum;
use crate::package::{PackageSource, Requirement, SourceName};
use crate::source::{LocalScope, SourceId};

/// A package to be built, as the plan knows it.
#[derive(Debug, Clone)]
pub struct PackageRequest {
    /// Name and variant.
    pub key: Requirement,
    /// Inputs of the build.
    pub package: PackageBuild,
    /// Declarations for the record.
    pub declared: RecordedDeclarations,
    /// Id of the builder image.
    pub image: Sha256Sum,
    /// Declared sources.
    pub sources: Vec<(SourceName, PackageSource, SourceId)>,
    /// Folders in which `git_local` sources may lie.
    pub local: LocalScope,
}
