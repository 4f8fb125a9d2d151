//! `mkpanda pipeline gitlab`, `buildkite` and `github`: a pipeline from the graph of a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::super::super::error::CliError;
use super::super::super::pipeline_args::PipelineArgs;
use super::super::super::settings::Settings;
use super::super::super::ui::{Weight, counted};
use super::super::{Context, ending, tree};
use super::sources::sources;
use crate::artifact::repository::Repository;
use crate::base::confinement::real_path;
use crate::base::event::{Interruptible, Observer};
use crate::base::http::redact;
use crate::base::regular::read_regular;
use crate::bootstrap::BootstrapId;
use crate::build::project::{Project, ProjectError, needs};
use crate::container::helper::Interrupt;
use crate::package::PackageId;
use crate::pipeline::{
    Engine, JobSettings, LONGEST_TEMPLATE, Pipeline, PipelineError, Template, folder_below,
    planned, stored, text, wave_lines,
};
use crate::store::Store;
use crate::tree::{PackageKey, TreeSet};

/// Form of what is written.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// A pipeline with all of its jobs.
    Whole(Engine),
    /// A workflow of GitHub that plans its jobs when it runs.
    Planned,
    /// The plan of such a workflow, for so many waves.
    Waves(usize),
}

/// Writes a pipeline to stdout.
pub(super) fn run(context: &Context<'_>, form: Form, args: &PipelineArgs) -> Result<(), CliError> {
    let packages = context.folder()?;
    let mut jobs = JobSettings {
        tree: tree_below_top(&packages)?,
        tags: args.tags.clone(),
        template: args.template.as_deref().map_or_else(|| Ok(Template::default()), template)?,
        ..JobSettings::default()
    };
    let settings = context.settings(None, Some(&packages))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    super::super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let project = super::super::open(context, &settings, packages, &interrupt, observer);
    let made = project.and_then(|project| {
        let is_whole = args.all || matches!(form, Form::Planned);
        let pipeline = plan(context, args, is_whole, (&settings, &project), &mut jobs, observer)?;
        Ok(match form {
            Form::Whole(engine) => {
                let made = text(engine, &pipeline, &jobs, args.max_jobs.map(|most| most as usize))?;
                (made.text, Some(made.pipeline))
            }
            Form::Planned => (planned(&pipeline, &jobs)?, None),
            Form::Waves(waves) => {
                warn_of_levels(context, pipeline.levels().len(), waves);
                (wave_lines(&pipeline, waves), Some(pipeline))
            }
        })
    });
    progress.finish(ending(&made), 0);
    let (text, pipeline) = made?;
    if let Some(pipeline) = pipeline {
        let (packages, jobs) = (pipeline.packages(), pipeline.jobs.len());
        let message = format!("{} in {}", counted(packages, "package"), counted(jobs, "job"));
        context.printer.line(Weight::Progress, &message);
    }
    context.printer.data(&text);
    Ok(())
}

/// Warns of a workflow that was written when the tree had fewer levels.
fn warn_of_levels(context: &Context<'_>, levels: usize, waves: usize) {
    if levels > waves {
        let message = format!(
            "{} for {}, so neighbouring levels share jobs",
            counted(waves, "wave"),
            counted(levels, "level")
        );
        let hint = "write the workflow again: mkpanda pipeline github --planned";
        context.printer.warn(&message, Some(hint));
    }
}

/// Reads a template.
fn template(path: &Path) -> Result<Template, PipelineError> {
    let bytes = read_regular(path, LONGEST_TEMPLATE).map_err(PipelineError::TemplateFile)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        PipelineError::TemplateFile(std::io::Error::new(std::io::ErrorKind::InvalidData, error))
    })?;
    Template::parse(path, text)
}

/// Path of the tree below the top of the checkout that this folder is in, where jobs begin.
fn tree_below_top(packages: &Path) -> Result<String, CliError> {
    let here = PathBuf::from(".");
    let here = real_path(&here).map_err(|source| CliError::Folder { path: here, source })?;
    let top = here.ancestors().find(|folder| folder.join(".git").exists()).unwrap_or(&here);
    folder_below(packages, top).ok_or_else(|| {
        let (tree, top) = (packages.display().to_string(), top.display().to_string());
        PipelineError::Outside { tree, top }.into()
    })
}

