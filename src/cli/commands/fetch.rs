//! `mkpanda fetch`: the sources and images of trees, and nothing else.

use std::sync::Arc;

use super::super::args::FetchArgs;
use super::super::error::CliError;
use super::{Context, tree};
use crate::base::event::{Interruptible, Observer};
use crate::build::project::{Project, SupplyFailure};
use crate::container::helper::Interrupt;
use crate::tree::PackageKey;

/// Fetches everything that builds of a tree take from elsewhere.
pub fn run(context: &Context<'_>, args: &FetchArgs) -> Result<(), CliError> {
    let packages = context.folder()?;
    let settings = context.settings(args.jobs, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let fetch = || {
        let project = super::open(context, &settings, packages, &interrupt, observer)?;
        let keys = tree::keys(&project, &args.variants, args.variant.as_ref(), observer)?;
        fetch(&project, &keys, jobs(args.jobs.or(settings.jobs)), observer)
    };
    let result = fetch();
    progress.finish(super::ending(&result), 0);
    result
}

fn fetch(
    project: &Project,
    keys: &[PackageKey],
    jobs: usize,
    observer: &dyn Observer,
) -> Result<(), CliError> {
    // Before anything is downloaded: a fetch fills what later builds take without a network.
    project.check_lock(keys)?;
    let requests = project.source_requests(keys)?;
    let supplies = project.fetch_all(requests, keys, jobs, observer)?;
    complete(supplies.failures)
}

/// Number of sources that are fetched at once: some wait for servers.
pub(super) fn jobs(given: Option<u16>) -> usize {
    const FEWEST: usize = 8;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    given.map_or(cores.max(FEWEST), usize::from)
}

/// Fails if something could not be fetched.
pub(super) fn complete(failures: Vec<SupplyFailure>) -> Result<(), CliError> {
    if failures.is_empty() { Ok(()) } else { Err(CliError::Supplies(failures)) }
}
