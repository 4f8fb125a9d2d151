//! Arguments of the commands for portable jobs.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::candidates;
use super::format_arg::FormatArg;

/// The commands for portable jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Make a portable job: the build of a package, with all of its inputs, as a folder or a file.
    Export(JobExportArgs),
    /// Carry a portable job out.
    Run(JobRunArgs),
    /// Show a portable job, and its outcome if it was carried out.
    Show(JobShowArgs),
}

/// Options of making a job.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda job export greeter job            a folder
  mkpanda job export greeter job.tar        a file; elsewhere: mkdir DIR && tar -xf job.tar -C DIR
  mkpanda job export --failed greeter job   with the log of the build that failed

What the package requires is built first. The same package gives the same bytes, whoever makes
the job.
Exit codes: 0 made, 1 not, 2 usage.")]
pub struct JobExportArgs {
    /// The package: NAME, or NAME:VARIANT.
    #[arg(value_name = "PACKAGE", add = candidates::packages())]
    pub package: String,
    /// The folder or, where the name ends in .tar, the file to be made.
    #[arg(value_name = "DIR|FILE.tar")]
    pub target: PathBuf,
    /// Add the log of the package's last build, which has to have failed.
    #[arg(long)]
    pub failed: bool,
    /// Add a program to carry the job out: a static mkpanda.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Number of required packages that are built at once; the number of cores by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}

/// Options of carrying a job out.
#[derive(Debug, Args)]
#[command(after_help = "\
Results, in DIR/out: package.tar.xz, log and, last, record.json.

The job ends with the process that started it, and SIGTERM ends it cleanly. The build has no
network. The job's limits can only lower those of this machine's user, and its tier cannot replace
one that the user demands.

Exit codes: 0 built, 1 the build failed or the job is not valid, 2 usage, 75 this machine cannot
carry it out (another one may) or has a setting that is not valid, 130 interrupted.")]
pub struct JobRunArgs {
    /// The job's folder. Of a file: mkdir DIR && tar -xf FILE -C DIR
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Put the results into this folder instead.
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Copy the output of the build to stdout while it runs, in place of the path of the package.
    #[arg(long)]
    pub log_to_stdout: bool,
}

/// Options of showing a job.
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 shown, 1 not a valid job, 2 usage.")]
pub struct JobShowArgs {
    /// The job's folder.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Form of the description; json is job.json itself, checked.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}

/// Options of building again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda rebuild --check greeter             at another time, in other folders
  mkpanda rebuild --check greeter --isolation single
                                              with other ids, too, where the machine has both tiers

Nothing of the cache is changed.
Exit codes: 0 the same bytes, 1 not, or not built, 2 usage, 75 this machine cannot build it again,
130 interrupted.")]
pub struct RebuildArgs {
    /// The packages: NAME, or NAME:VARIANT.
    #[arg(value_name = "PACKAGE", required = true, add = candidates::packages())]
    pub packages: Vec<String>,
    /// Compare each file with the cache's, and name those that differ with likely causes.
    #[arg(long, required = true)]
    pub check: bool,
}
