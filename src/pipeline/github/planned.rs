//! A workflow that plans its waves when it runs: its first job asks the stores, and gives each wave its matrix.
//!
//! The file depends on the number of levels alone. Waves for which nothing is left are not begun. A tree with more levels
//! than waves has neighbouring levels in one job, until the file is written again.

use super::super::error::PipelineError;
use super::super::jobs::Pipeline;
use super::super::script::{BOOTSTRAPS, JobSettings, job_name, package_words};
use super::super::value::{Entries, Value};
use super::job::{LARGEST_FILE, LARGEST_MATRIX, Wave, literal, waves_command, workflow};

/// Id of the job that plans.
const PLAN: &str = "plan";

/// Writes a workflow with as many waves as a pipeline has levels, or as many as a file has room for.
pub fn planned(pipeline: &Pipeline, settings: &JobSettings) -> Result<String, PipelineError> {
    let mut waves = pipeline.levels().len().max(1);
    loop {
        let text = render(waves, settings)?;
        let size = text.len();
        if size <= LARGEST_FILE {
            return Ok(text);
        }
        if waves == 1 {
            return Err(PipelineError::TooLarge { engine: "GitHub", size, limit: LARGEST_FILE });
        }
        // At least one less each time, so that the loop ends.
        waves = (waves * LARGEST_FILE / size).clamp(1, waves - 1);
    }
}

fn render(waves: usize, settings: &JobSettings) -> Result<String, PipelineError> {
    let ids: Vec<String> = (1..=waves).map(id).collect();
    let output =
        |id: &String| (id.clone(), Value::text(format!("${{{{ steps.plan.outputs.{id} }}}}")));
    let plan = Wave { name: PLAN, outputs: ids.iter().map(output).collect(), ..Wave::default() };
    let command = literal(&settings.plan_command(waves)) + " >> \"$GITHUB_OUTPUT\"";
    let mut jobs: Entries = vec![(PLAN.to_owned(), plan.job(settings, &command)?)];
    let mut before = vec![PLAN.to_owned()];
    // Waves without a matrix are left out, which does not hold up the jobs behind them.
    let goes_on = "!failure() && !cancelled()";
    for id in &ids {
        let condition = format!("${{{{ {goes_on} && needs.plan.outputs.{id} != '[]' }}}}");
        let include = Value::text(format!("${{{{ fromJSON(needs.plan.outputs.{id}) }}}}"));
        let wave = Wave {
            needs: &before,
            condition: Some(condition),
            matrix: Some((id, include)),
            ..Wave::default()
        };
        jobs.push((id.clone(), wave.job(settings, &waves_command(settings))?));
        // The plan as well: a job reads the outputs only of jobs that it names in `needs`.
        before = vec![PLAN.to_owned(), id.clone()];
    }
    if settings.bootstraps {
        let condition = Some(format!("${{{{ {goes_on} }}}}"));
        let last = Wave { name: BOOTSTRAPS, needs: &before, condition, ..Wave::default() };
        let command = literal(&settings.bootstrap_command());
        jobs.push((BOOTSTRAPS.to_owned(), last.job(settings, &command)?));
    }
    let heading =
        format!("# Made by `mkpanda pipeline github --planned`: waves for {waves} levels.\n");
    Ok(heading + &workflow(jobs).document())
}

fn id(wave: usize) -> String {
    format!("wave-{wave}")
}

/// Matrices of a pipeline for so many waves, as outputs of the job that plans: a line for each wave.
pub fn wave_lines(pipeline: &Pipeline, waves: usize) -> String {
    let pipeline = pipeline.in_waves(waves, LARGEST_MATRIX);
    let levels = pipeline.levels();
    let entry = |place: &usize| {
        let job = &pipeline.jobs[*place];
        let (name, packages) = (job_name(job, place + 1), package_words(&job.packages));
        serde_json::json!({ "name": name, "packages": packages })
    };
    let line = |wave: usize| {
        let places = levels.get(wave - 1).into_iter().flatten();
        let matrix: serde_json::Value = places.map(entry).collect();
        format!("{}={matrix}\n", id(wave))
    };
    (1..=waves).map(line).collect()
}
