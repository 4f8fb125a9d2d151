//! Arguments of the shell.

use std::path::PathBuf;

use clap::Args;

use super::candidates;

/// Options of the shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda shell greeter                     before the build script runs
  mkpanda shell greeter --failed            as the script left it, after a build with --keep-failed
  mkpanda shell greeter -- cat /etc/passwd  one command
  mkpanda shell greeter --spec DIR          for crun and runc: cd DIR && crun run NAME

What the package requires is built first. The image's bash, else its sh, gets a terminal of the
container's own; all changes go at its end. A command gets one where stdin, stdout and stderr are
terminals.
Exit codes: that of the command, or 128 and the number of the signal that ended it; 1 not started,
2 usage, 130 interrupted.")]
pub struct ShellArgs {
    /// The package: NAME, or NAME:VARIANT.
    #[arg(value_name = "PACKAGE", add = candidates::packages())]
    pub package: String,
    /// Start over what the package's last failed build left, which has to have been kept: --keep-failed.
    #[arg(long)]
    pub failed: bool,
    /// Number of required packages that are built at once; the number of cores by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Write an OCI bundle into this new folder, instead of running anything.
    #[arg(long, value_name = "DIR")]
    pub spec: Option<PathBuf>,
    /// Program and arguments to run instead of a shell.
    #[arg(value_name = "CMD", last = true)]
    pub command: Vec<String>,
}
