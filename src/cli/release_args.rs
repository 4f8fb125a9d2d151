//! Arguments of `mkpanda release`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::candidates;
use super::format_arg::FormatArg;

/// Options of releases, and the command.
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    /// The configuration; `dcos-release.config.yaml` in this folder by default.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// Build all missing packages, show every object that would be stored, and store nothing.
    #[arg(long, global = true)]
    pub noop: bool,
    /// Make the installers alone, in `packages/cache/`, and store nothing.
    #[arg(long, global = true)]
    pub local: bool,
    /// Move a channel that has a release of another commit; store a release again that differs from
    /// the complete one of its commit.
    #[arg(long, global = true)]
    pub replace: bool,
    /// The static pkgpanda that hosts are set up with; by default the configuration's, or the one beside mkpanda.
    #[arg(long, value_name = "FILE", global = true)]
    pub pkgpanda: Option<PathBuf>,
    /// Form in which plans, lists and differences are shown.
    #[arg(long, value_name = "HOW", default_value = "text", global = true)]
    pub format: ShownArg,
    /// Number of packages that are built at once; the number of cores by default.
    // With a name of its own: a global argument would be that of the commands above, too.
    #[arg(id = "release_jobs", short, long = "jobs", value_name = "N", global = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// The command.
    #[command(subcommand)]
    pub command: ReleaseCommand,
}

/// Form of a release's results on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShownArg {
    /// Lines for people.
    Text,
    /// JSON for programs.
    Json,
    /// A page, in one HTML file; of `show` alone.
    Html,
}

impl ShownArg {
    /// Form of a result that has no page.
    pub fn without_page(self) -> Option<FormatArg> {
        match self {
            Self::Text => Some(FormatArg::Text),
            Self::Json => Some(FormatArg::Json),
            Self::Html => None,
        }
    }
}

impl ReleaseCommand {
    /// True for commands that make a release, which can be signed.
    pub fn stores(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Promote { .. })
    }
}

/// The commands for releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Build tree variants, and store them as the release of a channel of the repository `testing`.
    Create {
        /// The channel.
        channel: String,
        /// A name of the release for people.
        tag: String,
        /// The tree variants, `default` being the default one.
        #[arg(value_name = "VARIANT", required = true, add = candidates::variants())]
        variants: Vec<String>,
    },
    /// Store a release of this commit in another repository or channel, too.
    Promote {
        /// Path of the release in the preferred storage, such as testing/master.
        #[arg(value_name = "SOURCE")]
        source: String,
        /// Path of the repository, such as stable.
        #[arg(value_name = "REPOSITORY")]
        destination: String,
        /// A channel of that repository.
        #[arg(long, value_name = "CHANNEL")]
        destination_channel: Option<String>,
    },
    /// Make the installers of a release, in `packages/cache/`, and store nothing.
    CreateInstaller {
        /// Path of the release in the preferred storage, such as testing/master.
        #[arg(value_name = "SOURCE")]
        source: String,
    },
    /// List the channels of the preferred storage with their releases.
    List {
        /// Path of a repository; all of the storage by default.
        repository: Option<String>,
    },
    /// Show the release of a channel.
    Show {
        /// Path of the release in the preferred storage, such as testing/master.
        channel: String,
    },
    /// Show the differences between two releases: packages, and their sources.
    Diff {
        /// Path of the first release.
        #[arg(value_name = "A")]
        first: String,
        /// Path of the second release.
        #[arg(value_name = "B")]
        second: String,
    },
}
