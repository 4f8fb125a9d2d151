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
    /// Build packages by this engine of the Remote Execution API: `grpc://HOST:PORT`, `grpcs://HOST:PORT` or
    /// `unix:/PATH`.
    #[arg(long, value_name = "URL")]
    pub remote_executor: Option<String>,
    /// Exchange files and results with the engine at this address; by default at that of the engine.
    #[arg(long, value_name = "URL")]
    pub remote_cache: Option<String>,
    /// Instance of the engine.
    #[arg(long, value_name = "NAME")]
    pub remote_instance: Option<String>,
    /// Send this header with each request; several times for several. Other users of the machine see options: secrets
    /// belong in your config.toml.
    #[arg(long, value_name = "NAME=VALUE")]
    pub remote_header: Vec<String>,
    /// Trust the engine's certificate by the CAs in this PEM file; by those of the system by default.
    #[arg(long, value_name = "FILE")]
    pub remote_ca: Option<PathBuf>,
    /// Identify yourself to the engine by the certificate in this PEM file.
    #[arg(long, value_name = "FILE", requires = "remote_key")]
    pub remote_certificate: Option<PathBuf>,
    /// Key of the certificate, as a PEM file.
    #[arg(long, value_name = "FILE", requires = "remote_certificate")]
    pub remote_key: Option<PathBuf>,
    /// Identify yourself to the engine by the token in this file.
    #[arg(long, value_name = "FILE")]
    pub remote_token_file: Option<PathBuf>,
    /// Ask for a worker with this property; several times for several.
    #[arg(long, value_name = "NAME=VALUE")]
    pub remote_property: Vec<String>,
    /// Number of packages that this machine builds beside the engine; 0 by default.
    #[arg(long, value_name = "N")]
    pub remote_local_jobs: Option<u16>,
}

/// Machines that build packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExecutorArg {
    /// This one.
    Local,
    /// Those of a cluster that Slurm manages.
    Slurm,
    /// Workers of an engine of the Remote Execution API.
    Remote,
}
