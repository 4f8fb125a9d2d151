//! `mkpanda init`: a new tree, or a new package in a tree.

use std::path::Path;
use std::sync::Arc;

use super::super::args::{FormatArg, InitArgs};
use super::super::error::CliError;
use super::super::inspect_error::InspectError;
use super::super::ui::Weight;
use super::Context;
use crate::base::escape::path_argument;
use crate::base::event::Interruptible;
use crate::base::http::redact;
use crate::container::helper::Interrupt;
use crate::package::PackageName;
use crate::scaffold::{self, Created, CreatedKind, NewSource};

/// Makes a tree or a package.
pub fn run(context: &Context<'_>, args: &InitArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let path = match &args.target {
        None => folder,
        Some(target) => folder.join(target),
    };
    let created = match path.parent().filter(|above| scaffold::is_tree(above)) {
        Some(tree) => package(context, args, tree, &path)?,
        None if args.from.is_some() => return Err(InspectError::SourceWithoutPackage.into()),
        None => scaffold::tree(&path).map_err(InspectError::from)?,
    };
    match args.format {
        FormatArg::Json => context.print_json(&created),
        FormatArg::Text => {
            for file in &created.files {
                context.print_path(file);
            }
            if let Some(path) = &created.not_ignored {
                let message = format!("{} does not have the tree's cache", path.display());
                context.printer.warn(&message, Some("add this line to it: /cache/"));
            }
            context.printer.line(Weight::Progress, &next(&created));
        }
    }
    Ok(())
}

/// Hint at the next command.
fn next(created: &Created) -> String {
    let folder = path_argument(&created.path);
    match created.kind {
        CreatedKind::Tree => format!("a tree with one package; build it: mkpanda -C {folder} tree"),
        CreatedKind::Package => format!("a package; build it: mkpanda -C {folder}"),
    }
}

fn package(
    context: &Context<'_>,
    args: &InitArgs,
    tree: &Path,
    path: &Path,
) -> Result<Created, CliError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name: PackageName =
        name.parse().map_err(|source| CliError::FolderName { path: path.to_owned(), source })?;
    // Before the source is fetched, which may take long.
    scaffold::refuse_to_replace(tree, &name).map_err(InspectError::from)?;
    let source = match &args.from {
        None => None,
        Some(url) => Some(source(context, args, tree, path, url)?),
    };
    Ok(scaffold::package(tree, &name, source.as_ref()).map_err(InspectError::from)?)
}

/// The source with the typed sum, or with the sums of the file.
fn source(
    context: &Context<'_>,
    args: &InitArgs,
    tree: &Path,
    path: &Path,
    url: &str,
) -> Result<NewSource, CliError> {
    if let Some(sha1) = &args.sha1 {
        return Ok(NewSource::with_sum(url, sha1).map_err(InspectError::from)?);
    }
    let settings = context.settings(None, Some(tree))?;
    let local = scaffold::local_file(path, url);
    if settings.offline && local.is_none() {
        return Err(InspectError::SumOffline(redact(url)).into());
    }
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    match local {
        Some(file) => Ok(NewSource::of_file(url, &file).map_err(InspectError::from)?),
        None => Ok(NewSource::fetched(url, &settings.http, observer).map_err(InspectError::from)?),
    }
}
