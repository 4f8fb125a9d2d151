//! `mkpanda`: the package in this folder, and all missing packages that it requires.

use std::sync::Arc;

use super::super::args::PackageArgs;
use super::super::error::CliError;
use super::{Context, Made, Outcome};
use crate::base::event::{Interruptible, Observer};
use crate::build::plan::Plan;
use crate::build::project::{BuildOptions, Known, Site, SiteError};
use crate::container::helper::Interrupt;
use crate::package::{PackageName, Variant};
use crate::tree::PackageKey;

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
    let variant = args.variant.as_deref().map(parse_variant).transpose()?;
    let settings = context.settings(args.build.jobs, Some(packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    let site = super::open(context, &settings, packages.to_owned(), &interrupt, &progress)?;
    let wanted = site.tree.wanted(&name, variant.as_ref()).map_err(SiteError::Tree)?;
    if args.build.dry_run {
        let set = site.tree.resolve_packages(&wanted).map_err(SiteError::Tree)?;
        site.warn(&set.warnings, &progress);
        let options = super::build_options(&settings, &args.build);
        site.check_lock(&set.packages)?;
        site.check_offline(&set.packages, options.repository.as_ref(), &progress)?;
        return super::show_plan(
            context,
            &site,
            &set.packages,
            &options,
            |_| String::new(),
            &progress,
        );
    }
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let mut outcome = Outcome::default();
    let options = super::build_options(&settings, &args.build);
    let result = build(&site, &wanted, &options, observer, &mut outcome);
    outcome.show(context, &progress, result)
}

fn plan(
    site: &Site,
    wanted: &[PackageKey],
    options: &BuildOptions,
    observer: &dyn Observer,
) -> Result<(Known, Plan), CliError> {
    let set = site.tree.resolve_packages(wanted).map_err(SiteError::Tree)?;
    site.warn(&set.warnings, observer);
    site.check_lock(&set.packages)?;
    site.check_offline(&set.packages, options.repository.as_ref(), observer)?;
    let known = site.identify(&set.packages, observer)?;
    let plan = site.plan(&known);
    Ok((known, plan))
}

fn build(
    site: &Site,
    wanted: &[PackageKey],
    options: &BuildOptions,
    observer: &dyn Observer,
    outcome: &mut Outcome,
) -> Result<(), CliError> {
    let (known, plan) = plan(site, wanted, options, observer)?;
    outcome.count(&plan);
    site.build(&known, &plan, options, observer)?;
    for key in wanted {
        if let Some(identity) = known.identities.get(key) {
            let (variant, path) = (Some(key.variant.clone()), site.cache.archive(&identity.id));
            outcome.paths.push(Made { variant, path });
        }
    }
    Ok(())
}

/// True if a folder has the description of a package.
pub(super) fn has_buildinfo(folder: &std::path::Path) -> bool {
    let Ok(entries) = fs_err::read_dir(folder) else { return false };
    entries.flatten().any(|entry| entry.file_name().as_encoded_bytes().ends_with(b"buildinfo.json"))
}

/// A variant as typed: `default` and `<default>` are the default one.
pub(super) fn parse_variant(text: &str) -> Result<Variant, CliError> {
    match text {
        "default" | "<default>" => Ok(Variant::DEFAULT),
        other => Ok(other.parse()?),
    }
}
