//! `mkpanda mirror`: all external inputs of builds, in one folder or one file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::args::{MirrorCommand, MirrorCreateArgs};
use super::super::error::CliError;
use super::super::settings::Settings;
use super::super::ui::{self, Weight};
use super::{Context, fetch, tree};
use crate::base::confinement::real_path;
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Interruptible, Observer};
use crate::build::project::{Project, ProjectError, SupplyFailure};
use crate::container::helper::Interrupt;
use crate::image::store::ImageStore;
use crate::mirror::{ExistingMirror, MirrorContents, MirrorError, MirrorSummary, verify, write};
use crate::package::paths::package_path;
use crate::runner::home::Home;
use crate::tree::PackageKey;

/// Makes or verifies a mirror.
pub fn run(context: &Context<'_>, command: &MirrorCommand) -> Result<(), CliError> {
    match command {
        MirrorCommand::Create(args) => create(context, args),
        MirrorCommand::Verify { place } => verify_place(context, place),
    }
}

/// A mirror under construction.
struct MirrorRun<'m> {
    args: &'m MirrorCreateArgs,
    existing: ExistingMirror,
    contents: MirrorContents,
    failures: Vec<SupplyFailure>,
    observer: &'m dyn Observer,
}

fn create(context: &Context<'_>, args: &MirrorCreateArgs) -> Result<(), CliError> {
    let (place, trees) =
        args.places.split_last().unwrap_or_else(|| unreachable!("one is required"));
    let trees = if trees.is_empty() {
        vec![context.folder()?]
    } else {
        let absolute = |path: &PathBuf| {
            let failed = |source| CliError::Folder { path: path.clone(), source };
            real_path(path).map_err(failed)
        };
        trees.iter().map(absolute).collect::<Result<_, _>>()?
    };
    let first = context.settings(args.jobs, trees.first().map(PathBuf::as_path))?;
    let progress = context.progress(&first);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let home = Home::new(first.home.clone(), first.scratch.clone());
    // Before anything is put there: a folder that others can write to is closed first.
    home.mark().map_err(ProjectError::Home)?;
    let task = format!("mirror {}", place.display());
    observer.event(Event::TaskBegan { task: task.clone() });
    let make = || {
        let existing = ExistingMirror::open(place, home.root(), &home.locks(), observer)?;
        let (contents, failures) = Default::default();
        let mut run = MirrorRun { args, existing, contents, failures, observer };
        let mut options = None;
        for tree in trees {
            let settings = context.settings(args.jobs, Some(&tree))?;
            let project = super::open(context, &settings, tree, &interrupt, observer)?;
            run.add(&project, &settings)?;
            options = Some(project.fetch_options().clone());
        }
        let options = options.unwrap_or_else(|| unreachable!("there is a tree"));
        // Nothing is written of an incomplete mirror: the old one stays as it is.
        fetch::complete(run.failures)?;
        let written = write(&run.existing, run.contents, args.prune, &options, observer)?;
        Ok((run.existing.place().to_owned(), written))
    };
    let result: Result<(PathBuf, MirrorSummary), CliError> = make();
    observer.event(Event::TaskEnded { task });
    let result = result.map(|(place, written)| {
        let MirrorSummary { files, bytes, added, dropped } = written;
        let text = format!(
            "{}: {files} files, {}; {added} written, {dropped} dropped",
            place.display(),
            ui::size(bytes)
        );
        context.printer.line(Weight::Progress, &text);
        place
    });
    let (place, result) = match result {
        Ok(place) => (Some(place), Ok(())),
        Err(error) => (None, Err(error)),
    };
    progress.finish(super::ending(&result), 0);
    if let Some(place) = place {
        context.print_path(&place);
    }
    result
}

impl MirrorRun<'_> {
    /// Adds everything that builds of a tree take from elsewhere.
    fn add(&mut self, project: &Project, settings: &Settings) -> Result<(), CliError> {
        let Self { args, observer, .. } = *self;
        let keys = tree::keys(project, &args.variant, None, observer)?;
        project.check_lock(&keys)?;
        let (have, wanted): (Vec<_>, Vec<_>) = project
            .source_requests(&keys)?
            .into_iter()
            // What the mirror has is not fetched again, even if no cache on this machine has it.
            .partition(|request| self.existing.has_source(request));
        for request in &have {
            self.contents.keep_source(request);
        }
        let jobs = fetch::jobs(args.jobs.or(settings.jobs));
        let supplies = project.fetch_all(wanted, &keys, jobs, observer)?;
        for (request, fetched) in &supplies.sources {
            self.contents.add_source(request, fetched);
        }
        let store = ImageStore::open(project.home().root()).map_err(ProjectError::Store)?;
        let tree = settings_name(project);
        for image in &supplies.images {
            self.contents.add_image(&store, &image.name, &image.image, &tree)?;
        }
        for name in &supplies.unbuilt {
            let message = "the image is not built yet, so the mirror gets its base images alone: build the tree once, and make the mirror again".to_owned();
            observer.event(Event::Warning { subject: name.as_str().to_owned(), message });
        }
        self.failures.extend(supplies.failures);
        if args.packages { self.add_packages(project, &keys) } else { Ok(()) }
    }

    fn add_packages(&mut self, project: &Project, keys: &[PackageKey]) -> Result<(), CliError> {
        let (identified, pending) = project.identify_without_building(keys, self.observer)?;
        let mut absent = pending.len();
        for identity in identified.identities.iter() {
            let id = &identity.id;
            let archive = project.cache.archive(id);
            if self.existing.has(&package_path(id)) {
                self.contents.keep_package(id)?;
            } else if project.cache.has(id) {
                let ends = || self.observer.is_interrupted();
                let sum = Sha256Sum::of_file_within(&archive, u64::MAX, ends)
                    .map_err(ProjectError::Cache)?;
                self.contents.add_package(id, archive, sum.as_str())?;
            } else {
                absent += 1;
            }
        }
        if absent > 0 {
            let message = format!("{absent} packages are not built yet, and not in the mirror");
            self.observer.event(Event::Warning { subject: String::new(), message });
        }
        Ok(())
    }
}

/// Name of a project's tree for messages.
fn settings_name(project: &Project) -> String {
    project.cache.root().parent().unwrap_or(project.cache.root()).display().to_string()
}

fn verify_place(context: &Context<'_>, place: &Path) -> Result<(), CliError> {
    let settings = context.settings(None, None)?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let (files, faults) = verify(place, observer)?;
    if !faults.is_empty() {
        return Err(CliError::MirrorFaults { place: place.to_owned(), faults });
    }
    context
        .printer
        .data(&format!("{}: {files} files are as the lock file says\n", place.display()));
    Ok(())
}

impl From<MirrorError> for CliError {
    fn from(error: MirrorError) -> Self {
        match error {
            MirrorError::Interrupted => Self::from(ProjectError::Interrupted),
            error => Self::Mirror(Box::new(error)),
        }
    }
}
