//! `mkpanda image list`: the images of the store.

use std::time::UNIX_EPOCH;

use serde_json::json;

use super::super::super::error::CliError;
use super::super::super::format_arg::FormatArg;
use super::super::super::settings::Settings;
use super::super::super::ui;
use super::super::super::ui::columns::Columns;
use super::super::Context;
use crate::base::causes::with_causes;
use crate::build::gc::{self, ImageSpace};
use crate::image::reference::ImageRef;
use crate::image::store::{Image, ImageStore};

/// Shows each image: its id, its bytes on the disk, those of them that no other image has, its last use, its names.
pub(super) fn list(
    context: &Context<'_>,
    settings: &Settings,
    store: &ImageStore,
    format: FormatArg,
) -> Result<(), CliError> {
    let listing = store.list()?;
    let runner = super::super::runner_settings(context, settings, &std::sync::Arc::default());
    let spaces = gc::image_spaces(&runner.home, &runner.isolation, store, &listing.images)?;
    let images: Vec<(&Image, ImageSpace)> = listing.images.iter().zip(spaces).collect();
    context.printer.data(&match format {
        FormatArg::Text => text(&images),
        FormatArg::Json => json(&images),
    });
    for (name, error) in &listing.broken {
        let message = format!("{name}: {}", with_causes(error));
        context.printer.warn(&message, error.hint().as_deref());
    }
    Ok(())
}

/// A line for each image, below a header.
fn text(images: &[(&Image, ImageSpace)]) -> String {
    if images.is_empty() {
        return String::new();
    }
    let mut table = Columns::new(&["ID", "SIZE", "ITS OWN", "LAST USE", "NAMES"]).numbers(&[1, 2]);
    for (image, space) in images {
        let names: Vec<String> = image.references.iter().map(ImageRef::familiar).collect();
        let name = if names.is_empty() { "<none>".to_owned() } else { names.join(" ") };
        let (size, own) = (ui::size(space.bytes), ui::size(space.own));
        table.row([image.id.to_string(), size, own, last_use(space), name]);
    }
    // Each image is on a line of its own, also where the window is narrow.
    table.text(None)
}

fn json(images: &[(&Image, ImageSpace)]) -> String {
    let entries = images.iter().map(|(image, space)| {
        let last_use = space.last_use.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        json!({
            "id": image.id,
            "manifest": image.manifest,
            "names": image.references,
            "platform": image.platform,
            "created": image.created,
            "bytes": space.bytes,
            "own_bytes": space.own,
            "in_use": space.in_use,
            "last_use": last_use.map(|since| since.as_secs()),
        })
    });
    format!("{:#}\n", json!({ "images": entries.collect::<Vec<_>>() }))
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
        || "just now".to_owned(),
        |(length, name)| format!("{} {name} ago", seconds / length),
    )
}