/// Jobs for the packages that no store has, and what they have in common.
fn plan(
    context: &Context<'_>,
    args: &PipelineArgs,
    is_whole: bool,
    (settings, project): (&Settings, &Project),
    jobs: &mut JobSettings,
    observer: &dyn Observer,
) -> Result<Pipeline, CliError> {
    let repositories = sources(settings, project)?;
    jobs.options = options(settings, project)?;
    jobs.options.extend(signature_options(context));
    if args.export_failed {
        jobs.build_options.push("--export-failed".to_owned());
    }
    let names: Vec<&String> = args.variants.iter().chain(&args.variant).collect();
    let sets = tree::resolve(project, &tree::wanted(project, &names)?)?;
    for set in &sets {
        project.warn(&set.warnings, observer);
    }
    let keys: BTreeSet<PackageKey> =
        sets.iter().flat_map(|set| set.packages.iter().cloned()).collect();
    let order = project.tree.order(&keys).map_err(ProjectError::Tree)?;
    jobs.variants = names.into_iter().cloned().collect();
    jobs.bootstraps = args.mkbootstrap;
    if is_whole {
        return Ok(pipeline(project, &order.iter().collect::<Vec<_>>()));
    }
    project.check_lock(&order)?;
    project.check_offline(&order, &[], settings.repository.as_ref(), observer)?;
    let identified = project.identify(&order, observer)?;
    let id_of = |key: &PackageKey| identified.identities.get(key).map(|identity| &identity.id);
    let ids: BTreeSet<&PackageId> = order.iter().filter_map(&id_of).collect();
    let ids: Vec<PackageId> = ids.into_iter().cloned().collect();
    let there = stored(&repositories, &ids, observer).map_err(Box::new).map_err(CliError::Cache)?;
    note_unsent(context, project, &ids, &there);
    let is_missing = |key: &&PackageKey| id_of(key).is_some_and(|id| !there.contains(id));
    let pipeline = pipeline(project, &order.iter().filter(is_missing).collect::<Vec<_>>());
    let is_made = !pipeline.jobs.is_empty() || {
        let lacks = |set: &TreeSet| {
            let ids: Option<Vec<&PackageId>> = set.bootstrap.iter().map(&id_of).collect();
            ids.map_or(Ok(true), |ids| {
                lacks_bootstrap(&repositories, &BootstrapId::of(ids), observer)
            })
        };
        args.mkbootstrap && sets.iter().map(lacks).collect::<Result<Vec<_>, _>>()?.contains(&true)
    };
    jobs.bootstraps = args.mkbootstrap && is_made;
    Ok(pipeline)
}

/// Jobs for packages.
fn pipeline(project: &Project, packages: &[&PackageKey]) -> Pipeline {
    let places: BTreeMap<&PackageKey, usize> =
        packages.iter().enumerate().map(|(place, key)| (*key, place)).collect();
    let needs = needs(packages, &places, |key| project.tree.requires(key));
    let packages: Vec<PackageKey> = packages.iter().map(|key| (*key).clone()).collect();
    Pipeline::of(&packages, &needs)
}

fn lacks_bootstrap(
    repositories: &[Repository],
    id: &BootstrapId,
    observer: &dyn Observer,
) -> Result<bool, CliError> {
    for repository in repositories {
        let found = repository.has_bootstrap(&id.to_string(), observer);
        if found.map_err(Box::new).map_err(CliError::Cache)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Says which packages are built again, although this machine has them.
fn note_unsent(
    context: &Context<'_>,
    project: &Project,
    ids: &[PackageId],
    there: &BTreeSet<PackageId>,
) {
    let count = ids.iter().filter(|id| !there.contains(*id) && project.cache.has(id)).count();
    if count > 0 {
        let verb = if count == 1 { "is" } else { "are" };
        let message = format!(
            "{} {verb} in the tree's cache and in no store, so jobs build them again",
            counted(count, "package")
        );
        context.printer.warn(&message, Some("send what was built here: mkpanda cache push"));
    }
}

/// Options by which jobs find the same stores. Secrets would be there for all to read.
fn options(settings: &Settings, project: &Project) -> Result<Vec<String>, CliError> {
    let mut options = Vec::new();
    for cache in
        project.reachable_caches(&settings.shared_caches).iter().filter(|cache| cache.reads())
    {
        options.extend(["--cache".to_owned(), place(cache.store(), "")?]);
    }
    if let Some(repository) = project.reachable(settings.repository.as_ref()) {
        options.extend(["--repository-url".to_owned(), place(repository.store(), "file://")?]);
    }
    Ok(options)
}

/// Options of signatures as they were typed: keys lie at the same place on each runner.
fn signature_options(context: &Context<'_>) -> Vec<String> {
    let required = context.global.require_signature.iter();
    let required = required.map(|key| format!("--require-signature={key}"));
    let sign = context.global.sign.as_ref().map(|key| format!("--sign={}", key.display()));
    required.chain(sign).collect()
}

/// A store as options name it, wherever a job begins.
fn place(store: &Store, scheme: &str) -> Result<String, CliError> {
    if let Some(folder) = store.local_folder() {
        return Ok(format!("{scheme}{}", absolute(folder).display()));
    }
    let name = store.backend().name();
    match store.base_url() {
        Some(url) if redact(url) != url => Err(PipelineError::Secret { place: name }.into()),
        Some(url) => Ok(url.to_owned()),
        None => Ok(name),
    }
}

/// A folder's path from the root, also of one that is not there yet.
fn absolute(folder: &Path) -> PathBuf {
    let absolute = real_path(folder).or_else(|_missing| std::path::absolute(folder));
    let mut plain = PathBuf::new();
    for part in absolute.unwrap_or_else(|_unknown| folder.to_owned()).components() {
        match part {
            Component::ParentDir => _ = plain.pop(),
            part => plain.push(part),
        }
    }
    plain
}
