//! The commands, one per file: arguments in, exit code out.

mod at_hand;
pub mod cache;
pub mod check;
pub mod clean;
pub mod completions;
pub mod config;
pub mod doctor;
pub mod explain;
pub mod fetch;
pub mod gc;
pub mod graph;
pub mod image;
pub mod image_build;
mod image_context;
pub mod init;
pub mod job;
pub mod key;
pub mod list;
pub mod lock;
pub mod log;
pub mod login;
pub mod man;
pub mod mirror;
pub mod package;
pub mod pipeline;
pub mod rebuild;
pub mod release;
mod requested;
pub mod schema;
pub mod shell;
pub mod tree;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::args::{BuildArgs, CompressionArg, GlobalArgs, IsolationArg, JobserverArg, NetworkArg};
use super::environment::Environment;
use super::error::CliError;
use super::executor::{self, Wanted};
use super::parent::Parent;
use super::settings::Settings;
use super::ui::{Printer, ProgressDisplay, RunEnding, Weight};
use super::value::Text;
use crate::archive::CompressionLevel;
use crate::base::confinement::real_path;
use crate::base::event::Observer;
use crate::build::execute::Pace;
use crate::build::jobserver::Style;
use crate::build::plan::BuildPlan;
use crate::build::project::{
    BuildOptions, IdentifiedPackages, Project, ProjectError, ProjectOptions,
};
use crate::container::helper::Interrupt;
use crate::container::idmap::Tier;
use crate::container::namespace::Network;
use crate::dockerfile::step::RunNetwork;
use crate::image::registry::{Client, ImageMirrors};
use crate::package::Variant;
use crate::runner::home::Home;
use crate::runner::isolation::TierRequest;
use crate::runner::session::{RunLimits, RunnerSettings};
use crate::source::FetchOptions;
use crate::store::Store;
use crate::store::signature::TrustedKeys;
use crate::tree::has_buildinfo;
use crate::tree::lock::TreeLock;
use crate::tree::{PackageKey, TreeError};

/// Context of all commands.
#[derive(Debug)]
pub struct Context<'a> {
    /// Options of all commands.
    pub global: &'a GlobalArgs,
    /// The environment.
    pub environment: &'a Environment,
    /// Output of text.
    pub printer: Printer,
    /// Parent process.
    pub parent: Parent,
    /// Command line of the other program.
    pub pkgpanda: fn() -> clap::Command,
}

impl Context<'_> {
    /// The folder to work in, absolute and without symlinks.
    pub fn folder(&self) -> Result<PathBuf, CliError> {
        let path = self.global.directory.clone().unwrap_or_else(|| ".".into());
        real_path(&path).map_err(|source| CliError::Folder { path, source })
    }

    /// The packages folder whose settings hold in the working directory: in a package's folder the one above.
    pub fn tree_folder(&self) -> Result<PathBuf, CliError> {
        let folder = self.folder()?;
        match folder.parent() {
            Some(above) if has_buildinfo(&folder) => Ok(above.to_owned()),
            _ => Ok(folder),
        }
    }

    /// The settings for a packages directory, or for none. From here on, the process ends with its
    /// parent, if that is wanted.
    pub fn settings(
        &self,
        jobs: Option<u16>,
        packages: Option<&Path>,
    ) -> Result<Settings, CliError> {
        let settings = Settings::work_out(self.global, jobs, self.environment, packages)?;
        // As soon as the settings are known: everything later may take long.
        if settings.die_with_parent {
            self.parent.die_with().map_err(|errno| CliError::Signals(errno.into()))?;
        }
        for message in &settings.passed_over {
            self.printer.line(Weight::Warning, message);
        }
        Ok(settings)
    }

    /// Writes the path of something that was asked for to stdout.
    pub fn print_path(&self, path: &Path) {
        self.printer.data(&format!("{}\n", path.display()));
    }

    /// Writes a result as JSON to stdout.
    fn print_json(&self, value: &impl serde::Serialize) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.printer.data(&format!("{text}\n"));
    }

    /// The progress that the settings ask for.
    pub fn progress(&self, settings: &Settings) -> ProgressDisplay {
        ProgressDisplay::new(settings.progress, self.printer, self.environment)
    }
}

/// How a run ended, for the summary.
fn ending<T>(result: &Result<T, CliError>) -> RunEnding {
    match result {
        Ok(_) => RunEnding::Done,
        Err(error) if error.is_interruption() => RunEnding::Interrupted,
        Err(_) => RunEnding::Failed,
    }
}

