//! Requested packages with all that they require: checked before anything is fetched or built.

use super::super::error::CliError;
use crate::base::event::Observer;
use crate::build::plan::BuildPlan;
use crate::build::project::{BuildOptions, IdentifiedPackages, Project, ProjectError};
use crate::tree::PackageKey;

/// Resolves packages with all that they require, in dependency order. Differences from the lock are an error, and so
/// is everything that a run without a network lacks.
pub(super) fn resolve(
    project: &Project,
    wanted: &[PackageKey],
    options: &BuildOptions,
    observer: &dyn Observer,
) -> Result<Vec<PackageKey>, CliError> {
    resolve_with(project, wanted, &[], options, observer)
}

/// Resolves packages like [`resolve`], and plans them.
pub(super) fn plan(
    project: &Project,
    wanted: &[PackageKey],
    options: &BuildOptions,
    observer: &dyn Observer,
) -> Result<(IdentifiedPackages, BuildPlan), CliError> {
    let order = resolve(project, wanted, options, observer)?;
    plan_of(project, &order, observer)
}

/// Plans packages whose own sources are needed even if the packages are in the cache, as for a portable job.
pub(super) fn plan_with_sources(
    project: &Project,
    wanted: &[PackageKey],
    options: &BuildOptions,
    observer: &dyn Observer,
) -> Result<(IdentifiedPackages, BuildPlan), CliError> {
    let order = resolve_with(project, wanted, wanted, options, observer)?;
    plan_of(project, &order, observer)
}

fn resolve_with(
    project: &Project,
    wanted: &[PackageKey],
    with_sources: &[PackageKey],
    options: &BuildOptions,
    observer: &dyn Observer,
) -> Result<Vec<PackageKey>, CliError> {
    let set = project.tree.resolve_packages(wanted).map_err(ProjectError::Tree)?;
    project.warn(&set.warnings, observer);
    // The lock first: it is read from a file, while the other check looks for every source.
    project.check_lock(&set.packages)?;
    let repository = options.repository.as_ref();
    project.check_offline(&set.packages, with_sources, repository, observer)?;
    Ok(set.packages)
}

fn plan_of(
    project: &Project,
    order: &[PackageKey],
    observer: &dyn Observer,
) -> Result<(IdentifiedPackages, BuildPlan), CliError> {
    let identified = project.identify(order, observer)?;
    let plan = project.plan(&identified);
    Ok((identified, plan))
}
