//! `mkpanda release create`, `promote` and `create-installer`.

use std::sync::Arc;

use serde_json::json;

use super::super::super::args::BuildArgs;
use super::super::super::error::CliError;
use super::super::super::format_arg::FormatArg;
use super::super::super::release_args::ReleaseArgs;
use super::super::super::ui::Weight;
use super::super::tree::Trees;
use super::super::{Context, RunOutcome, build_options, ending, interrupt_on_signals, open};
use super::Desk;
use crate::archive::CompressionLevel;
use crate::artifact::repository::Repository;
use crate::base::event::{Event, Interruptible, Observer};
use crate::build::cache::Cache;
use crate::build::upload::own_level;
use crate::container::helper::Interrupt;
use crate::release::artifact::ReleaseArtifact;
use crate::release::channel::{ChannelParts, Providers};
use crate::release::installers::{InstallerSource, MadeInstaller};
use crate::release::trees::{
    BootstrapSums, Completes, all_packages, bootstrap_sums, completes, copied, core_artifacts,
};
use crate::release::{
    Metadata, ReleaseError, ReleaseLocation, ReleasePlan, StaticPkgpanda, Storage, Survey, TESTING,
    check_channel, describe, execute, fetch_core, plan_json, plan_text, read_release, sign,
};

/// Builds trees, and stores them as the release of a channel.
pub(super) fn create(
    context: &Context<'_>,
    args: &ReleaseArgs,
    channel: &str,
    tag: &str,
    variants: &[String],
) -> Result<(), CliError> {
    let desk = Desk::open(context, args)?;
    let format = args.format_without_page("what is stored")?;
    let commit = desk.commit(context)?;
    let location =
        ReleaseLocation::new(TESTING, Some(channel), commit).map_err(ReleaseError::from)?;
    let url = desk.cloudformation_s3_url()?.to_owned();
    run(context, args, &desk, |run| {
        let parts = ReleaseRun::parts(context, args, &desk)?;
        run.check_channel(args, &desk, &location)?;
        let completes = run.build(context, &desk, args, variants)?;
        let cache = Cache::of(&desk.packages);
        let core = core_artifacts(&completes, &cache)?;
        let metadata = describe(&location, tag, completes, &core, &desk.storages, &url);
        let release = Release { location, metadata, core, cache };
        run.finish(context, args, &desk, release, &parts, format)
    })
}

/// Stores a release of this commit in another repository or channel, too.
pub(super) fn promote(
    context: &Context<'_>,
    args: &ReleaseArgs,
    source: &str,
    destination: &str,
    channel: Option<&str>,
) -> Result<(), CliError> {
    let desk = Desk::open(context, args)?;
    let format = args.format_without_page("what is stored")?;
    let commit = desk.commit(context)?;
    let location =
        ReleaseLocation::new(destination, channel, commit).map_err(ReleaseError::from)?;
    let url = desk.cloudformation_s3_url()?.to_owned();
    run(context, args, &desk, |run| {
        let parts = ReleaseRun::parts(context, args, &desk)?;
        let from = read_release(desk.storages.preferred(), source, run.observer)?;
        if from.commit != *location.commit() {
            let (theirs, ours) = (from.commit, location.commit().clone());
            let path = source.to_owned();
            let is_named = super::names_commit(context);
            return Err(ReleaseError::OtherCommit { path, theirs, ours, is_named }.into());
        }
        run.check_channel(args, &desk, &location)?;
        let cache = run.fetch(&desk, &from)?;
        let core = core_artifacts(&from.all_completes, &cache)?;
        let core = copied(core, &from.repository_path)?;
        let completes = from.all_completes;
        let metadata = describe(&location, &from.tag, completes, &core, &desk.storages, &url);
        let release = Release { location, metadata, core, cache };
        run.finish(context, args, &desk, release, &parts, format)
    })
}

/// Makes the installers of a release.
pub(super) fn create_installer(
    context: &Context<'_>,
    args: &ReleaseArgs,
    source: &str,
) -> Result<(), CliError> {
    let desk = Desk::open(context, args)?;
    run(context, args, &desk, |run| {
        let parts = ReleaseRun::parts(context, args, &desk)?;
        let from = read_release(desk.storages.preferred(), source, run.observer)?;
        let cache = run.fetch(&desk, &from)?;
        let version = desk.config.version.clone().unwrap_or_else(|| from.tag.clone());
        let sums = bootstrap_sums(&from, &cache)?;
        for installer in run.installers((&from, &cache, &version, &sums), &parts)? {
            context.print_path(&installer.path);
        }
        Ok(())
    })
}

