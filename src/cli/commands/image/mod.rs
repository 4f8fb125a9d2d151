//! `mkpanda image`: the store of builder images.

mod transfer;

use std::sync::Arc;

use super::super::args::ImageCommand;
use super::super::error::CliError;
use super::super::settings::Settings;
use super::super::ui::{self, Weight};
use super::Context;
use crate::base::causes::with_causes;
use crate::base::event::{Interruptible, Observer};
use crate::build::gc::{self, ImageSpace, Spared};
use crate::container::helper::Interrupt;
use crate::image::reference::ImageRef;
use crate::image::store::ImageStore;
use crate::runner::isolation;
use transfer::Transfer;

/// Runs a subcommand.
pub fn run(context: &Context<'_>, command: &ImageCommand) -> Result<(), CliError> {
    let settings = context.settings(None, Some(&context.folder()?))?;
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
        ImageCommand::List => list(context, &settings, &store),
        ImageCommand::Inspect { image } => inspect(context, &store, image),
        ImageCommand::Rm { images } => remove(context, &settings, &store, images, &progress),
    }
}

/// Lists the images: id, disk space, unshared disk space, last use, names.
fn list(context: &Context<'_>, settings: &Settings, store: &ImageStore) -> Result<(), CliError> {
    let listing = store.list()?;
    let runner = super::runner_settings(context, settings, &Arc::default());
    let spaces = gc::image_spaces(&runner.home, &runner.isolation, store, &listing.images)?;
    for (image, space) in listing.images.iter().zip(spaces) {
        let names: Vec<String> = image.references.iter().map(ImageRef::familiar).collect();
        let name = if names.is_empty() { "<none>".to_owned() } else { names.join(" ") };
        let (size, own) = (ui::size(space.bytes), ui::size(space.own));
        let used = last_use(&space);
        let line = format!("{}  {size:>10}  {own:>10} its own  {used:<17}  {name}\n", image.id);
        context.printer.data(&line);
    }
    for (name, error) in &listing.broken {
        let message = format!("{name}: {}", with_causes(error));
        context.printer.line(Weight::Warning, &message);
    }
    Ok(())
}

fn last_use(space: &ImageSpace) -> String {
    const UNITS: [(u64, &str); 3] = [(24 * 3600, "days"), (3600, "hours"), (60, "minutes")];
    if space.in_use {
        return "in use".to_owned();
    }
    let Some(last) = space.last_use else { return "not used yet".to_owned() };
    let seconds = last.elapsed().map_or(0, |since| since.as_secs());
    let unit = UNITS.iter().find(|(length, _)| seconds >= 2 * length);
    unit.map_or_else(
        || "used just now".to_owned(),
        |(length, name)| format!("used {} {name} ago", seconds / length),
    )
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
