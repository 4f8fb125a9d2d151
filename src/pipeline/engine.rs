//! Engines with their limits, and the text of a pipeline below these.

use super::error::PipelineError;
use super::jobs::Pipeline;
use super::script::JobSettings;
use super::{buildkite, github, gitlab};

/// A CI engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// GitLab: a child pipeline.
    Gitlab,
    /// Buildkite: steps that are uploaded.
    Buildkite,
    /// GitHub Actions: a workflow.
    Github,
}

/// Limits of an engine.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Number of jobs, unless the user gives another one.
    jobs: usize,
    /// Number of jobs that the engine never exceeds.
    most: usize,
    /// Bytes of a pipeline.
    bytes: usize,
}

impl Engine {
    /// Name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gitlab => "GitLab",
            Self::Buildkite => "Buildkite",
            Self::Github => "GitHub",
        }
    }

    fn limits(self) -> Limits {
        match self {
            // Active jobs on GitLab.com (plan Free); the file of a child pipeline has 5 MB at most.
            Self::Gitlab => Limits { jobs: 500, most: usize::MAX, bytes: 5_000_000 },
            // Steps of an upload.
            Self::Buildkite => Limits { jobs: 500, most: 500, bytes: usize::MAX },
            // Size of a workflow's file. The limit of a matrix is that of a part of a wave.
            Self::Github => {
                Limits { jobs: usize::MAX, most: usize::MAX, bytes: github::LARGEST_FILE }
            }
        }
    }

    fn render(self, pipeline: &Pipeline, settings: &JobSettings) -> Result<String, PipelineError> {
        match self {
            Self::Gitlab => gitlab::render(pipeline, settings),
            Self::Buildkite => buildkite::render(pipeline, settings),
            Self::Github => github::render(pipeline, settings),
        }
    }
}

/// A pipeline in an engine's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineText {
    /// The text: YAML.
    pub text: String,
    /// The jobs in it.
    pub pipeline: Pipeline,
}

/// Writes a pipeline in the form of an engine, with fewer jobs than packages where the engine, or `most`, does not permit
/// as many.
pub fn text(
    engine: Engine,
    whole: &Pipeline,
    settings: &JobSettings,
    most: Option<usize>,
) -> Result<PipelineText, PipelineError> {
    let limits = engine.limits();
    let mut pipeline = whole.within(most.unwrap_or(limits.jobs).min(limits.most));
    loop {
        let text = engine.render(&pipeline, settings)?;
        let size = text.len();
        if size <= limits.bytes {
            return Ok(PipelineText { text, pipeline });
        }
        // A template of any size may be in each job.
        if pipeline.jobs.len() <= 1 {
            return Err(PipelineError::TooLarge {
                engine: engine.name(),
                size,
                limit: limits.bytes,
            });
        }
        // About in proportion: some of the text does not depend on the number of jobs.
        let jobs = pipeline.jobs.len();
        let fewer = limits.bytes as u128 * jobs as u128 / size as u128;
        // Always from the whole: levels that were put together once could not be parted again.
        pipeline = whole.within(usize::try_from(fewer).unwrap_or(1).min(jobs - 1));
    }
}
