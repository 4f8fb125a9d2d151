//! `mkpanda cache`: shared caches, outside of builds.

mod exchange;
mod index;
mod stat;
mod verify;

use std::sync::Arc;

use super::super::args::CacheCommand;
use super::super::error::CliError;
use super::super::settings::Settings;
use super::{Context, fetch};
use crate::artifact::shared_cache::{SharedCache, SharedCaches};
use crate::base::event::{Interruptible, Observer};
use crate::container::helper::Interrupt;

/// Runs a subcommand.
pub fn run(context: &Context<'_>, command: &CacheCommand) -> Result<(), CliError> {
    match command {
        CacheCommand::Push(args) => exchange::push(context, args),
        CacheCommand::Pull(args) => exchange::pull(context, args),
        CacheCommand::Stat(args) => stat::run(context, args),
        CacheCommand::Verify(args) => verify::run(context, args),
        CacheCommand::Index { store, output } => index::run(context, store, output.as_deref()),
    }
}

/// Returns the wanted caches, which must exist. `verb` names the purpose.
fn caches<'c>(
    caches: &'c SharedCaches,
    verb: &'static str,
    is_wanted: impl Fn(&SharedCache) -> bool,
) -> Result<Vec<&'c SharedCache>, CliError> {
    let found: Vec<_> = caches.iter().filter(|cache| is_wanted(cache)).collect();
    if found.is_empty() {
        return Err(CliError::NoCache(verb));
    }
    Ok(found)
}

/// Runs a command that reads caches and no tree.
fn with_caches<T>(
    context: &Context<'_>,
    jobs: Option<u16>,
    verb: &'static str,
    work: impl FnOnce(&Settings, &[&SharedCache], usize, &dyn Observer) -> Result<T, CliError>,
) -> Result<T, CliError> {
    let settings = context.settings(jobs, None)?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let reachable = if settings.offline {
        settings.shared_caches.local()
    } else {
        settings.shared_caches.clone()
    };
    let found = caches(&reachable, verb, |_| true)?;
    for cache in &found {
        if let Some(folder) = cache.store().local_folder().filter(|folder| !folder.is_dir()) {
            return Err(CliError::NoCacheFolder(folder.to_owned()));
        }
    }
    work(&settings, &found, fetch::jobs(jobs.or(settings.jobs)), observer)
}
