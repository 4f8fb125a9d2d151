//! A workflow of GitHub: waves.
//!
//! A job of a workflow is one or all of a matrix, and needs whole jobs. So each level is a wave: a matrix of its packages,
//! or several of 256 at most, which waits for all of the wave before.
//!
//! ```text
//! job      a job of a workflow, and the workflow around all of them
//! planned  a workflow that plans its waves when it runs
//! ```

mod job;
mod planned;

pub use planned::{planned, wave_lines};

use super::error::PipelineError;
use super::jobs::Pipeline;
use super::script::{BOOTSTRAPS, JobSettings, NO_JOB, NOTHING, heading, job_name, package_words};
use super::value::{Entries, Value};
pub(super) use job::LARGEST_FILE;
use job::{LARGEST_MATRIX, Wave, literal, waves_command, workflow};

/// Writes a pipeline.
pub(super) fn render(pipeline: &Pipeline, settings: &JobSettings) -> Result<String, PipelineError> {
    let mut jobs = Entries::new();
    let mut before: Vec<String> = Vec::new();
    let command = waves_command(settings);
    for (level, wave) in pipeline.levels().iter().enumerate() {
        let mut ids = Vec::new();
        for (number, places) in wave.chunks(LARGEST_MATRIX).enumerate() {
            let id = match number {
                0 => format!("wave-{}", level + 1),
                number => format!("wave-{}-{}", level + 1, number + 1),
            };
            let entry = |place: &usize| {
                let job = &pipeline.jobs[*place];
                Value::map([
                    ("name", Value::text(literal(&job_name(job, place + 1)))),
                    ("packages", Value::text(literal(&package_words(&job.packages)))),
                ])
            };
            let include = Value::List(places.iter().map(entry).collect());
            let wave = Wave { needs: &before, matrix: Some((&id, include)), ..Wave::default() };
            jobs.push((id.clone(), wave.job(settings, &command)?));
            ids.push(id);
        }
        // Whole waves wait for whole waves: a job cannot need a single one of a matrix.
        before = ids;
    }
    if settings.bootstraps {
        let last = Wave { name: BOOTSTRAPS, needs: &before, ..Wave::default() };
        let command = literal(&settings.bootstrap_command());
        jobs.push((BOOTSTRAPS.to_owned(), last.job(settings, &command)?));
    }
    if jobs.is_empty() {
        let nothing = Wave { name: NO_JOB, ..Wave::default() };
        jobs.push(("nothing".to_owned(), nothing.job(settings, NOTHING)?));
    }
    Ok(heading("github", pipeline) + &workflow(jobs).document())
}
