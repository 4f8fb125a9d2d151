//! Command line arguments.

use std::ffi::OsString;
use std::path::PathBuf;

use super::help;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Installs packages on this machine, and changes the set of active packages.
#[derive(Debug, Parser)]
#[command(
    name = "pkgpanda",
    version,
    disable_help_subcommand = true,
    after_help = "--help says more.",
    after_long_help = help::AFTER
)]
pub struct Cli {
    /// Options of all commands.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
pub struct GlobalArgs {
    /// The folder with the machine's configuration: roles, setup flags.
    #[arg(long, value_name = "DIR", default_value = "/etc/mesosphere", global = true)]
    pub config_dir: PathBuf,
    /// The install root.
    #[arg(long, value_name = "DIR", default_value = "/opt/mesosphere", global = true)]
    pub root: PathBuf,
    /// The folder of unpacked packages.
    #[arg(long, value_name = "DIR", default_value = "/opt/mesosphere/packages", global = true)]
    pub repository: PathBuf,
    /// The folder for services' state.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/dcos", global = true)]
    pub state_dir_root: PathBuf,
    /// Leave services alone: stop and start none.
    #[arg(long, global = true)]
    pub no_systemd: bool,
    /// Don't wait until services have stopped and started.
    #[arg(long, global = true)]
    pub no_block_systemd: bool,
    /// Put units into the install root instead of /etc/systemd/system.
    #[arg(long, global = true)]
    pub rooted_systemd: bool,
    /// Say nothing on stderr except warnings and errors.
    #[arg(long, global = true)]
    pub silent: bool,
}

/// Format of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

/// Format of a listing.
#[derive(Debug, Clone, Copy, Args)]
pub struct FormatArgs {
    /// Format of the listing.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: Format,
}

/// Demand for signatures.
#[derive(Debug, Args)]
pub struct SignatureArgs {
    /// Use only files signed by this key: a public key of minisign, or a `.pub` file with a key;
    /// given several times, any of them.
    #[arg(long, value_name = "PUBKEY")]
    pub require_signature: Vec<String>,
}

impl Command {
    /// True if the command changes the machine, or leaves partial changes when interrupted.
    pub fn changes(&self) -> bool {
        match self {
            Self::Active(_) | Self::List(_) | Self::Check { .. } => false,
            Self::Activate { dry_run, .. } => !dry_run,
            _ => true,
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make these packages the active set.
    Activate {
        /// Their ids; names and beginnings of ids that mean one package here will do.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Show the changes without making them.
        #[arg(long)]
        dry_run: bool,
        /// Format of the listing.
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Activate a package in place of the active one of the same name.
    Swap {
        /// Its id; a name or the beginning of an id that means one package here will do.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Make the set active that was before.
    Rollback,
    /// List the active packages.
    Active(FormatArgs),
    /// Fetch packages from a repository.
    Fetch {
        /// The repository: an http, https or file URL; `file://DIR` counts from this folder.
        #[arg(long, value_name = "URL")]
        repository_url: String,
        /// Their ids.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        /// Demand for signatures.
        #[command(flatten)]
        signatures: SignatureArgs,
    },
    /// Add a package from a file.
    Add {
        /// The file, named `ID.tar.xz`.
        #[arg(value_name = "FILE")]
        package: PathBuf,
        /// Demand for signatures.
        #[command(flatten)]
        signatures: SignatureArgs,
    },
    /// List the packages on this machine.
    List(FormatArgs),
    /// Remove packages that are not active.
    Remove {
        /// Their ids; names and beginnings of ids that mean one package here will do.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Set up a freshly unpacked machine, or finish an activation that was cut off.
    Setup(SignatureArgs),
    /// Remove all installed files.
    Uninstall,
    /// Make the settings of the kernel that packages want for a service.
    ApplyServiceConfiguration {
        /// Name of the service.
        #[arg(value_name = "SERVICE")]
        service: String,
    },
    /// Run the active packages' checks.
    Check {
        /// List the checks instead.
        #[arg(long)]
        list: bool,
        /// Format of the listing.
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Carry out an installer's task; started by the script at an installer's beginning.
    #[command(hide = true)]
    Installer {
        /// The installer.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Offset of the archive in it, in bytes.
        #[arg(long, value_name = "BYTES")]
        offset: u64,
        /// The installer's arguments.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Compare packages' files with the original contents of the packages.
    Verify {
        /// Their ids, names, or beginnings of ids; all active packages by default.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Compare with the packages of this repository instead; packages that came in a bootstrap with those of the
        /// repository that `setup-flags/repository-url` names.
        #[arg(long, value_name = "URL")]
        repository_url: Option<String>,
        /// Demand for signatures.
        #[command(flatten)]
        signatures: SignatureArgs,
        /// Format of the listing.
        #[command(flatten)]
        format: FormatArgs,
    },
}
