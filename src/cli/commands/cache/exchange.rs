//! `mkpanda cache push` and `mkpanda cache pull`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::super::args::{ExchangeArgs, FormatArg};
use super::super::super::error::CliError;
use super::super::super::ui::{self, RunEnding};
use super::super::at_hand::typed_name;
use super::super::{Context, fetch, open, vouching_keys};
use super::caches;
use crate::artifact::shared_cache::SharedCache;
use crate::base::causes::with_causes;
use crate::base::event::{Event, Interruptible, Observer};
use crate::build::project::{Project, ProjectError};
use crate::build::upload::Evidence;
use crate::container::helper::Interrupt;
use crate::exchange::{
    self, ExchangeFailure, PackageSelection, PullReport, PushReport, WantedArtifacts,
};
use crate::tree::typed_variant;

/// Uploads the artifacts of a tree's cache to caches.
pub(super) fn push(context: &Context<'_>, args: &ExchangeArgs) -> Result<(), CliError> {
    let packages = context.folder()?;
    let settings = context.settings(args.store.jobs, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let keys = vouching_keys(&settings);
    let push = || -> Result<Vec<PushReport>, CliError> {
        let project = open(context, &settings, packages, &interrupt, observer)?;
        let reachable = project.reachable_caches(&settings.shared_caches);
        caches(&reachable, "can be written to", SharedCache::writes)?;
        let wanted = WantedArtifacts::of(&project, &selection(context, &project, args)?, observer)?;
        note_absent(&project, &wanted, observer);
        let run = project.home().start_run().map_err(ProjectError::Home)?;
        let limits = project.archive_limits();
        let evidence = Evidence { home: project.home(), keys: &keys, limits, observer };
        let threads = fetch::jobs(args.store.jobs.or(settings.jobs));
        let scratch = run.folder();
        Ok(exchange::push(&project, &wanted, &reachable, evidence, (threads, scratch), observer))
    };
    let pushed = push();
    let is_whole = |at: &PushReport| at.failures.is_empty() && at.skipped == 0;
    let is_done = pushed.as_ref().is_ok_and(|pushed| pushed.iter().all(is_whole));
    progress.finish(ending(is_done, &interrupt), 0);
    let pushed = pushed?;
    match args.store.format {
        FormatArg::Json => {
            let stores: Vec<Value> = pushed.iter().map(pushed_json).collect();
            context.printer.data(&format!("{:#}\n", json!({ "stores": stores })));
        }
        FormatArg::Text => pushed.iter().for_each(|at| context.printer.data(&pushed_text(at))),
    }
    if interrupt.is_raised() {
        return Err(ProjectError::Interrupted.into());
    }
    let skipped: usize = pushed.iter().map(|at| at.skipped).sum();
    failed(pushed.into_iter().flat_map(|at| at.failures).collect())?;
    if skipped > 0 { Err(CliError::NotSent(skipped)) } else { Ok(()) }
}

/// Fetches the artifacts of a tree's current ids from caches.
pub(super) fn pull(context: &Context<'_>, args: &ExchangeArgs) -> Result<(), CliError> {
    let packages = context.folder()?;
    let settings = context.settings(args.store.jobs, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let pull = || -> Result<PullReport, CliError> {
        let project = open(context, &settings, packages, &interrupt, observer)?;
        let reachable = project.reachable_caches(&settings.shared_caches);
        caches(&reachable, "is read", SharedCache::reads)?;
        let wanted = WantedArtifacts::of(&project, &selection(context, &project, args)?, observer)?;
        if !wanted.unknown.is_empty() {
            let count = wanted.unknown.len();
            let message = format!(
                "the ids of {count} packages are not known, as their builder images are not here: nothing is fetched for them"
            );
            observer.event(Event::Warning { subject: String::new(), message });
        }
        let threads = fetch::jobs(args.store.jobs.or(settings.jobs));
        Ok(exchange::pull(&project, &wanted, &reachable, threads, observer))
    };
    let pulled = pull();
    let is_whole = |pulled: &PullReport| pulled.failures.is_empty() && pulled.skipped == 0;
    let is_done = pulled.as_ref().is_ok_and(is_whole);
    progress.finish(ending(is_done, &interrupt), 0);
    let pulled = pulled?;
    match args.store.format {
        FormatArg::Json => {
            let shown = json!({
                "fetched": pulled.fetched,
                "present": pulled.present,
                "missing": pulled.missing,
                "not_tried": pulled.skipped,
                "failed": pulled.failures.iter().map(failure_json).collect::<Vec<_>>(),
            });
            context.printer.data(&format!("{shown:#}\n"));
        }
        FormatArg::Text => {
            let PullReport { fetched, present, missing, skipped, failures } = &pulled;
            for name in missing {
                context.printer.data(&format!("in no cache: {name}\n"));
            }
            let text = format!(
                "{fetched} fetched, {present} were there, {} in no cache, {} failed{}\n",
                missing.len(),
                failures.len(),
                if *skipped > 0 { format!(", {skipped} not tried") } else { String::new() }
            );
            context.printer.data(&text);
        }
    }
    if interrupt.is_raised() {
        return Err(ProjectError::Interrupted.into());
    }
    failed(pulled.failures)?;
    if pulled.skipped > 0 { Err(CliError::NotFetched(pulled.skipped)) } else { Ok(()) }
}

fn ending(is_done: bool, interrupt: &Interrupt) -> RunEnding {
    match is_done {
        _ if interrupt.is_raised() => RunEnding::Interrupted,
        true => RunEnding::Done,
        false => RunEnding::Failed,
    }
}

fn selection(
    context: &Context<'_>,
    project: &Project,
    args: &ExchangeArgs,
) -> Result<PackageSelection, CliError> {
    let folder = context.folder()?;
    let variant = args.variant.as_deref().map(typed_variant).transpose()?;
    let names = args.package.iter().map(|text| typed_name(&folder, &project.tree, text));
    Ok(PackageSelection { packages: names.collect::<Result<_, _>>()?, variant })
}

fn note_absent(project: &Project, wanted: &WantedArtifacts, observer: &dyn Observer) {
    let count = wanted.not_built(&project.cache);
    if count > 0 {
        let verb = if count == 1 { "package is" } else { "packages are" };
        let message = format!("{count} {verb} not built here, and so not sent");
        observer.event(Event::Note { message });
    }
}

fn failed(failures: Vec<ExchangeFailure>) -> Result<(), CliError> {
    if failures.is_empty() { Ok(()) } else { Err(CliError::Exchange(failures)) }
}

fn pushed_text(at: &PushReport) -> String {
    let PushReport { store, sent, bytes, present, skipped, failures } = at;
    let rest = [(failures.len(), "failed"), (*skipped, "not tried")];
    let rest = rest.iter().filter(|(count, _)| *count > 0);
    let rest: Vec<String> = rest.map(|(count, word)| format!(", {count} {word}")).collect();
    let size = ui::size(*bytes);
    format!("{store}: {sent} sent ({size}), {present} were there{}\n", rest.concat())
}

fn pushed_json(at: &PushReport) -> Value {
    json!({
        "store": at.store,
        "sent": at.sent,
        "bytes": at.bytes,
        "present": at.present,
        "not_tried": at.skipped,
        "failed": at.failures.iter().map(failure_json).collect::<Vec<_>>(),
    })
}

fn failure_json(failure: &ExchangeFailure) -> Value {
    json!({
        "name": failure.name,
        "message": with_causes(&*failure.error),
        "hint": failure.error.hint(),
    })
}
