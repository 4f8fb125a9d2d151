//! `mkpanda lock`: the file that pins all external inputs of a tree's builds.

use std::sync::Arc;

use super::super::args::LockArgs;
use super::super::error::CliError;
use super::super::ui::Weight;
use super::{Context, fetch, tree};
use crate::base::atomic;
use crate::base::event::{Interruptible, Observer};
use crate::build::project::{LockOptions, Project, ProjectError, Relocked};
use crate::container::helper::Interrupt;
use crate::tree::lock::{LockFaults, TreeLock};
use crate::tree::{PackageKey, TreeError};

/// Writes, updates or checks the lock of a tree.
pub fn run(context: &Context<'_>, args: &LockArgs) -> Result<(), CliError> {
    let packages = context.folder()?;
    let settings = context.settings(args.jobs, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let lock = || {
        let old = TreeLock::read(&packages).map_err(|report| TreeError::Problems(vec![report]));
        let old = old.map_err(ProjectError::Tree)?;
        let empty = || TreeLock { path: TreeLock::place(&packages), ..TreeLock::default() };
        let old = old.unwrap_or_else(empty);
        let mut options = super::project_options(context, &settings, packages.clone(), &interrupt);
        // The old lock must not decide what the new one pins.
        options.lock = None;
        let project = Project::open(options, observer)?;
        let all = project.lockable(observer);
        let keys = match args.variants.as_slice() {
            [] => all.clone(),
            variants => tree::keys(&project, variants, None, observer)?,
        };
        if args.check {
            return check(context, args, &project, &old, &keys, observer);
        }
        let options = LockOptions {
            update: args.update.clone(),
            is_partial: !args.variants.is_empty(),
            jobs: fetch::jobs(args.jobs.or(settings.jobs)),
        };
        let relocked = project.relock(&old, &keys, &all, &options, observer)?;
        write(context, &old, relocked)
    };
    let result = lock();
    progress.finish(super::ending(&result), 0);
    result
}

fn check(
    context: &Context<'_>,
    args: &LockArgs,
    project: &Project,
    lock: &TreeLock,
    keys: &[PackageKey],
    observer: &dyn Observer,
) -> Result<(), CliError> {
    let is_partial = !args.variants.is_empty();
    let items = project.lock_differences(lock, keys, is_partial, observer)?;
    if !items.is_empty() {
        let path = lock.path.clone();
        return Err(ProjectError::Lock(Box::new(LockFaults { path, items })).into());
    }
    context.printer.line(Weight::Progress, &format!("{} fits the tree", lock.path.display()));
    Ok(())
}

/// Writes the lock, and shows its new and removed entries.
fn write(context: &Context<'_>, old: &TreeLock, relocked: Relocked) -> Result<(), CliError> {
    let Relocked { lock, failures, unknown } = relocked;
    // Before anything is written: a mistyped name would look as if it were up to date.
    if !unknown.is_empty() {
        return Err(CliError::NothingToUpdate(unknown));
    }
    fetch::complete(failures)?;
    let failed = |source| CliError::LockFile { path: lock.path.clone(), source };
    // An unchanged file keeps its time, by which other programs see changes.
    atomic::write_if_changed(&lock.path, lock.to_text().as_bytes()).map_err(failed)?;
    for (sign, lines) in [('-', old.lines_not_in(&lock)), ('+', lock.lines_not_in(old))] {
        for line in lines {
            context.printer.data(&format!("{sign} {line}\n"));
        }
    }
    context.printer.line(Weight::Progress, &format!("{} is up to date", lock.path.display()));
    Ok(())
}