/// Complete release, except for its channel.
struct Release {
    location: ReleaseLocation,
    metadata: Metadata,
    core: Vec<ReleaseArtifact>,
    cache: Cache,
}

/// Parts of a release beside its trees.
struct ReleaseParts {
    pkgpanda: StaticPkgpanda,
    providers: Providers,
}

/// Runs a command with progress, until it ends or is interrupted.
fn run(
    context: &Context<'_>,
    args: &ReleaseArgs,
    desk: &Desk,
    command: impl FnOnce(&mut ReleaseRun<'_>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let progress = context.progress(&desk.settings);
    let interrupt = Arc::<Interrupt>::default();
    interrupt_on_signals(&interrupt)?;
    let observer = Interruptible::new(&progress, || interrupt.is_raised());
    let stores = !args.noop && !args.local;
    let mut run = ReleaseRun {
        observer: &observer,
        interrupt: &interrupt,
        outcome: RunOutcome::default(),
        stores,
    };
    let result = command(&mut run);
    let result = match result {
        // In place of the error, which is that of whatever the interruption ended.
        Err(_) if interrupt.is_raised() => Err(ReleaseError::Interrupted.into()),
        result => result,
    };
    progress.finish(ending(&result), run.outcome.cached);
    result
}

struct ReleaseRun<'w> {
    observer: &'w dyn Observer,
    interrupt: &'w Arc<Interrupt>,
    outcome: RunOutcome,
    /// True if something is to be stored.
    stores: bool,
}

