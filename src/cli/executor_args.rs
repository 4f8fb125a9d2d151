//! Arguments for builds on other machines.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Options of builds on other machines.
#[derive(Debug, Clone, Default, Args)]
pub struct ExecutorArgs {
    /// Build packages on this machine, or on those of a cluster; see docs/many-machines.md.
    #[arg(long, value_name = "KIND")]
    pub executor: Option<ExecutorArg>,
    /// Exchange jobs and results with the other machines in this folder, which all of them see.
    #[arg(long, value_name = "DIR")]
    pub executor_folder: Option<PathBuf>,
    /// Have this program carry the jobs out, best a static mkpanda; a copy of this one by default.
    #[arg(long, value_name = "FILE")]
    pub executor_program: Option<PathBuf>,
}

/// Machines that build packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorArg {
    /// This one.
    Local,
    /// Those of a cluster that Slurm manages.
    Slurm,
}
