//! `mkpanda release list`, `show` and `diff`: nothing is written.

use std::sync::Arc;

use super::super::super::error::CliError;
use super::super::super::format_arg::FormatArg;
use super::super::super::release_args::{ReleaseArgs, ShownArg};
use super::super::{Context, ending};
use super::Desk;
use crate::base::event::{Interruptible, Observer};
use crate::build::cache::Cache;
use crate::build::project::ProjectError;
use crate::container::helper::Interrupt;
use crate::release::view::{self, show_json, show_page, show_text};
use crate::release::{Diff, Means, ReleaseError, Side, read_release};
use crate::runner::home::Home;

/// Lists the channels of the preferred storage.
pub(super) fn list(
    context: &Context<'_>,
    args: &ReleaseArgs,
    repository: Option<&str>,
) -> Result<(), CliError> {
    let format = args.format_without_page("mkpanda release list")?;
    reading(context, args, |desk, observer| {
        let releases = view::list(desk.storages.preferred(), repository, observer)?;
        Ok(match format {
            FormatArg::Text => view::list_text(&releases),
            FormatArg::Json => format!("{:#}\n", view::list_json(&releases)),
        })
    })
}

/// Shows the release of a channel.
pub(super) fn show(
    context: &Context<'_>,
    args: &ReleaseArgs,
    channel: &str,
) -> Result<(), CliError> {
    reading(context, args, |desk, observer| {
        let release = read_release(desk.storages.preferred(), channel, observer)?;
        Ok(match args.format {
            ShownArg::Text => show_text(&release),
            ShownArg::Json => format!("{:#}\n", show_json(&release)),
            ShownArg::Html => show_page(&release),
        })
    })
}

/// Shows the differences between two releases.
pub(super) fn diff(
    context: &Context<'_>,
    args: &ReleaseArgs,
    first: &str,
    second: &str,
) -> Result<(), CliError> {
    let format = args.format_without_page("mkpanda release diff")?;
    reading(context, args, |desk, observer| {
        let storage = desk.storages.preferred();
        let releases =
            [read_release(storage, first, observer)?, read_release(storage, second, observer)?];
        let sides = [&releases[0], &releases[1]].map(|metadata| Side { metadata, storage });
        let home = Home::new(desk.settings.home.clone(), desk.settings.scratch.clone());
        home.mark().map_err(ProjectError::Home)?;
        let scratch = home.scratch().map_err(ProjectError::Home)?;
        let limits = desk.settings.archive_limits();
        let means = Means {
            cache: &Cache::of(&desk.packages),
            scratch,
            limits: &limits,
            required: desk.settings.required_keys.as_ref(),
        };
        let diff = Diff::new(sides, &means, observer)?;
        Ok(match format {
            FormatArg::Text => diff.text(),
            FormatArg::Json => format!("{:#}\n", diff.to_json()),
        })
    })
}

/// Runs a command that prints something of the preferred storage.
fn reading(
    context: &Context<'_>,
    args: &ReleaseArgs,
    work: impl FnOnce(&Desk, &dyn Observer) -> Result<String, CliError>,
) -> Result<(), CliError> {
    let desk = Desk::open(context, args)?;
    let progress = context.progress(&desk.settings);
    let interrupt = Arc::<Interrupt>::default();
    super::super::interrupt_on_signals(&interrupt)?;
    let observer = Interruptible::new(&progress, || interrupt.is_raised());
    let text = work(&desk, &observer);
    let text = match text {
        Err(_) if interrupt.is_raised() => Err(ReleaseError::Interrupted.into()),
        text => text,
    };
    if text.is_err() {
        progress.finish(ending(&text), 0);
    }
    context.printer.data(&text?);
    Ok(())
}
