//! A child pipeline of GitLab.
//!
//! Each job needs the jobs of its requirements. Artifacts are logs alone: packages pass through the store, as artifacts of
//! needed jobs are not handed on to the next. A job with more needs than GitLab permits has none, and so waits for all
//! jobs of the stages before, which are levels.

use super::error::PipelineError;
use super::jobs::Pipeline;
use super::script::{
    BOOTSTRAPS, JobSettings, LOGS, NO_JOB, NOTHING, heading, job_name, package_words,
};
use super::value::{Entries, Value};

/// Limit of a job's needs (`ci_needs_size_limit`).
const MOST_NEEDS: usize = 50;

/// Hidden job with all that jobs have in common.
const COMMON: &str = ".mkpanda";

/// Keys that are the pipeline's: what jobs do, and when.
const OWNED: [&str; 16] = [
    "allow_failure",
    "dependencies",
    "except",
    "extends",
    "inputs",
    "manual_confirmation",
    "needs",
    "only",
    "parallel",
    "rules",
    "run",
    "script",
    "stage",
    "start_in",
    "trigger",
    "when",
];

/// Failures of runners and of GitLab itself, after which a job is tried again.
const RETRIED: [&str; 5] = [
    "runner_system_failure",
    "stuck_or_timeout_failure",
    "scheduler_failure",
    "data_integrity_failure",
    "api_failure",
];

/// Writes a pipeline.
pub(super) fn render(pipeline: &Pipeline, settings: &JobSettings) -> Result<String, PipelineError> {
    let mut stages: Vec<String> = (1..=pipeline.levels().len()).map(stage).collect();
    let mut jobs = Vec::new();
    let names: Vec<String> =
        pipeline.jobs.iter().enumerate().map(|(place, job)| job_name(job, place + 1)).collect();
    for (job, name) in pipeline.jobs.iter().zip(&names) {
        let needs: Vec<&String> = job.needs.iter().map(|needed| &names[*needed]).collect();
        let command = settings.command(&package_words(&job.packages));
        jobs.push((name.clone(), entries(&stage(job.level + 1), &needs, &command)));
    }
    if settings.bootstraps {
        let needs: Vec<&String> = pipeline.ends().map(|place| &names[place]).collect();
        let command = settings.bootstrap_command();
        stages.push(BOOTSTRAPS.to_owned());
        jobs.push((BOOTSTRAPS.to_owned(), entries(BOOTSTRAPS, &needs, &command)));
    }
    if jobs.is_empty() {
        // A child pipeline without jobs is an error.
        stages.push(stage(1));
        jobs.push((NO_JOB.to_owned(), entries(&stage(1), &[], NOTHING)));
    }
    let always = Value::List(vec![Value::map([("when", Value::text("always"))])]);
    let mut document: Entries = vec![
        // Also for the pipelines of merge requests, which have none of the jobs otherwise.
        ("workflow".to_owned(), Value::map([("rules", always)])),
        ("stages".to_owned(), Value::texts(stages)),
        (COMMON.to_owned(), Value::Map(common(settings)?)),
    ];
    document.extend(jobs);
    Ok(heading("gitlab", pipeline) + &Value::Map(document).document())
}

fn stage(level: usize) -> String {
    format!("level-{level}")
}

/// Keys of all jobs.
fn common(settings: &JobSettings) -> Result<Entries, PipelineError> {
    let retry = Value::map([("max", Value::plain(2)), ("when", Value::texts(RETRIED))]);
    let artifacts = Value::map([
        ("when", Value::text("always")),
        ("expire_in", Value::text("1 week")),
        ("paths", Value::texts([format!("{LOGS}/")])),
    ]);
    let mut common = Entries::new();
    if !settings.tags.is_empty() {
        common.push(("tags".to_owned(), Value::texts(settings.tags.iter().map(String::as_str))));
    }
    common.push(("retry".to_owned(), retry));
    common.push(("artifacts".to_owned(), artifacts));
    settings.template.merged(common, &OWNED, &[])
}

fn entries(stage: &str, needs: &[&String], command: &str) -> Value {
    let mut job =
        vec![("extends".to_owned(), Value::text(COMMON)), ("stage".to_owned(), Value::text(stage))];
    if needs.len() <= MOST_NEEDS {
        let need = |name: &&String| {
            // By default a job downloads the artifacts of all jobs that it needs, here logs that it
            // has no use for.
            Value::map([("job", Value::text(name.as_str())), ("artifacts", Value::plain(false))])
        };
        job.push(("needs".to_owned(), Value::List(needs.iter().map(need).collect())));
    }
    job.push(("script".to_owned(), Value::texts([command])));
    Value::Map(job)
}
