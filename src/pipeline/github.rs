//! A workflow of GitHub: waves.
//!
//! A job of a workflow is one or all of a matrix, and needs whole jobs. So each level is a wave: a matrix of its packages,
//! or several of 256 at most, which waits for all of the wave before.

use super::error::PipelineError;
use super::jobs::Pipeline;
use super::script::{
    BOOTSTRAPS, JobSettings, LOGS, NO_JOB, NOTHING, heading, job_name, package_words,
};
use super::value::{Entries, Value};

/// Limit of a matrix.
const LARGEST_MATRIX: usize = 256;

/// Runner where no tags are given.
const RUNNER: &str = "ubuntu-24.04";

/// Keys that are the pipeline's: what jobs do, and when.
const OWNED: [&str; 8] =
    ["continue-on-error", "if", "name", "needs", "secrets", "strategy", "uses", "with"];

/// Writes a pipeline.
pub(super) fn render(pipeline: &Pipeline, settings: &JobSettings) -> Result<String, PipelineError> {
    let mut jobs = Entries::new();
    let mut before: Vec<String> = Vec::new();
    let command =
        format!("{} ${{{{ matrix.packages }}}}", literal(settings.command("").trim_end()));
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
            let strategy = Value::map([
                // One failure leaves the others of a wave alone.
                ("fail-fast", Value::plain(false)),
                ("matrix", Value::map([("include", include)])),
            ]);
            let artifact = format!("{LOGS}-{id}-${{{{ strategy.job-index }}}}");
            let wave =
                Wave { name: "${{ matrix.name }}", needs: &before, strategy: Some(strategy) };
            jobs.push((id.clone(), wave.job(settings, &command, Some(artifact))?));
            ids.push(id);
        }
        before = ids;
    }
    if let Some(variants) = &settings.bootstraps {
        let last = Wave { name: BOOTSTRAPS, needs: &before, strategy: None };
        let command = literal(&settings.bootstrap_command(variants));
        jobs.push((BOOTSTRAPS.to_owned(), last.job(settings, &command, None)?));
    }
    if jobs.is_empty() {
        let nothing = Wave { name: NO_JOB, needs: &[], strategy: None };
        jobs.push(("nothing".to_owned(), nothing.job(settings, NOTHING, None)?));
    }
    let started = [("workflow_call", Value::map([])), ("workflow_dispatch", Value::map([]))];
    let document = Value::map([
        ("name", Value::text("packages")),
        ("on", Value::map(started)),
        ("permissions", Value::map([("contents", Value::text("read"))])),
        ("jobs", Value::Map(jobs)),
    ]);
    Ok(heading("github", pipeline) + &document.document())
}

/// A text in which nothing is an expression.
fn literal(text: &str) -> String {
    text.replace("${{", "${{ '${{' }}")
}

/// Matrix of packages, or another job.
struct Wave<'a> {
    name: &'a str,
    needs: &'a [String],
    strategy: Option<Value>,
}

impl Wave<'_> {
    fn job(
        self,
        settings: &JobSettings,
        command: &str,
        artifact: Option<String>,
    ) -> Result<Value, PipelineError> {
        let mut job: Entries = vec![("name".to_owned(), Value::text(self.name))];
        if !self.needs.is_empty() {
            job.push(("needs".to_owned(), Value::texts(self.needs.iter().map(String::as_str))));
        }
        let runner = if settings.tags.is_empty() {
            Value::text(RUNNER)
        } else {
            Value::texts(settings.tags.iter().map(|tag| literal(tag)))
        };
        job.push(("runs-on".to_owned(), runner));
        job.extend(self.strategy.map(|strategy| ("strategy".to_owned(), strategy)));
        let mut job = settings.template.merged(job, &OWNED, &["steps"])?;
        let first = Value::List(vec![Value::map([("uses", Value::text("actions/checkout@v4"))])]);
        let mut steps =
            vec![Value::map([("name", Value::text("Build")), ("run", Value::text(command))])];
        steps.extend(artifact.map(|name| {
            Value::map([
                ("name", Value::text("Keep the logs")),
                ("if", Value::text("always()")),
                ("uses", Value::text("actions/upload-artifact@v4")),
                (
                    "with",
                    Value::map([
                        ("name", Value::text(name)),
                        ("path", Value::text(LOGS)),
                        ("if-no-files-found", Value::text("ignore")),
                    ]),
                ),
            ])
        }));
        let first = settings.template.list("steps")?.unwrap_or(first);
        job.push(("steps".to_owned(), first.with(Value::List(steps))));
        Ok(Value::Map(job))
    }
}
