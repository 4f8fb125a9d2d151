//! Steps for `buildkite-agent pipeline upload`.
//!
//! The upload takes `$NAME` in every text for a variable of its own, and `$$` for a dollar. Commands of jobs have none,
//! unless names, paths or URLs do.

use std::collections::BTreeSet;

use super::error::PipelineError;
use super::jobs::Pipeline;
use super::script::{
    BOOTSTRAPS, JobSettings, LOGS, NO_JOB, NOTHING, heading, job_name, package_words,
};
use super::value::{Entries, Value};

/// Keys that are the pipeline's: what steps do, and when.
const OWNED: [&str; 25] = [
    "allow_dependency_failure",
    "async",
    "block",
    "branches",
    "build",
    "command",
    "commands",
    "depends_on",
    "group",
    "id",
    "identifier",
    "if",
    "if_changed",
    "input",
    "key",
    "label",
    "matrix",
    "name",
    "parallelism",
    "skip",
    "soft_fail",
    "steps",
    "trigger",
    "type",
    "wait",
];

/// Reasons of agents for ending or refusing a job, after which it is tried again.
const RETRIED: [&str; 2] = ["agent_stop", "agent_refused"];

/// Writes a pipeline.
pub(super) fn render(pipeline: &Pipeline, settings: &JobSettings) -> Result<String, PipelineError> {
    let names: Vec<String> =
        pipeline.jobs.iter().enumerate().map(|(place, job)| job_name(job, place + 1)).collect();
    let keys = keys(&names);
    let mut steps = Vec::new();
    for (place, job) in pipeline.jobs.iter().enumerate() {
        let needs: Vec<&String> = job.needs.iter().map(|needed| &keys[*needed]).collect();
        let command = settings.command(&package_words(&job.packages));
        steps.push(step(settings, (&names[place], &keys[place]), &needs, &command)?);
    }
    if settings.bootstraps {
        let needs: Vec<&String> = pipeline.ends().map(|place| &keys[place]).collect();
        let command = settings.bootstrap_command();
        steps.push(step(settings, (BOOTSTRAPS, BOOTSTRAPS), &needs, &command)?);
    }
    if steps.is_empty() {
        steps.push(step(settings, (NO_JOB, "nothing"), &[], NOTHING)?);
    }
    Ok(heading("buildkite", pipeline) + &Value::map([("steps", Value::List(steps))]).document())
}

/// A text that the upload takes as it is.
fn literal(text: &str) -> Value {
    Value::text(text.replace('$', "$$"))
}

fn step(
    settings: &JobSettings,
    (name, key): (&str, &str),
    needs: &[&String],
    command: &str,
) -> Result<Value, PipelineError> {
    let mut step: Entries =
        vec![("label".to_owned(), literal(name)), ("key".to_owned(), Value::text(key))];
    if !needs.is_empty() {
        let needs = Value::texts(needs.iter().map(|key| key.as_str()));
        step.push(("depends_on".to_owned(), needs));
    }
    step.push(("command".to_owned(), literal(command)));
    if !settings.tags.is_empty() {
        let tag = |tag: &String| {
            let (key, value) = tag.split_once('=').unwrap_or((tag, "true"));
            (key.replace('$', "$$"), literal(value))
        };
        step.push(("agents".to_owned(), Value::Map(settings.tags.iter().map(tag).collect())));
    }
    let lost = Value::map([("exit_status", Value::plain(-1)), ("limit", Value::plain(2))]);
    let ended = RETRIED.iter().map(|reason| {
        Value::map([
            ("exit_status", Value::text("*")),
            ("signal_reason", Value::text(*reason)),
            ("limit", Value::plain(2)),
        ])
    });
    // Only losses of an agent: a failed build fails again.
    let automatic = Value::List([lost].into_iter().chain(ended).collect());
    step.push(("retry".to_owned(), Value::map([("automatic", automatic)])));
    step.push(("artifact_paths".to_owned(), Value::texts([format!("{LOGS}/*")])));
    Ok(Value::Map(settings.template.merged(step, &OWNED, &[])?))
}

/// Keys of steps, in the letters that Buildkite permits, each once.
fn keys(names: &[String]) -> Vec<String> {
    let mut known: BTreeSet<String> =
        [BOOTSTRAPS, "nothing"].into_iter().map(str::to_owned).collect();
    let key = |name: &String| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
        let letters = name.chars().map(|letter| if is_letter(letter) { letter } else { '_' });
        let plain: String = letters.collect();
        let numbered = (2..).map(|number| format!("{plain}-{number}"));
        let free = [plain.clone()].into_iter().chain(numbered).find(|key| !known.contains(key));
        let key = free.unwrap_or(plain);
        known.insert(key.clone());
        key
    };
    names.iter().map(key).collect()
}