/// Results of a run for its final output.
#[derive(Debug, Default)]
struct RunOutcome {
    /// Number of requested packages found in the cache.
    cached: usize,
    /// Requested artifacts in the order of their completion, for stdout.
    paths: Vec<RequestedArtifact>,
}

/// Requested artifact.
#[derive(Debug)]
struct RequestedArtifact {
    /// The variant of a package.
    variant: Option<Variant>,
    path: PathBuf,
}

impl RunOutcome {
    fn count(&mut self, plan: &BuildPlan) {
        self.cached = plan.entries.len() - plan.to_build().count();
    }

    /// Prints the results of a run.
    fn show(
        self,
        context: &Context<'_>,
        progress: &ProgressDisplay,
        result: Result<(), CliError>,
    ) -> Result<(), CliError> {
        progress.finish(ending(&result), self.cached);
        for RequestedArtifact { variant, path } in &self.paths {
            match variant {
                Some(variant) => context.printer.data(&format!("{variant}:{}\n", path.display())),
                None => context.print_path(path),
            }
        }
        result
    }
}

/// Opens a packages directory.
fn open(
    context: &Context<'_>,
    settings: &Settings,
    packages: PathBuf,
    interrupt: &std::sync::Arc<Interrupt>,
    observer: &dyn Observer,
) -> Result<Project, CliError> {
    let mut options = project_options(context, settings, packages, interrupt);
    let lock = TreeLock::read(&options.packages);
    let lock = lock.map_err(|report| ProjectError::Tree(TreeError::Problems(vec![report])))?;
    options.lock = lock.map(std::sync::Arc::new);
    Ok(Project::open(options, observer)?)
}

/// Network of the commands of Dockerfiles, which may download where no option says otherwise.
fn run_network(typed: Option<NetworkArg>) -> RunNetwork {
    match typed {
        None => RunNetwork::Default,
        Some(NetworkArg::None) => RunNetwork::None,
        Some(NetworkArg::Host) => RunNetwork::Host,
    }
}

/// Options for opening a packages directory, without its lock.
fn project_options(
    context: &Context<'_>,
    settings: &Settings,
    packages: PathBuf,
    interrupt: &std::sync::Arc<Interrupt>,
) -> ProjectOptions {
    let runner = runner_settings(context, settings, interrupt);
    let fetch = fetch_options(context, settings, &runner.home);
    ProjectOptions {
        packages,
        runner,
        image_locations: settings.images.clone(),
        registry: registry_client(settings),
        fetch,
        source_date_epoch: settings.source_date_epoch,
        builders: settings.builders.clone(),
        shared_caches: if settings.offline {
            settings.shared_caches.local()
        } else {
            settings.shared_caches.clone()
        },
        local_sources: settings.local_sources.clone(),
        shows_output: context.global.verbose > 0,
        image_network: run_network(context.global.network),
        lock: None,
    }
}

/// Prints the plan as data, with artifacts made `beside` packages; with `-v` also the containers of
/// its packages. Neither packages nor images are built.
fn show_plan(
    context: &Context<'_>,
    project: &Project,
    order: &[PackageKey],
    options: &BuildOptions,
    beside: impl FnOnce(&IdentifiedPackages) -> String,
    observer: &dyn Observer,
) -> Result<(), CliError> {
    let (identified, pending) = project.preview(order, observer)?;
    let plan = project.plan(&identified);
    let mut text = plan.to_string();
    text.extend(pending.iter().map(ToString::to_string));
    text.push_str(&beside(&identified));
    if context.global.verbose > 0 {
        text.push_str(&project.describe(&identified, &plan, options));
    }
    context.printer.data(&text);
    Ok(())
}

/// Options of builds, from the settings.
fn build_options(settings: &Settings, args: &BuildArgs) -> Result<BuildOptions, CliError> {
    let (cores, jobserver) = cores(settings);
    let typed = args.keep_failed.as_ref();
    let typed =
        typed.map(|value| Text { origin: "--keep-failed".to_owned(), value: value.clone() });
    let keep_failed = typed.map(|text| text.duration()).transpose()?;
    Ok(BuildOptions {
        pace: Pace {
            jobs: settings.jobs.map_or(cores, usize::from),
            cores,
            keep_going: args.keep_going,
        },
        compression: match settings.compression {
            CompressionArg::Fast => CompressionLevel::Fast,
            CompressionArg::Default => CompressionLevel::Default,
            CompressionArg::Small => CompressionLevel::Small,
        },
        network: match settings.network {
            NetworkArg::None => Network::None,
            NetworkArg::Host => Network::Host,
        },
        repository: settings.repository.clone(),
        shared_caches: settings.shared_caches.clone(),
        trusted_keys: vouching_keys(settings),
        keep: args.dont_clean_after_build,
        keep_failed: keep_failed.or(settings.keep_failed),
        jobserver,
        elsewhere: executor::elsewhere(
            &settings.executor,
            &args.executor,
            (job::limits(settings), tier(settings)),
            Wanted {
                network: settings.network == NetworkArg::Host,
                keep: args.dont_clean_after_build,
                signatures: settings.required_keys.is_some(),
            },
        )?,
    })
}

