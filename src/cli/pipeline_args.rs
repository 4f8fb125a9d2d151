//! Arguments of the commands for pipelines of CI engines.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::candidates;

/// The commands for pipelines.
#[derive(Debug, Subcommand)]
pub enum PipelineCommand {
    /// Write a child pipeline of GitLab.
    Gitlab(PipelineArgs),
    /// Write steps for `buildkite-agent pipeline upload`.
    Buildkite(PipelineArgs),
    /// Write a workflow of GitHub, in which each level of packages waits for all of the level before.
    Github(GithubArgs),
    /// Carry out a job of a pipeline: build packages, and see that the next jobs find them in the store.
    Build(PipelineBuildArgs),
}

/// Options of writing a pipeline.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda -C packages --cache s3://builds pipeline gitlab > child.yml
  mkpanda -C packages --cache s3://builds pipeline buildkite | buildkite-agent pipeline upload
  mkpanda -C packages --cache s3://builds pipeline github --planned > .github/workflows/p.yml

Packages pass from job to job through a cache that all runners reach. docs/pipelines.md shows
whole pipelines.")]
pub struct PipelineArgs {
    /// The tree variants, `default` being the default one; all of them by default.
    #[arg(value_name = "VARIANT", add = candidates::variants())]
    pub variants: Vec<String>,
    /// Write jobs for this tree variant.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Option<String>,
    /// Add a last job that makes the bootstraps, unless a store has them.
    #[arg(long)]
    pub mkbootstrap: bool,
    /// Write jobs for all packages, and ask no store: for a pipeline that is written once. A job whose package a
    /// store has ends at once.
    #[arg(long)]
    pub all: bool,
    /// Tags of the runners: `tags` of GitLab, `runs-on` of GitHub, `agents` of Buildkite (KEY=VALUE).
    #[arg(long, value_name = "TAG,…", value_delimiter = ',')]
    pub tags: Vec<String>,
    /// Keys that each job gets in addition: a mapping in YAML or JSON, as the engine has it.
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
    /// Number of jobs above which packages of a level share jobs: 500 by default for GitLab and Buildkite, which has
    /// no more.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_jobs: Option<u32>,
    /// Keep a portable job of each failed build beside its log. It has all inputs of the build, with the image.
    #[arg(long)]
    pub export_failed: bool,
}

/// Options of writing a workflow.
#[derive(Debug, Args)]
pub struct GithubArgs {
    /// Options of all engines.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Write a workflow whose first job asks the stores when it runs, and gives each wave its jobs.
    #[arg(long, conflicts_with_all = ["all", "max_jobs"])]
    pub planned: bool,
    /// Do what that first job does: write the matrices of N waves as outputs, a line for each.
    #[arg(long, value_name = "N", conflicts_with_all = ["planned", "all", "max_jobs", "tags", "template"],
        value_parser = clap::value_parser!(u32).range(1..))]
    pub waves: Option<u32>,
}

/// Options of carrying out a job.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  mkpanda -C packages --cache s3://builds pipeline build --logs ../logs app:default

What the packages require is taken from the caches, and built where none has it. A package that
is not in a cache afterwards is a failure, as the next jobs would build it again.
Exit codes: 0 built and in a cache, 1 not, 2 usage, 130 interrupted.")]
pub struct PipelineBuildArgs {
    /// The packages: NAME for all variants, or NAME:VARIANT, `default` being the default one.
    #[arg(value_name = "PACKAGE", required = true, add = candidates::packages())]
    pub packages: Vec<String>,
    /// Copy the logs of the builds into this folder, as ID.log, also those of failed ones.
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// Write a portable job of each failed build into the folder of the logs, as ID.tar.
    #[arg(long, requires = "logs")]
    pub export_failed: bool,
    /// Number of packages that are built at once; the number of cores by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
}
