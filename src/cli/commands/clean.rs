//! `mkpanda clean`: removes files that no current id needs from a tree's cache.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::super::args::{CleanArgs, FormatArg};
use super::super::error::CliError;
use super::super::ui::{self, Weight};
use super::Context;
use super::at_hand::SEE_CHECK;
use crate::base::confinement::real_path;
use crate::base::event::Interruptible;
use crate::container::helper::Interrupt;
use crate::tidy::{self, Cleaned, TidyError, Unknown, UnusedKind};

/// Cleans a tree's cache.
pub fn run(context: &Context<'_>, args: &CleanArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let packages = match &args.tree {
        None => folder,
        Some(tree) => {
            let path = folder.join(tree);
            real_path(&path).map_err(|source| CliError::Folder { path, source })?
        }
    };
    let settings = context.settings(None, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let project = super::open(context, &settings, packages, &interrupt, observer)?;
    let cleaned = tidy::clean(&project, args.dry_run, observer)?;
    match args.format {
        FormatArg::Json => show_json(context, &cleaned, args.dry_run),
        FormatArg::Text => show_text(context, &cleaned, args.dry_run),
    }
    let Unknown { pending, not_valid } = cleaned.unknown;
    if pending > 0 {
        let message = match pending {
            1 => "the id of 1 package is not known, as its builder image is not built: all its archives stay".to_owned(),
            _ => format!(
                "the ids of {pending} packages are not known, as their builder images are not built: all their archives stay"
            ),
        };
        context.printer.line(Weight::Progress, &message);
    }
    if not_valid > 0 {
        let message = match not_valid {
            1 => "1 package is not valid, or requires one that is not: all its archives stay"
                .to_owned(),
            _ => format!(
                "{not_valid} packages are not valid, or require some that are not: all their archives stay"
            ),
        };
        context.printer.warn(&message, Some(SEE_CHECK));
    }
    Ok(())
}

fn show_text(context: &Context<'_>, cleaned: &Cleaned, dry_run: bool) {
    let verb = if dry_run { "would remove" } else { "removed" };
    let mut sums: BTreeMap<UnusedKind, (usize, u64)> = BTreeMap::new();
    for item in &cleaned.items {
        let (count, bytes) = sums.entry(item.kind).or_default();
        *count += 1;
        *bytes += item.bytes;
        let (size, path) = (ui::size(item.bytes), item.path.display());
        context.printer.data(&format!("{verb} {size:>10}  {:9} {path}\n", item.kind));
    }
    for item in &cleaned.in_use {
        let message = format!("{} is in use, and stays", item.path.display());
        context.printer.line(Weight::Warning, &message);
    }
    for (kind, (count, bytes)) in sums {
        context.printer.data(&format!("{:>10}  {kind} ({count})\n", ui::size(bytes)));
    }
    let bytes = cleaned.items.iter().map(|item| item.bytes).sum();
    context.printer.data(&format!("{verb} {} in all\n", ui::size(bytes)));
}

fn show_json(context: &Context<'_>, cleaned: &Cleaned, dry_run: bool) {
    let item = |item: &tidy::UnusedItem| {
        let kind = item.kind.to_string();
        json!({ "kind": kind, "path": item.path.to_string_lossy(), "bytes": item.bytes })
    };
    let shown = json!({
        "dry_run": dry_run,
        "removed": cleaned.items.iter().map(item).collect::<Vec<_>>(),
        "in_use": cleaned.in_use.iter().map(item).collect::<Vec<_>>(),
        "unknown_packages": cleaned.unknown.pending + cleaned.unknown.not_valid,
        "bytes": cleaned.items.iter().map(|item| item.bytes).sum::<u64>(),
    });
    context.printer.data(&format!("{shown:#}\n"));
}

impl From<TidyError> for CliError {
    fn from(error: TidyError) -> Self {
        match error {
            TidyError::Project(error) => Self::Project(error),
            error => Self::Tidy(Box::new(error)),
        }
    }
}
