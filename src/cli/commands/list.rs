//! `mkpanda list`: packages of a tree, with their ids and the places where they are built.

use super::super::args::{FormatArg, ListArgs};
use super::super::error::CliError;
use super::super::ui;
use super::super::ui::columns::{Columns, stdout_width};
use super::{Context, at_hand};
use crate::inspect::listing::{ListedPackage, TreeListing, list};
use crate::package::Variant;
use crate::tree::typed_variant;

/// Lists packages.
pub fn run(context: &Context<'_>, args: &ListArgs) -> Result<(), CliError> {
    let packages = at_hand::packages(context, args.tree.as_deref())?;
    let looked = at_hand::open(context, packages)?;
    let variant = args.variant.as_deref().map(typed_variant).transpose()?;
    let caches = &looked.settings.shared_caches;
    let packages = list(&looked.project, variant.as_ref(), caches, &looked.progress)?;
    let tree = looked.project.tree.root().to_owned();
    let listing = TreeListing { tree, packages, missing_upstream: looked.missing_upstream };
    match args.format {
        FormatArg::Json => context.print_json(&listing),
        FormatArg::Text => context.printer.data(&table(&listing).text(stdout_width())),
    }
    let broken = listing.packages.iter().filter(|package| package.fault.is_some()).count();
    at_hand::warn_of_faulty(context, broken);
    Ok(())
}

fn table(listing: &TreeListing) -> Columns {
    let mut table = Columns::new(&["NAME", "VARIANT", "VERSION", "BUILT", "REQUIRES"]);
    // On a terminal as much of a version as is told apart; the whole one elsewhere.
    let is_short = stdout_width().is_some();
    for package in &listing.packages {
        let version = match &package.id {
            None => "-".to_owned(),
            Some(id) if is_short => {
                let short = ui::short_id(&id.to_string());
                short.rsplit("--").next().unwrap_or_default().to_owned()
            }
            Some(id) => id.version().to_string(),
        };
        let requires: Vec<String> = package
            .requires
            .iter()
            .map(|needed| match needed.variant.name() {
                None => needed.name.to_string(),
                Some(variant) => format!("{}:{variant}", needed.name),
            })
            .collect();
        let requires = requires.join(" ");
        let variant = variant_text(&package.variant);
        table.row([package.name.to_string(), variant, version, built(package), requires]);
    }
    table
}

fn built(package: &ListedPackage) -> String {
    match (&package.fault, package.built, package.in_caches.first()) {
        (Some(_), _, _) => "not valid".to_owned(),
        (None, Some(true), _) => "yes".to_owned(),
        (None, _, Some(cache)) => format!("in {cache}"),
        (None, Some(false), None) => "no".to_owned(),
        (None, None, None) => "-".to_owned(),
    }
}

fn variant_text(variant: &Variant) -> String {
    variant.to_string()
}
