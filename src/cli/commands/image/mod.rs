//! `mkpanda image`: the store of builder images.

mod transfer;

use std::sync::Arc;

use super::super::args::ImageCommand;
use super::super::error::CliError;
use super::super::settings::Settings;
use super::super::ui::Weight;
use super::Context;
use crate::base::causes::with_causes;
use crate::base::event::{Interruptible, Observer};
use crate::build::gc::Spared;
use crate::build::home::Home;
use crate::build::isolation;
use crate::container::helper::Interrupt;
use crate::image::reference::ImageRef;
use crate::image::store::ImageStore;
use transfer::Transfer;

/// Carries one of the commands out.
pub fn run(context: &Context<'_>, command: &ImageCommand) -> Result<(), CliError> {
    let settings = context.settings(None, None)?;
    let progress = context.progress(&settings);
    let store = ImageStore::open(&settings.home)?;
    let interrupt = Arc::new(Interrupt::default());
    if matches!(command, ImageCommand::Pull { .. } | ImageCommand::Push { .. }) {
        // The others do nothing for long that a signal can't end.
        super::interrupt_on_signals(&interrupt)?;
    }
    let observer = Interruptible::new(&progress, || interrupt.is_raised());
    let transfer = Transfer {
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
            let built = super::image_build::run(context, &settings, &store, args, &progress)?;
            let Some(output) = &args.output else { return Ok(()) };
            // Under its name, if it has one.
            transfer.save(args.tag.first().unwrap_or(&built), output)
        }
        ImageCommand::List => list(context, &store),
        ImageCommand::Inspect { image } => inspect(context, &store, image),
        ImageCommand::Rm { images } => remove(context, &settings, &store, images, &progress),
    }
}

fn list(context: &Context<'_>, store: &ImageStore) -> Result<(), CliError> {
    let listing = store.list()?;
    for image in &listing.images {
        let names: Vec<String> = image.references.iter().map(ImageRef::familiar).collect();
        let name = if names.is_empty() { "<none>".to_owned() } else { names.join(" ") };
        let size = super::super::ui::size(image.size);
        context.printer.data(&format!("{}  {size:>10}  {name}\n", image.id));
    }
    for (name, error) in &listing.broken {
        let message = format!("{name}: {}", with_causes(error));
        context.printer.line(Weight::Warning, &message);
    }
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
    let home = Home::new(settings.home.clone(), settings.scratch.clone());
    for image in images {
        let spared = Spared::of(&home, observer)?;
        let removed = store.remove(image, &spared.blobs, observer)?;
        for name in &removed.names {
            context.printer.data(&format!("removed {}\n", name.familiar()));
        }
        let freed = super::super::ui::size(removed.bytes);
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
        isolation::remove_layers(&super::wanted_isolation(context, settings), &home, &unused)?;
    }
    Ok(())
}
