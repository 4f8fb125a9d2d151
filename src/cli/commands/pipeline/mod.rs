//! `mkpanda pipeline`: pipelines of CI engines, and their jobs.

mod build;
mod write;

use super::super::error::CliError;
use super::super::pipeline_args::PipelineCommand;
use super::super::settings::Settings;
use super::Context;
use crate::artifact::repository::Repository;
use crate::artifact::shared_cache::SharedCache;
use crate::build::project::Project;
use crate::pipeline::{Engine, PipelineError};

/// Runs a subcommand.
pub fn run(context: &Context<'_>, command: &PipelineCommand) -> Result<(), CliError> {
    match command {
        PipelineCommand::Gitlab(args) => write::run(context, Engine::Gitlab, args),
        PipelineCommand::Buildkite(args) => write::run(context, Engine::Buildkite, args),
        PipelineCommand::Github(args) => write::run(context, Engine::Github, args),
        PipelineCommand::Build(args) => build::run(context, args),
    }
}

/// Places that jobs take packages from: caches and the repository. One of the caches has to be written to as well, since
/// packages pass from job to job through it.
fn sources(settings: &Settings, project: &Project) -> Result<Vec<Repository>, CliError> {
    let caches = project.reachable_caches(&settings.shared_caches);
    let passes = |cache: &SharedCache| cache.reads() && cache.writes();
    if !caches.iter().any(passes) {
        return Err(PipelineError::NoStore.into());
    }
    let caches = caches.iter().filter(|cache| cache.reads()).map(SharedCache::sole_repository);
    let repository = project.reachable(settings.repository.as_ref()).cloned();
    Ok(caches.chain(repository).collect())
}
