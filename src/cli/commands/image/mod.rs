//! `mkpanda image`: the store of builder images.

mod list;
mod transfer;

use std::sync::Arc;

use super::super::args::ImageCommand;
use super::super::error::CliError;
use super::super::settings::Settings;
use super::super::tool_error::ToolError;
use super::super::ui::{self, Weight};
use super::Context;
use crate::base::atomic;
use crate::base::event::{Interruptible, Observer};
use crate::build::gc::{self, GarbageKind, GcOptions, Spared};
use crate::container::helper::Interrupt;
use crate::image::reference::ImageRef;
use crate::image::store::ImageStore;
use crate::runner::isolation;
use transfer::TransferContext;

/// Runs a subcommand.
pub fn run(context: &Context<'_>, command: &ImageCommand) -> Result<(), CliError> {
    match command {
        ImageCommand::Login(args) => return super::login::login(context, args),
        ImageCommand::Logout(args) => return super::login::logout(context, args),
        _ => {}
    }
    let settings = context.settings(None, Some(&context.tree_folder()?))?;
    let progress = context.progress(&settings);
    let store = ImageStore::open(&settings.home)?;
    let interrupt = Arc::new(Interrupt::default());
    if matches!(command, ImageCommand::Pull { .. } | ImageCommand::Push { .. }) {
        // The others do nothing for long that a signal can't end.
        super::interrupt_on_signals(&interrupt)?;
    }
    let observer = Interruptible::new(&progress, || interrupt.is_raised());
    let transfer = TransferContext {
        context,
        settings: &settings,
        store: &store,
        observer: &observer,
        interrupt: &interrupt,
    };
    match command {
        ImageCommand::Pull { image, platform } => transfer.pull(image, platform.as_ref()),
        ImageCommand::Push { image, destination } => transfer.push(image, destination.as_deref()),
        ImageCommand::Save { image, output } => transfer.save(image, output),
        ImageCommand::Load { input, name } => transfer.load(input, name.as_deref()),
        ImageCommand::Build(args) => {
            if args.push && args.tag.is_empty() {
                return Err(ToolError::PushWithoutName.into());
            }
            let built = super::image_build::run(context, &settings, &store, args, &progress)?;
            if let Some(file) = &args.iidfile {
                let path = context.folder()?.join(file);
                // Without an end of line, as docker and podman write it.
                atomic::write(&path, built.as_bytes()).map_err(ToolError::IdFile)?;
            }
            if args.push {
                for name in &args.tag {
                    transfer.push(name, None)?;
                }
            }
            let Some(output) = &args.output else { return Ok(()) };
            // Under its name, if it has one.
            transfer.save(args.tag.first().unwrap_or(&built), output)
        }
        ImageCommand::List { format } => list::list(context, &settings, &store, *format),
        // Done before the store is opened.
        ImageCommand::Login(_) | ImageCommand::Logout(_) => Ok(()),
        ImageCommand::Prune { dry_run } => prune(context, &settings, *dry_run, &progress),
        ImageCommand::Tag { image, names } => tag(&store, image, names, &progress),
        ImageCommand::Inspect { image } => inspect(context, &store, image),
        ImageCommand::Rm { images } => remove(context, &settings, &store, images, &progress),
    }
}

/// Gives an image further names.
fn tag(
    store: &ImageStore,
    image: &str,
    names: &[String],
    observer: &dyn Observer,
) -> Result<(), CliError> {
    let names = names.iter().map(|name| name.parse()).collect::<Result<Vec<ImageRef>, _>>()?;
    let found = store.find_any(image)?;
    Ok(store.name(&found, &names, observer)?)
}

/// Removes images without a name, with all that came of their making and that nothing else needs.
fn prune(
    context: &Context<'_>,
    settings: &Settings,
    dry_run: bool,
    observer: &dyn Observer,
) -> Result<(), CliError> {
    let runner = super::runner_settings(context, settings, &Arc::default());
    let only = [GarbageKind::Staging, GarbageKind::Image, GarbageKind::Blob].into();
    let options = GcOptions { dry_run, only: Some(only), ..GcOptions::default() };
    let garbage = gc::collect(&runner.home, &runner.isolation, &options, observer)?;
    let verb = if dry_run { "would remove" } else { "removed" };
    for item in &garbage.items {
        let line = format!("{verb} {:>10}  {:8} {}\n", ui::size(item.bytes), item.kind, item.name);
        context.printer.data(&line);
    }
    let line = format!("{verb} {} in all\n", ui::size(garbage.bytes()));
    context.printer.data(&line);
    Ok(())
}

fn inspect(context: &Context<'_>, store: &ImageStore, image: &str) -> Result<(), CliError> {
    let found = store.inspect(image)?;
    let mut text = serde_json::to_string_pretty(&found).unwrap_or_default();
    text.push('\n');
    context.printer.data(&text);
    Ok(())
}

fn remove(
    context: &Context<'_>,
    settings: &Settings,
    store: &ImageStore,
    images: &[String],
    observer: &dyn Observer,
) -> Result<(), CliError> {
    let runner = super::runner_settings(context, settings, &Arc::default());
    for image in images {
        let spared = Spared::of(&runner.home, observer)?;
        let removed = store.remove(image, &spared.blobs, observer)?;
        for name in &removed.names {
            context.printer.data(&format!("removed {}\n", name.familiar()));
        }
        let freed = ui::size(removed.bytes);
        context.printer.data(&format!("removed {} blobs, {freed}\n", removed.blobs));
        if removed.kept > 0 {
            let message = format!(
                "{} blobs stay for the build cache or a build that runs; `mkpanda gc` removes them when neither needs them",
                removed.kept
            );
            context.printer.line(Weight::Progress, &message);
        }
        let unused = removed.layers.iter().map(|layer| layer.hex().to_owned());
        let unused: Vec<String> = unused.filter(|layer| !spared.layers.contains(layer)).collect();
        isolation::remove_layers(&runner.isolation, &runner.home, &unused)?;
    }
    Ok(())
}
