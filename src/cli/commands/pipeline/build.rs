//! `mkpanda pipeline build`: a job of a pipeline.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::super::super::args::BuildArgs;
use super::super::super::error::CliError;
use super::super::super::pipeline_args::PipelineBuildArgs;
use super::super::super::settings::Settings;
use super::super::super::ui::Weight;
use super::super::{Context, RunOutcome, at_hand, fetch, job, requested, vouching_keys};
use super::sources::sources;
use crate::base::causes::with_causes;
use crate::base::escape::{path_argument, shell_argument};
use crate::base::event::{Event, Interruptible, Observer};
use crate::base::http::redact;
use crate::build::history::{self, BuildOutcome, PastBuild};
use crate::build::project::{BuildOptions, IdentifiedPackages, Project, ProjectError};
use crate::build::upload::Evidence;
use crate::container::helper::Interrupt;
use crate::exchange::{self, PushReport, WantedArtifacts};
use crate::package::PackageId;
use crate::pipeline::{PipelineError, stored};
use crate::portable::{self, ExportOptions};
use crate::tree::PackageKey;

/// Builds packages, keeps the logs, and sees that the packages are in a store.
pub(super) fn run(context: &Context<'_>, args: &PipelineBuildArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let settings = context.settings(args.jobs, Some(&folder))?;
    let progress = context.progress(&settings);
    let interrupt = Arc::<Interrupt>::default();
    let project = super::super::open(context, &settings, folder.clone(), &interrupt, &progress)?;
    // Now rather than after hours of building: without a store, the next job finds no packages.
    sources(&settings, &project)?;
    let mut wanted: Vec<PackageKey> = Vec::new();
    for text in &args.packages {
        wanted.extend(at_hand::typed_package(&folder, &project.tree, text)?);
    }
    let build_args = BuildArgs { jobs: args.jobs, keep_going: true, ..BuildArgs::default() };
    let options = super::super::build_options(&settings, &build_args)?;
    super::super::interrupt_on_signals(&interrupt)?;
    let observer = &Interruptible::new(&progress, || interrupt.is_raised());
    let run =
        Run { context, args, settings: &settings, project: &project, options: &options, wanted };
    let mut outcome = RunOutcome::default();
    let mut failed = Vec::new();
    let result = run.build(&mut outcome, &mut failed, observer);
    let result = outcome.show(context, &progress, result);
    for key in &failed {
        run.show_command_of_failed(key);
    }
    result
}

/// A job.
struct Run<'a> {
    context: &'a Context<'a>,
    args: &'a PipelineBuildArgs,
    settings: &'a Settings,
    project: &'a Project,
    options: &'a BuildOptions,
    wanted: Vec<PackageKey>,
}