/// Number of cores of the machine, and the way of announcing the jobserver.
fn cores(settings: &Settings) -> (usize, Option<Style>) {
    let style = match settings.jobserver {
        JobserverArg::Auto => Some(Style::Auto),
        JobserverArg::Fifo => Some(Style::Fifo),
        JobserverArg::Descriptors => Some(Style::Descriptors),
        JobserverArg::Off => None,
    };
    (std::thread::available_parallelism().map_or(1, usize::from), style)
}

/// Isolation tier that the settings demand.
fn tier(settings: &Settings) -> Option<Tier> {
    settings.isolation.map(|tier| match tier {
        IsolationArg::Ranges => Tier::Ranges,
        IsolationArg::Single => Tier::Single,
    })
}

/// Keys whose signatures allow the upload of other builders' archives: those of
/// `--require-signature`, else the trusted keys of the configuration.
fn vouching_keys(settings: &Settings) -> TrustedKeys {
    settings.required_keys.clone().unwrap_or_else(|| settings.trusted_keys.clone())
}

/// The client of registries, which looks into mirrors first.
fn registry_client(settings: &Settings) -> Client {
    let may_ask =
        |mirror: &&Store| !settings.offline || settings.only_mirrors || !mirror.is_remote();
    Client::new(settings.registry.clone()).with_mirrors(ImageMirrors {
        stores: settings.mirrors.stores.iter().filter(may_ask).cloned().collect(),
        of_tree: settings.mirrors.of_tree,
    })
}

/// Options for fetching sources.
fn fetch_options(context: &Context<'_>, settings: &Settings, home: &Home) -> FetchOptions {
    let mut fetch = FetchOptions::new(home.locks(), home.git_mirrors());
    fetch.offline = settings.offline;
    fetch.only_mirrors = settings.only_mirrors;
    fetch.mirrors.clone_from(&settings.mirrors.stores);
    // Behind the mirrors, which the user or the tree names for sources.
    fetch.mirrors.extend(settings.shared_caches.sources());
    fetch.http = settings.http.clone();
    // By this link: the program's file may have been replaced by an update since the start.
    fetch.git.supervisor = Some("/proc/self/exe".into());
    let count = context.environment.get("GIT_CONFIG_COUNT");
    fetch.git.config_count = count.and_then(|count| count.parse().ok()).unwrap_or(0);
    fetch
}

/// Settings of everything that runs in containers.
fn runner_settings(
    context: &Context<'_>,
    settings: &Settings,
    interrupt: &std::sync::Arc<Interrupt>,
) -> RunnerSettings {
    RunnerSettings {
        home: Home::new(settings.home.clone(), settings.scratch.clone()),
        isolation: TierRequest {
            tier: tier(settings),
            root_range: settings.root_range,
            search_path: context.environment.get("PATH").unwrap_or_default().to_owned(),
        },
        limits: RunLimits {
            time: Some(settings.time_limit),
            memory: settings.memory_limit,
            processes: settings.process_limit,
            log: settings.log_limit,
        },
        archives: settings.archive_limits(),
        interrupt: std::sync::Arc::clone(interrupt),
        notes: std::sync::Arc::default(),
    }
}

/// Time after which another signal ends a run that has not ended. A shorter one would take a signal that comes
/// twice, from a terminal and from a parent that passes it on, for two.
const AGAIN: Duration = Duration::from_secs(1);

/// Interrupts the run on SIGINT, SIGTERM and SIGHUP: helpers and their descendants are killed, and
/// the waiting threads remove their files. Another signal ends the process as it would without a handler: one
/// thread may be in the middle of a large file. The next run removes what a killed one leaves.
fn interrupt_on_signals(interrupt: &std::sync::Arc<Interrupt>) -> Result<(), CliError> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
        .map_err(CliError::Signals)?;
    let interrupt = std::sync::Arc::clone(interrupt);
    std::thread::spawn(move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            interrupt.raise();
            if first.get_or_insert_with(Instant::now).elapsed() > AGAIN {
                // The handler's exit skips destructors, and a terminal without echo would be left
                // behind.
                super::ui::raw::restore();
                drop(signal_hook::low_level::emulate_default_handler(signal));
            }
        }
    });
    Ok(())
}
