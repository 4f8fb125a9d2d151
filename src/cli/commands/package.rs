//! `mkpanda`: the package in this folder, and whatever it requires that isn't there.

use std::sync::Arc;

use super::super::args::PackageArgs;
use super::super::error::CliError;
use super::Context;
use crate::base::event::{Interruptible, Observer};
use crate::build::site::Site;
use crate::container::helper::Interrupt;
use crate::package::{PackageName, Variant};

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
    let observer = context.observer(&settings);
    let site = super::open(&settings, packages.to_owned(), &*observer)?;
    let wanted =
        site.tree.wanted(&name, variant.as_ref()).map_err(crate::build::site::SiteError::Tree)?;
    build(context, args, &site, &wanted, &settings, &*observer)
}

fn build(
    context: &Context<'_>,
    args: &PackageArgs,
    site: &Site,
    wanted: &[crate::tree::PackageKey],
    settings: &super::Settings,
    observer: &dyn Observer,
) -> Result<(), CliError> {
    let set = site.tree.resolve_packages(wanted).map_err(crate::build::site::SiteError::Tree)?;
    site.warn(&set.warnings, observer);
    let known = site.identify(&set.packages, observer)?;
    let plan = site.plan(&known);
    if args.build.dry_run {
        context.printer.data(&plan.to_string());
        return Ok(());
    }
    let interrupt = Arc::<Interrupt>::default();
    let observer = &Interruptible::new(observer, || interrupt.is_raised());
    if plan.to_build().next().is_some() {
        super::interrupt_on_signals(&interrupt)?;
    }
    let options = super::build_options(context, settings, &args.build);
    site.build(&known, &plan, &options, &interrupt, observer)?;
    for key in wanted {
        if let Some(identity) = known.identities.get(key) {
            context.print_path(&site.cache.archive(&identity.id));
        }
    }
    Ok(())
}

fn has_buildinfo(folder: &std::path::Path) -> bool {
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
