//! `mkpanda`: the package in this folder, and all missing packages that it requires.

use std::sync::Arc;

use super::super::args::PackageArgs;
use super::super::error::CliError;
use super::{Context, RequestedArtifact, RunOutcome, requested};
use crate::base::event::{Interruptible, Observer};
use crate::build::project::{BuildOptions, Project, ProjectError};
use crate::container::helper::Interrupt;
use crate::package::PackageName;
use crate::tree::{PackageKey, has_buildinfo, typed_variant};

/// Builds the package in this folder.
pub fn run(context: &Context<'_>, args: &PackageArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let (Some(packages), Some(name)) = (folder.parent(), folder.file_name()) else {
        return Err(CliError::NoPackage(folder));
    };
    if !has_buildinfo(&folder) {
        return Err(CliError::NoPackage(folder));
    }
    let name: PackageName = name
        .to_string_lossy()
        .parse()
        .map_err(|source| CliError::FolderName { path: folder.clone(), source })?;
    let variant = args.variant.as_deref().map(typed_variant).transpose()?;
    let settings = context.settings(args.build.jobs, Some(packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    let project = super::open(context, &settings, packages.to_owned(), &interrupt, &progress)?;
    let wanted = project.tree.wanted(&name, variant.as_ref()).map_err(ProjectError::Tree)?;
    if args.build.dry_run {
        let options = super::build_options(&settings, &args.build)?;
        let order = requested::resolve(&project, &wanted, &options, &progress)?;
        return super::show_plan(context, &project, &order, &options, |_| String::new(), &progress);
    }
    // Only now: until here nothing is begun, and a signal may end the process at once.
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let mut outcome = RunOutcome::default();
    let options = super::build_options(&settings, &args.build)?;
    let result = build(&project, &wanted, &options, observer, &mut outcome);
    outcome.show(context, &progress, result)
}

fn build(
    project: &Project,
    wanted: &[PackageKey],
    options: &BuildOptions,
    observer: &dyn Observer,
    outcome: &mut RunOutcome,
) -> Result<(), CliError> {
    let (identified, plan) = requested::plan(project, wanted, options, observer)?;
    outcome.count(&plan);
    project.build(&identified, &plan, options, observer)?;
    for key in wanted {
        if let Some(identity) = identified.identities.get(key) {
            let (variant, path) = (Some(key.variant.clone()), project.cache.archive(&identity.id));
            outcome.paths.push(RequestedArtifact { variant, path });
        }
    }
    Ok(())
}
