//! `mkpanda gc`: removes files that are not needed any more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::args::GcArgs;
use super::super::error::CliError;
use super::super::ui;
use super::super::value::Text;
use super::Context;
use crate::base::confinement::real_path;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::build::cache::Cache;
use crate::build::gc::{self, Garbage, GarbageKind, GcOptions};
use crate::build::project::ProjectError;
use crate::package::PackageId;
use crate::runner::measure::Meter;
use crate::runner::trees::{self, KnownTree};
use crate::tree::PackageKey;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Gives space back.
pub fn run(context: &Context<'_>, args: &GcArgs) -> Result<(), CliError> {
    let settings = context.settings(None, Some(&context.tree_folder()?))?;
    let progress = context.progress(&settings);
    let most = args
        .max_size
        .as_ref()
        .map(|value| Text { origin: "--max-size".to_owned(), value: value.clone() }.size());
    let most = most.transpose()?;
    let mut options = GcOptions {
        // Without days nothing is spared for its age.
        since: (args.keep_days > 0)
            .then(|| SystemTime::now().checked_sub(DAY * args.keep_days))
            .flatten(),
        max_size: most,
        dry_run: args.dry_run,
        only: None,
        packages: BTreeSet::new(),
        archives: BTreeSet::new(),
    };
    for tree in &args.tree {
        let (packages, archives) = packages(context, tree, &progress)?;
        options.packages.extend(packages);
        options.archives.extend(archives);
    }
    let runner = super::runner_settings(context, &settings, &std::sync::Arc::default());
    let garbage = gc::collect(&runner.home, &runner.isolation, &options, &progress)?;
    show(context, &garbage, args.dry_run);
    let known = trees::known(&runner.home, !args.dry_run).map_err(ProjectError::Home)?;
    show_trees(context, &known);
    match most {
        Some(most) if garbage.too_much > 0 => Err(CliError::TooMuch { left: garbage.left, most }),
        _ => Ok(()),
    }
}

/// Returns the ids of a tree's packages, and the digests of their archives in the tree's cache.
fn packages(
    context: &Context<'_>,
    tree: &Path,
    observer: &dyn Observer,
) -> Result<(Vec<PackageId>, Vec<Sha256Sum>), CliError> {
    let folder = context.folder()?.join(tree);
    let folder = real_path(&folder).map_err(|source| CliError::Folder { path: folder, source })?;
    let settings = context.settings(None, Some(&folder))?;
    let project = super::open(context, &settings, folder, &std::sync::Arc::default(), observer)?;
    let keys: BTreeSet<PackageKey> = project.tree.keys().collect();
    let order = project.tree.order(&keys).map_err(ProjectError::Tree)?;
    // A package whose image is missing is not unpacked here under its future id.
    let (known, _pending) = project.identify_without_building(&order, observer)?;
    let ids: Vec<PackageId> = known.identities.iter().map(|identity| identity.id.clone()).collect();
    let there = ids.iter().filter(|id| project.cache.has(id));
    let ends = || observer.is_interrupted();
    let sum =
        |id: &PackageId| Sha256Sum::of_file_within(&project.cache.archive(id), u64::MAX, ends);
    let sums = there.map(sum);
    let sums = sums.collect::<Result<_, _>>().map_err(ProjectError::Cache)?;
    Ok((ids, sums))
}

/// Lists the trees known to the home, for `mkpanda clean`.
fn show_trees(context: &Context<'_>, known: &[KnownTree]) {
    let mut meter = Meter::default();
    for tree in known {
        let cache = Cache::of(&tree.packages);
        let bytes = ui::size(meter.measure(cache.root()).bytes);
        let line = format!("{bytes:>10}  cache of the tree {}\n", tree.packages.display());
        context.printer.data(&line);
    }
}

/// One line for each, and the sum of each kind, as data.
fn show(context: &Context<'_>, garbage: &Garbage, dry_run: bool) {
    let verb = if dry_run { "would remove" } else { "removed" };
    let mut sums: BTreeMap<GarbageKind, (usize, u64)> = BTreeMap::new();
    for item in &garbage.items {
        let (count, bytes) = sums.entry(item.kind).or_default();
        *count += 1;
        *bytes += item.bytes;
        let line = format!("{verb} {:>10}  {:11} {}\n", ui::size(item.bytes), item.kind, item.name);
        context.printer.data(&line);
    }
    for (kind, (count, bytes)) in sums {
        context.printer.data(&format!("{:>10}  {kind} ({count})\n", ui::size(bytes)));
    }
    let (bytes, left) = (ui::size(garbage.bytes()), ui::size(garbage.left));
    context.printer.data(&format!("{verb} {bytes} in all; {left} are left\n"));
}
