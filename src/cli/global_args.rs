//! Options of every command.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Options of every command.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Options of every command")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub struct GlobalArgs {
    /// Work in this folder instead of the current one.
    #[arg(short = 'C', value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Take existing packages and bootstraps from here: an http, https or file URL.
    #[arg(long, value_name = "URL", global = true)]
    pub repository_url: Option<String>,
    /// Use nothing of a repository that this key did not sign: a public key of minisign, or a `.pub` file with one;
    /// without a value, any of the `trusted_keys` of your configuration; may be given several times.
    #[arg(long, value_name = "PUBKEY", global = true, num_args = 0..=1, default_missing_value = "")]
    pub require_signature: Vec<String>,
    /// Look here for packages and sources before they are built or fetched, and put them here after: a folder,
    /// or a URL with `http://`, `https://`, `s3://`, `az://`, `gs://` or `oci://`; may be given several times.
    #[arg(long, value_name = "PLACE", global = true)]
    pub cache: Vec<String>,
    /// Store that a command names, in place of all caches.
    #[arg(skip)]
    pub only_cache: Option<String>,
    /// Sign what is put into caches, and what hosts fetch of a release, by this secret key of minisign.
    #[arg(long, value_name = "KEY", global = true)]
    pub sign: Option<PathBuf>,
    /// True if the command signs something else than what is put into caches.
    #[arg(skip)]
    pub signs_release: bool,
    /// Look here first for sources and images: a folder, a tar archive or a URL; may be given several times.
    #[arg(long, value_name = "PLACE", global = true)]
    pub mirror: Vec<String>,
    /// Use no network: list everything that is missing before anything is built.
    #[arg(long, global = true)]
    pub offline: bool,
    /// Use the network for the mirrors alone: as --offline, but mirrors with URLs are asked.
    #[arg(long, global = true)]
    pub only_mirrors: bool,
    /// The network of builds.
    #[arg(long, value_name = "KIND", global = true)]
    pub network: Option<NetworkArg>,
    /// Demand an isolation tier instead of taking the best that the machine gives.
    #[arg(long, value_name = "TIER", global = true)]
    pub isolation: Option<IsolationArg>,
    /// Distribution of the cores among concurrent builds.
    #[arg(long, value_name = "HOW", global = true)]
    pub jobserver: Option<JobserverArg>,
    /// Compression of packages that are built here: only those of `default` can be uploaded or released.
    #[arg(long, value_name = "LEVEL", global = true)]
    pub compression: Option<CompressionArg>,
    /// Scratch folder, on a filesystem with room; runs remove their files at their end.
    #[arg(long, value_name = "DIR", global = true)]
    pub scratch: Option<PathBuf>,
    /// End as on SIGTERM when the process (the thread) that started mkpanda ends.
    #[arg(long, global = true)]
    pub die_with_parent: bool,
    /// Display of progress on stderr: `auto` by default.
    #[arg(long, value_name = "HOW", global = true)]
    pub progress: Option<ProgressArg>,
    /// Show what happens inside; twice for more.
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Show warnings and errors only.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The network of builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkArg {
    /// Loopback, and nothing else.
    None,
    /// The machine's.
    Host,
}

/// The isolation tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IsolationArg {
    /// A user namespace with ranges of ids.
    Ranges,
    /// A user namespace with one id, root emulated.
    Single,
}

/// Distribution of the cores among concurrent builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobserverArg {
    /// By a jobserver, announced in the way that the image's make supports.
    Auto,
    /// By a jobserver, announced by a fifo's path (make 4.4).
    Fifo,
    /// By a jobserver, announced by two descriptors (make 4.2).
    Descriptors,
    /// By fixed shares.
    Off,
}

/// Compression of packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CompressionArg {
    /// A third of the time or less, a seventh to a quarter larger.
    Fast,
    /// As small as `xz -6`, in half of its time.
    Default,
    /// Up to a tenth smaller, in twice the time or more; busybox may not read it.
    Small,
}

/// Display of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressArg {
    /// Drawn on a terminal, plain lines elsewhere.
    Auto,
    /// Drawn.
    Tty,
    /// Plain lines.
    Plain,
    /// A JSON object per line, for programs.
    Json,
}
