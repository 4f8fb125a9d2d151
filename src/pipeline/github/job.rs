//! A job of a workflow, and the workflow around all of them.

use super::super::error::PipelineError;
use super::super::script::{JobSettings, LOGS};
use super::super::value::{Entries, Value};

/// Limit of a workflow's file, in bytes.
pub(in crate::pipeline) const LARGEST_FILE: usize = 500_000;

/// Limit of a matrix.
pub(super) const LARGEST_MATRIX: usize = 256;

/// Runner where no tags are given.
const RUNNER: &str = "ubuntu-24.04";

/// Keys that are the pipeline's: what jobs do, and when.
const OWNED: [&str; 9] =
    ["continue-on-error", "if", "name", "needs", "outputs", "secrets", "strategy", "uses", "with"];

/// A text in which nothing is an expression.
pub(super) fn literal(text: &str) -> String {
    // There is no other way to write it: expressions have no escape.
    text.replace("${{", "${{ '${{' }}")
}

/// Command of a wave, for the packages of its matrix.
pub(super) fn waves_command(settings: &JobSettings) -> String {
    format!("{} ${{{{ matrix.packages }}}}", literal(settings.command("").trim_end()))
}

/// A workflow with jobs, which others start.
pub(super) fn workflow(jobs: Entries) -> Value {
    let started = [("workflow_call", Value::map([])), ("workflow_dispatch", Value::map([]))];
    Value::map([
        ("name", Value::text("packages")),
        ("on", Value::map(started)),
        // The least that a checkout needs: build scripts of packages run in these jobs.
        ("permissions", Value::map([("contents", Value::text("read"))])),
        ("jobs", Value::Map(jobs)),
    ])
}

/// Matrix of packages, or another job.
#[derive(Default)]
pub(super) struct Wave<'a> {
    /// Name; that of a matrix is its packages'.
    pub(super) name: &'a str,
    /// Ids of the jobs before.
    pub(super) needs: &'a [String],
    /// Condition, if it is not that all jobs before have passed.
    pub(super) condition: Option<String>,
    /// Id and entries of a matrix.
    pub(super) matrix: Option<(&'a str, Value)>,
    /// Outputs, from the step `plan`.
    pub(super) outputs: Entries,
}

impl Wave<'_> {
    /// The job that runs a command.
    pub(super) fn job(self, settings: &JobSettings, command: &str) -> Result<Value, PipelineError> {
        let name = if self.matrix.is_some() { "${{ matrix.name }}" } else { self.name };
        let mut job: Entries = vec![("name".to_owned(), Value::text(name))];
        if !self.needs.is_empty() {
            job.push(("needs".to_owned(), Value::texts(self.needs.iter().map(String::as_str))));
        }
        job.extend(self.condition.map(|condition| ("if".to_owned(), Value::text(condition))));
        let runner = if settings.tags.is_empty() {
            Value::text(RUNNER)
        } else {
            Value::texts(settings.tags.iter().map(|tag| literal(tag)))
        };
        job.push(("runs-on".to_owned(), runner));
        let mut step = vec![("name".to_owned(), Value::text("Build"))];
        if !self.outputs.is_empty() {
            step = vec![("id".to_owned(), Value::text("plan"))];
            job.push(("outputs".to_owned(), Value::Map(self.outputs)));
        }
        step.push(("run".to_owned(), Value::text(command)));
        let mut steps = vec![Value::Map(step)];
        if let Some((id, include)) = self.matrix {
            let strategy = Value::map([
                // One failure leaves the others of a wave alone.
                ("fail-fast", Value::plain(false)),
                ("matrix", Value::map([("include", include)])),
            ]);
            job.push(("strategy".to_owned(), strategy));
            steps.push(kept_logs(format!("{LOGS}-{id}-${{{{ strategy.job-index }}}}")));
        }
        // Steps are added below: those of the template come first, since they check the sources
        // out.
        let mut job = settings.template.merged(job, &OWNED, &["steps"])?;
        let checkout = Value::map([("uses", Value::text("actions/checkout@v4"))]);
        let first = settings.template.list("steps")?;
        let first = first.unwrap_or_else(|| Value::List(vec![checkout]));
        job.push(("steps".to_owned(), first.with(Value::List(steps))));
        Ok(Value::Map(job))
    }
}

/// Step that keeps the logs under a name, which no other job of the run has.
fn kept_logs(name: String) -> Value {
    let with = Value::map([
        ("name", Value::text(name)),
        ("path", Value::text(LOGS)),
        ("if-no-files-found", Value::text("ignore")),
    ]);
    Value::map([
        ("name", Value::text("Keep the logs")),
        ("if", Value::text("always()")),
        ("uses", Value::text("actions/upload-artifact@v4")),
        ("with", with),
    ])
}