impl Run<'_> {
    /// Builds, and collects the packages whose builds failed.
    fn build(
        &self,
        outcome: &mut RunOutcome,
        failed: &mut Vec<PackageKey>,
        observer: &dyn Observer,
    ) -> Result<(), CliError> {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (identified, plan) =
            requested::plan(self.project, &self.wanted, self.options, observer)?;
        outcome.count(&plan);
        let built = self.project.build(&identified, &plan, self.options, observer);
        let builds = plan.to_build().filter_map(|step| {
            let build = history::of_id(self.project.home(), step.id.clone())?;
            // A build of an earlier run with the same id is not this job's.
            (build.began >= began).then_some((&step.key, build))
        });
        let builds: Vec<(&PackageKey, PastBuild)> = builds.collect();
        let kept = self.args.logs.as_ref().map_or(Ok(()), |logs| {
            let logs = self.context.folder()?.join(logs);
            self.keep(&logs, &identified, &builds, observer)
        });
        failed.extend(
            builds.iter().filter(|(_, build)| is_failed(build)).map(|(key, _)| (*key).clone()),
        );
        // After the logs, which are wanted most where a build has failed.
        built?;
        kept?;
        self.pass_on(&identified, observer)
    }

    /// Copies logs, and writes portable jobs of failed builds if they are wanted.
    fn keep(
        &self,
        logs: &Path,
        identified: &IdentifiedPackages,
        builds: &[(&PackageKey, PastBuild)],
        observer: &dyn Observer,
    ) -> Result<(), CliError> {
        for (key, build) in builds {
            let id = &build.id;
            let copied = fs_err::create_dir_all(logs)
                .and_then(|()| fs_err::copy(&build.log, logs.join(format!("{id}.log"))));
            copied.map_err(|source| PipelineError::Log { package: id.to_string(), source })?;
            if !(is_failed(build) && self.args.export_failed) || observer.is_interrupted() {
                continue;
            }
            let target = logs.join(format!("{id}.tar"));
            if let Err(error) = self.export(key, identified, &target, observer) {
                let message = format!("no portable job is made of it: {}", with_causes(&error));
                observer.event(Event::Warning { subject: id.to_string(), message });
            }
        }
        Ok(())
    }

    fn export(
        &self,
        key: &PackageKey,
        identified: &IdentifiedPackages,
        target: &Path,
        observer: &dyn Observer,
    ) -> Result<(), CliError> {
        let inputs = self.project.inputs(identified, key, self.options, observer)?;
        let options = ExportOptions {
            limits: job::limits(self.settings),
            tier: super::super::tier(self.settings),
            failed: true,
            program: None,
        };
        Ok(portable::export(self.project, &inputs, target, &options)?)
    }

    /// Gives the command by which a failed build fails on other machines, too.
    fn show_command_of_failed(&self, key: &PackageKey) {
        let global = self.context.global;
        let mut words = vec!["mkpanda".to_owned()];
        if let Some(tree) = &global.directory {
            words.extend(["-C".to_owned(), path_argument(tree)]);
        }
        for cache in &global.cache {
            // The logs of CI are read by others.
            words.extend(["--cache".to_owned(), shell_argument(&redact(cache))]);
        }
        let typed = format!("{}:{}", key.name, key.variant.name().unwrap_or("default"));
        words.extend(["pipeline build".to_owned(), shell_argument(&typed)]);
        let command = words.join(" ");
        let message =
            format!("to see {key} fail on another machine, with the same commit: {command}");
        self.context.printer.line(Weight::Progress, &message);
    }

    /// Sees that the packages are where the next jobs look. Those that this machine has had before are sent.
    fn pass_on(
        &self,
        identified: &IdentifiedPackages,
        observer: &dyn Observer,
    ) -> Result<(), CliError> {
        let repositories = sources(self.settings, self.project)?;
        let ids = self
            .wanted
            .iter()
            .filter_map(|key| Some((key.clone(), identified.identities.get(key)?.id.clone())));
        let ids: Vec<(PackageKey, PackageId)> = ids.collect();
        let missing = |ids: &[(PackageKey, PackageId)]| -> Result<Vec<_>, CliError> {
            let asked: Vec<PackageId> = ids.iter().map(|(_, id)| id.clone()).collect();
            let there = stored(&repositories, &asked, observer);
            let there = there.map_err(Box::new).map_err(CliError::Cache)?;
            Ok(ids.iter().filter(|(_, id)| !there.contains(id)).cloned().collect())
        };
        let unsent = missing(&ids)?;
        if unsent.is_empty() {
            return Ok(());
        }
        self.send(unsent.clone(), observer)?;
        let left = missing(&unsent)?;
        if left.is_empty() {
            return Ok(());
        }
        let packages = left.iter().map(|(_, id)| id.to_string()).collect();
        let store = repositories.first().map(|first| first.store().backend().name());
        Err(PipelineError::NotStored { packages, store: store.unwrap_or_default() }.into())
    }

    fn send(
        &self,
        packages: Vec<(PackageKey, PackageId)>,
        observer: &dyn Observer,
    ) -> Result<(), CliError> {
        let project = self.project;
        let caches = project.reachable_caches(&self.settings.shared_caches);
        let run = project.home().start_run().map_err(ProjectError::Home)?;
        let keys = vouching_keys(self.settings);
        let limits = project.archive_limits();
        let evidence = Evidence { home: project.home(), keys: &keys, limits, observer };
        let wanted = WantedArtifacts::of_packages(packages);
        let how = (fetch::jobs(self.settings.jobs), run.folder());
        let pushed: Vec<PushReport> =
            exchange::push(project, &wanted, &caches, evidence, how, observer);
        if observer.is_interrupted() {
            return Err(ProjectError::Interrupted.into());
        }
        let failures: Vec<_> = pushed.into_iter().flat_map(|at| at.failures).collect();
        if failures.is_empty() { Ok(()) } else { Err(CliError::Exchange(failures)) }
    }
}

fn is_failed(build: &PastBuild) -> bool {
    matches!(build.outcome, BuildOutcome::Failed { .. })
}