impl ReleaseRun<'_> {
    /// Reads a release's parts beside its trees, before any build.
    fn parts(
        context: &Context<'_>,
        args: &ReleaseArgs,
        desk: &Desk,
    ) -> Result<ReleaseParts, CliError> {
        let pkgpanda = desk.pkgpanda(context, args)?;
        let mut providers = Providers::read(&desk.config.providers, desk.checkout())?;
        if args.local {
            // Only the installers are made then.
            providers.clouds.clear();
        }
        Ok(ReleaseParts { pkgpanda, providers })
    }

    /// Refuses a channel that may not be written to, before any build.
    fn check_channel(
        &self,
        args: &ReleaseArgs,
        desk: &Desk,
        location: &ReleaseLocation,
    ) -> Result<(), CliError> {
        if !self.stores {
            return Ok(());
        }
        desk.check_written(self.observer)?;
        for storage in desk.storages.written() {
            check_channel(storage, location, args.replace, self.observer)?;
        }
        Ok(())
    }

    /// Builds missing packages of tree variants, and their bootstraps.
    fn build(
        &mut self,
        context: &Context<'_>,
        desk: &Desk,
        args: &ReleaseArgs,
        variants: &[String],
    ) -> Result<Completes, CliError> {
        let build = BuildArgs {
            dry_run: false,
            jobs: args.jobs,
            keep_going: false,
            dont_clean_after_build: false,
            ..BuildArgs::default()
        };
        let (settings, packages) = (&desk.settings, desk.packages.clone());
        let project = open(context, settings, packages, self.interrupt, self.observer)?;
        let mut options = build_options(settings, &build)?;
        options.compression = CompressionLevel::Default;
        if options.repository.is_none() && self.stores {
            // Earlier releases' packages lie where the new ones go.
            let repository = Repository::new(desk.storages.preferred().store.folder(TESTING));
            options.repository = Some(match &settings.required_keys {
                Some(keys) => repository.requiring(keys.clone()),
                None => repository,
            });
        }
        let names: Vec<&String> = variants.iter().collect();
        let trees = Trees::resolve(&project, &names, options.repository.as_ref(), self.observer)?;
        let how = (&options, self.interrupt, true);
        let built = trees.build(&project, how, self.observer, &mut self.outcome)?;
        let completes = completes(&built)?;
        for package in all_packages(&completes) {
            let archive = project.cache.archive(&package);
            let level = own_level(project.home(), &package, &archive).map_err(|source| {
                let path = archive.clone();
                ReleaseError::File { operation: "read", path, source }
            })?;
            if let Some(level) = level {
                return Err(ReleaseError::Level { package, level, archive }.into());
            }
        }
        Ok(completes)
    }

    /// Fetches the missing parts of a release into the cache.
    fn fetch(&self, desk: &Desk, release: &Metadata) -> Result<Cache, CliError> {
        let cache = Cache::of(&desk.packages);
        if let Some(link) = cache.linked() {
            return Err(crate::build::project::ProjectError::CacheLink(link).into());
        }
        let limits = desk.settings.archive_limits();
        let keys = desk.settings.required_keys.as_ref();
        let storage = desk.storages.preferred();
        fetch_core(storage, release, &cache, &limits, keys, self.observer)?;
        Ok(cache)
    }

    /// Makes the artifacts of the channel, and stores the release, or shows the plan.
    fn finish(
        &self,
        context: &Context<'_>,
        args: &ReleaseArgs,
        desk: &Desk,
        release: Release,
        parts: &ReleaseParts,
        format: FormatArg,
    ) -> Result<(), CliError> {
        let Release { location, mut metadata, core, cache } = release;
        let version = desk.config.version.clone().unwrap_or_else(|| metadata.tag.clone());
        let signer = desk.settings.shared_caches.signer();
        let sums = bootstrap_sums(&metadata, &cache)?;
        let mut channel = ChannelParts {
            metadata: &metadata,
            version: &version,
            pkgpanda: &parts.pkgpanda,
            signing_key: signer.map(|signer| signer.key().line()),
            providers: &parts.providers.clouds,
            bootstrap_sums: &sums,
        }
        .artifacts()?;
        let installers = self.installers((&metadata, &cache, &version, &sums), parts)?;
        if args.local && !args.noop {
            for installer in &installers {
                context.print_path(&installer.path);
            }
            return Ok(());
        }
        channel.extend(installers.into_iter().map(|installer| installer.artifact));
        metadata.channel_artifacts = channel.iter().map(ReleaseArtifact::described).collect();
        let mut artifacts: Vec<ReleaseArtifact> = core.into_iter().chain(channel).collect();
        if let Some(signer) = signer {
            artifacts = sign(artifacts, signer)?;
        }
        let plan = ReleasePlan::new(location, &metadata, &artifacts).map_err(ReleaseError::from)?;
        if args.noop {
            context.printer.data(&match format {
                FormatArg::Text => plan_text(&plan, &desk.storages),
                FormatArg::Json => format!("{:#}\n", plan_json(&plan, &desk.storages)),
            });
            return Ok(());
        }
        self.store(context, args, desk, &plan, format)
    }

    /// Makes the installers of all variants with an installer, in the cache.
    fn installers(
        &self,
        (metadata, cache, version, bootstrap_sums): (&Metadata, &Cache, &str, &BootstrapSums),
        parts: &ReleaseParts,
    ) -> Result<Vec<MadeInstaller>, CliError> {
        let (pkgpanda, provider) = (&parts.pkgpanda, &parts.providers.on_premises);
        let source =
            InstallerSource { metadata, cache, bootstrap_sums, pkgpanda, version, provider };
        Ok(source.installers(self.observer)?)
    }

    /// Stores a release.
    fn store(
        &self,
        context: &Context<'_>,
        args: &ReleaseArgs,
        desk: &Desk,
        plan: &ReleasePlan,
        format: FormatArg,
    ) -> Result<(), CliError> {
        let task = format!("release {}", plan.location.channel_path());
        self.observer.event(Event::TaskBegan { task: task.clone() });
        let storages = desk.storages.written();
        let (preferred, replaces) = (desk.storages.preferred(), args.replace);
        let survey = Survey { plan, preferred, replaces, observer: self.observer };
        let stored = storages
            .iter()
            .map(|storage| Ok((*storage, survey.look(storage)?)))
            .collect::<Result<Vec<_>, ReleaseError>>()
            .and_then(|surveyed| execute(plan, &surveyed, self.observer));
        self.observer.event(Event::TaskEnded { task });
        let stored = stored?;
        let text = format!(
            "release of {} in {}: {} objects stored, {} were there",
            plan.location.commit(),
            plan.location.channel_path(),
            stored.written,
            stored.left
        );
        context.printer.line(Weight::Progress, &text);
        let url = |storage: &&Storage| format!("{}{}", storage.url, plan.location.channel_path());
        let urls: Vec<String> = storages.iter().map(url).collect();
        context.printer.data(&match format {
            FormatArg::Text => format!("{}\n", urls.join("\n")),
            FormatArg::Json => {
                let result = json!({
                    "channel": plan.location.channel_path(),
                    "commit": plan.location.commit(),
                    "urls": urls,
                    "stored": stored.written,
                    "left": stored.left,
                });
                format!("{result:#}\n")
            }
        });
        Ok(())
    }
}
