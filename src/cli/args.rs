//! Command line arguments. [`super::settings`] derives the settings.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub use super::cache_args::{CacheCommand, CleanArgs, ExchangeArgs, StoreArgs};
use super::candidates;
pub use super::executor_args::ExecutorArgs;
pub use super::format_arg::FormatArg;
pub use super::global_args::{
    CompressionArg, GlobalArgs, IsolationArg, JobserverArg, NetworkArg, ProgressArg,
};
use super::help;
pub use super::image_args::{ImageBuildArgs, ImageCommand};
pub use super::inspect_args::{CheckArgs, ExplainArgs, GraphArgs, GraphFormat, InitArgs, ListArgs};
use super::job_args::{JobCommand, RebuildArgs};
use super::pipeline_args::PipelineCommand;
use super::release_args::ReleaseArgs;
use super::shell_args::ShellArgs;
use super::tool_args::{
    CompletionsArgs, ConfigArgs, DoctorArgs, LogArgs, LoginArgs, LogoutArgs, ManArgs, SchemaArgs,
};

/// Builds packages and package trees in containers of their own, without a daemon and without root.
#[derive(Debug, Parser)]
#[command(
    name = "mkpanda",
    version,
    about,
    infer_long_args = true,
    after_help = "Without a command, mkpanda builds the package in this folder, and what it requires. --help says more.",
    after_long_help = help::AFTER
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// Options of building the package in this folder.
    #[command(flatten, next_help_heading = "Options of building the package in this folder")]
    pub package: PackageArgs,
    /// The command; none builds the package in this folder.
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Refuses options of building the package in this folder together with another command, which
    /// would ignore them.
    pub fn checked(self) -> Result<Self, clap::Error> {
        let PackageArgs { variant, recursive, build } = &self.package;
        let given = [
            ("--variant", variant.is_some()),
            ("--recursive", *recursive),
            ("--dry-run", build.dry_run),
            ("--jobs", build.jobs.is_some()),
            ("--keep-going", build.keep_going),
            ("--dont-clean-after-build", build.dont_clean_after_build),
            ("--executor", build.executor.executor.is_some()),
            ("--executor-folder", build.executor.executor_folder.is_some()),
            ("--executor-program", build.executor.executor_program.is_some()),
            ("--remote-executor", build.executor.remote_executor.is_some()),
            ("--remote-instance", build.executor.remote_instance.is_some()),
            ("--remote-header", !build.executor.remote_header.is_empty()),
            ("--remote-property", !build.executor.remote_property.is_empty()),
            ("--remote-local-jobs", build.executor.remote_local_jobs.is_some()),
        ];
        // Clap has no words for "only without a command" when the options are flattened into the
        // top level.
        let misplaced = given.iter().find(|(_, is_given)| *is_given);
        match (&self.command, misplaced) {
            (Some(_), Some((option, _))) => Err(Self::command().error(
                clap::error::ErrorKind::ArgumentConflict,
                format!("{option} stands before the command; options of a command stand behind it"),
            )),
            _ => Ok(self),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build package trees and their bootstraps.
    Tree(TreeArgs),
    /// Fetch all sources and images of package trees, and nothing else.
    Fetch(FetchArgs),
    /// Pin everything that builds of a tree take from elsewhere, in mkpanda.lock.
    Lock(LockArgs),
    /// Make and verify mirrors: all external inputs of builds, in one folder or file.
    #[command(subcommand)]
    Mirror(MirrorCommand),
    /// Look after builder images.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Look after shared caches: built packages go there, and later builds take them from there.
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Check a tree for everything that is wrong or odd, without building.
    Check(CheckArgs),
    /// Remove from a tree's cache what no current id needs.
    Clean(CleanArgs),
    /// Print the script by which a shell completes the command line.
    Completions(CompletionsArgs),
    /// Show the settings, each with its origin: option, variable, line of a file, or default.
    Config(ConfigArgs),
    /// Try all that builds need of this machine: what works, what does not, and the command that mends it.
    Doctor(DoctorArgs),
    /// Show all inputs of a package's id, and what changed since another build.
    Explain(ExplainArgs),
    /// Give back the space that nobody needs any more.
    Gc(GcArgs),
    /// Show what requires what.
    Graph(GraphArgs),
    /// Make a new tree, or a new package in a tree.
    Init(InitArgs),
    /// Hand the build of a package to another machine: portable jobs.
    #[command(subcommand)]
    Job(JobCommand),
    /// Make and show keys that sign artifacts.
    #[command(subcommand)]
    Key(KeyCommand),
    /// List packages with their ids, and whether they are built.
    List(ListArgs),
    /// Show the log of a package's last build, or list past builds.
    Log(LogArgs),
    /// Sign in to a registry.
    Login(LoginArgs),
    /// Sign out of a registry.
    Logout(LogoutArgs),
    /// Print mkpanda's manual page, or write all pages to a folder.
    Man(ManArgs),
    /// Write pipelines of CI engines with a job for each package that no store has, and carry out their jobs.
    #[command(subcommand)]
    Pipeline(PipelineCommand),
    /// Build packages again, and compare them with those of the cache.
    Rebuild(RebuildArgs),
    /// Store built trees where people get them, with what sets machines up.
    Release(Box<ReleaseArgs>),
    /// Print the JSON Schema of a file or an output, or list all.
    Schema(SchemaArgs),
    /// Start a shell in the container of a package's build.
    Shell(ShellArgs),
}

/// The commands for keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key, as `minisign -G` does: a secret key (mode 0600), and its public key beside it.
    New {
        /// The secret key's file; `signing.key` beside your config.toml by default. The public key of `x.key` is
        /// `x.pub`.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
        /// Leave the secret key unencrypted, readable for everybody with access to the file,
        /// instead of encrypting it by a password: that of `MKPANDA_KEY_PASSWORD`, the first line
        /// of the file `MKPANDA_KEY_PASSWORD_FILE`, or one that is typed.
        #[arg(long)]
        no_password: bool,
        /// Format of the output.
        #[arg(long, value_name = "HOW", default_value = "text")]
        format: FormatArg,
    },
    /// Show the id and the public key of a file with a public or a secret key.
    Show {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Format of the output.
        #[arg(long, value_name = "HOW", default_value = "text")]
        format: FormatArg,
    },
}

