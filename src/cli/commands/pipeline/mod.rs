//! `mkpanda pipeline`: pipelines of CI engines, and their jobs.

mod build;
mod sources;
mod write;

use super::super::error::CliError;
use super::super::pipeline_args::PipelineCommand;
use super::Context;
use crate::pipeline::Engine;
use write::Form;

/// Runs a subcommand.
pub fn run(context: &Context<'_>, command: &PipelineCommand) -> Result<(), CliError> {
    match command {
        PipelineCommand::Gitlab(args) => write::run(context, Form::Whole(Engine::Gitlab), args),
        PipelineCommand::Buildkite(args) => {
            write::run(context, Form::Whole(Engine::Buildkite), args)
        }
        PipelineCommand::Github(args) => {
            let form = match args.waves {
                _ if args.planned => Form::Planned,
                Some(waves) => Form::Waves(waves as usize),
                None => Form::Whole(Engine::Github),
            };
            write::run(context, form, &args.pipeline)
        }
        PipelineCommand::Build(args) => build::run(context, args),
    }
}