/// Options of building.
#[derive(Debug, Default, Args)]
pub struct BuildArgs {
    /// Show which packages would be built, and why, and build nothing; with -v also the container
    /// of each package.
    #[arg(long)]
    pub dry_run: bool,
    /// Number of packages that are built at once; the number of cores by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Continue with other packages after a failure.
    #[arg(long)]
    pub keep_going: bool,
    /// Leave `src` and `result` in the package's folder of the cache.
    #[arg(long)]
    pub dont_clean_after_build: bool,
    /// Keep what a failed build leaves, for `mkpanda shell PACKAGE --failed`: for 7 days, or for this time, such
    /// as 12h.
    #[arg(long, value_name = "AGE", num_args = 0..=1, require_equals = true, default_missing_value = "7d")]
    pub keep_failed: Option<String>,
    /// Options of builds on other machines.
    #[command(flatten)]
    pub executor: Box<ExecutorArgs>,
}

/// Options of building the package in this folder.
#[derive(Debug, Args)]
pub struct PackageArgs {
    /// Build this variant; all of them by default.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Option<String>,
    /// Build the required packages too, which is always done.
    #[arg(long)]
    pub recursive: bool,
    /// Options of builds.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// Options of building trees.
#[derive(Debug, Args)]
pub struct TreeArgs {
    /// The tree variants, `default` being the default one; all of them by default.
    #[arg(value_name = "VARIANT", add = candidates::variants())]
    pub variants: Vec<String>,
    /// Make the bootstrap tarballs too.
    #[arg(long)]
    pub mkbootstrap: bool,
    /// Build this tree variant.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Option<String>,
    /// Options of builds.
    #[command(flatten)]
    pub build: BuildArgs,
}

/// Options of fetching.
#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The tree variants, `default` being the default one; all of them by default.
    #[arg(value_name = "VARIANT", add = candidates::variants())]
    pub variants: Vec<String>,
    /// Fetch for this tree variant.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Option<String>,
    /// Number of sources that are fetched at once; 8 or more by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}

/// Options of pinning.
#[derive(Debug, Args)]
pub struct LockArgs {
    /// The tree variants, `default` being the default one; by default all of them and all packages.
    #[arg(value_name = "VARIANT", add = candidates::variants())]
    pub variants: Vec<String>,
    /// Pin the current state of these, and change nothing else: `PACKAGE/SOURCE`, a package with
    /// all its sources, a URL, or the name of an image.
    #[arg(long, value_name = "NAME", num_args = 1.., add = candidates::inputs())]
    pub update: Vec<String>,
    /// Write nothing; list the differences, and fail if there are any. Uses no network, except for
    /// a missing upstream.
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
    /// Number of sources that are fetched at once; 8 or more by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}

/// The commands for mirrors.
#[derive(Debug, Subcommand)]
pub enum MirrorCommand {
    /// Put all external inputs of trees' builds into one folder or tar archive.
    Create(MirrorCreateArgs),
    /// Check every file of a mirror against its lock file.
    Verify {
        /// The mirror: a folder or a tar archive.
        #[arg(value_name = "DIR|FILE.tar")]
        place: PathBuf,
    },
}

/// Options of making a mirror.
#[derive(Debug, Args)]
pub struct MirrorCreateArgs {
    /// The packages folders, the current folder by default, and last the mirror: a folder, or a
    /// file that ends in .tar.
    #[arg(value_name = "[TREE]... DIR|FILE.tar", required = true)]
    pub places: Vec<PathBuf>,
    /// A tree variant; may be given several times; all of them by default.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Vec<String>,
    /// Put the packages of the trees' caches into the mirror, too, as in a repository.
    #[arg(long)]
    pub packages: bool,
    /// Drop files that none of these trees needs.
    #[arg(long)]
    pub prune: bool,
    /// Number of sources that are fetched at once; 8 or more by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}

/// Options of giving space back.
#[derive(Debug, Args)]
pub struct GcArgs {
    /// A packages folder whose packages stay unpacked; may be given several times.
    #[arg(long, value_name = "DIR")]
    pub tree: Vec<PathBuf>,
    /// Keep items used in the last N days; 0 keeps only needed items.
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub keep_days: u32,
    /// If more than this is left, such as 20G, remove the least recently used items as well.
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<String>,
    /// Show the files to be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
}
