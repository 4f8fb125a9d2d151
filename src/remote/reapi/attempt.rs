//! The course of one package's action: a cached result that fits, else an execution, and another one where the
//! engine loses something.

use std::cell::{Cell, RefCell};
use std::pin::pin;

use bazel_remote_apis::build::bazel::remote::execution::v2::{
    ActionResult, GetActionResultRequest,
};
use futures_util::future::{Either, join, select};
use tokio::sync::watch::channel;
use tonic::Code;

use super::action::JobAction;
use super::call::Calls;
use super::connection;
use super::engine::{OpenedEngine, Reapi};
use super::error::ReapiError;
use super::inputs;
use super::operation::{Execution, OperationWatch, Refusal, cancel};
use super::outputs::{OutputError, Outputs};
use super::runtime;
use super::storage::Supply;
use super::tree::InputTree;
use crate::base::atomic::TemporaryFolder;
use crate::base::event::Phase;
use crate::build::elsewhere::{ElsewhereAnswer, ElsewhereTask};
use crate::build::place::BuildPlace;
use crate::portable::{ExportOptions, JobOutcome, PortableJobError};
use crate::remote::checked;
use crate::remote::shared::StagedJob;
use crate::runner::follow::following;

/// Number of executions of an action.
const ATTEMPTS: u32 = 3;

/// Word for an engine in records and messages.
const ENGINE: &str = "remote";

/// Word for an engine's cache.
const CACHE: &str = "remote cache";

/// Longest name of a worker that is shown.
const LONGEST_NAME: usize = 64;

/// Build of one package.
pub(super) struct ReapiBuild<'a> {
    engine: &'a Reapi,
    task: &'a ElsewhereTask<'a>,
    opened: &'a OpenedEngine,
    staged: StagedJob,
    action: JobAction,
    /// Name of the operation, to be cancelled.
    operation: RefCell<Option<String>>,
    /// True if the output of the build was shown while it ran.
    shown: Cell<bool>,
}

/// Fault of a result.
enum Fault {
    /// Another execution may have a right one.
    Again(String),
    /// The worker cannot carry the job out.
    Unable { message: String, hint: Option<String>, place: BuildPlace },
    /// Anything else.
    Final(ReapiError),
}

impl<'a> ReapiBuild<'a> {
    /// Makes the job and its action.
    pub(super) fn new(engine: &'a Reapi, task: &'a ElsewhereTask<'a>) -> Result<Self, ReapiError> {
        (task.on_phase)(Phase::Prepare);
        let opened = engine.opened(task.home, task.interrupt)?;
        let settings = &engine.settings;
        let program = engine.program.get(settings.program.as_deref())?;
        let options = ExportOptions {
            limits: settings.limits,
            tier: settings.tier,
            failed: false,
            program: None,
        };
        let staged = opened.folder.stage(task, &options).map_err(|error| match error {
            PortableJobError::Interrupted => ReapiError::Interrupted,
            error => ReapiError::Job(Box::new(error)),
        })?;
        let tree = InputTree::of(inputs::files(&staged.job, program)?);
        // Engines refuse what exceeds their own limit, so none is named unless the user does; the program itself ends
        // a build script in time.
        let action = JobAction::of(tree, &settings.properties, settings.time);
        let (operation, shown) = (RefCell::default(), Cell::default());
        Ok(Self { engine, task, opened, staged, action, operation, shown })
    }

    /// Builds the package, with a result of the engine's cache if one fits.
    pub(super) fn carry_out(self) -> Result<ElsewhereAnswer, ReapiError> {
        let settings = &self.engine.settings;
        let id = &self.task.request.package.id;
        let place = self.opened.execution();
        let calls = Calls {
            channel: self.opened.channel.clone(),
            storage: self.opened.storage.clone(),
            executing: place.channel.clone(),
            settings,
            task: self.task,
            metadata: connection::metadata(settings, id, &self.action.digest)?,
            away: &self.engine.away,
        };
        let runtime = self.opened.runtime();
        if let Some(ended) = runtime::run(runtime, &self.opened.interrupted, self.drive(&calls)) {
            return ended;
        }
        if let Some(name) = self.operation.borrow_mut().take()
            && !runtime.block_on(cancel(&calls, name))
        {
            calls.warn("the engine may go on with the job, which it did not cancel".to_owned());
        }
        Err(ReapiError::Interrupted)
    }

    async fn drive(&self, calls: &Calls<'_>) -> Result<ElsewhereAnswer, ReapiError> {
        let capabilities = self.engine.capabilities(calls).await?;
        let supply = Supply {
            calls,
            storage: &self.engine.storage,
            capabilities,
            blobs: &self.action.blobs,
        };
        // Both questions at once: on a long way, the second answer takes as long as the first.
        let lacks = match select(pin!(self.cached(calls)), pin!(supply.lacks())).await {
            Either::Left((cached, lacks)) => match cached? {
                Some(answer) => return Ok(answer),
                None => lacks.await,
            },
            Either::Right((lacks, cached)) => match cached.await? {
                Some(answer) => return Ok(answer),
                None => lacks,
            },
        };
        supply.upload(&lacks?).await?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (streams, names) = channel(String::new());
            let watch = OperationWatch::new(calls, &self.action.digest, &self.operation, streams);
            let execution = if self.task.shows_output {
                join(watch.execute(), calls.show_output(names, &self.shown)).await.0?
            } else {
                watch.execute().await?
            };
            *self.operation.borrow_mut() = None;
            match execution {
                Execution::Refused(refusal) => {
                    self.refused(&supply, refusal, attempts).await?;
                }
                Execution::Done(response) => {
                    let result = response.result.unwrap_or_default();
                    match self.take(calls, &result, ENGINE).await {
                        Ok(answer) => return Ok(answer),
                        Err(fault) => self.faulty(calls, fault, attempts)?,
                    }
                    // What the engine has lost of the result, it may have lost of the inputs.
                    supply.bring_again(&[]).await?;
                }
            }
        }
    }

    /// Result of the engine's cache, if there is one that fits. A failure is not believed: its cause may have been
    /// the worker.
    async fn cached(&self, calls: &Calls<'_>) -> Result<Option<ElsewhereAnswer>, ReapiError> {
        let answer = calls
            .call("GetActionResult", || {
                let request = calls.request(GetActionResultRequest {
                    instance_name: calls.settings.instance.clone(),
                    action_digest: Some(self.action.digest.message()),
                    ..GetActionResultRequest::default()
                });
                let mut client = calls.cache();
                async move { client.get_action_result(request).await }
            })
            .await;
        let result = match answer {
            Ok(result) => result,
            Err(ReapiError::Refused(error)) if error.code != Code::Unauthenticated => {
                tracing::debug!(%error, "the engine's cache is not used");
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if result.exit_code != 0 {
            return Ok(None);
        }
        match self.take(calls, &result, CACHE).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Fault::Final(error @ (ReapiError::Interrupted | ReapiError::File { .. }))) => {
                Err(error)
            }
            Err(fault) => {
                let reason = match fault {
                    Fault::Again(reason) | Fault::Unable { message: reason, .. } => reason,
                    Fault::Final(error) => crate::base::causes::with_causes(&error),
                };
                calls.warn(format!(
                    "a result of the engine's cache is not used: {reason}; the package is built again"
                ));
                Ok(None)
            }
        }
    }

    /// Downloads and checks a result.
    async fn take(
        &self,
        calls: &Calls<'_>,
        result: &ActionResult,
        engine: &str,
    ) -> Result<ElsewhereAnswer, Fault> {
        let place = place(result, engine);
        let failed =
            |source| Fault::Final(ReapiError::File { doing: "make a folder for a result", source });
        let folder = TemporaryFolder::create(self.staged.path()).map_err(failed)?;
        let outputs = Outputs { calls, result, job: &self.staged.job.sum, folder: folder.path() };
        let refused = |source| {
            let place = place.clone();
            Fault::Final(ReapiError::Result { place, source: Box::new(source) })
        };
        let record = outputs.download().await.map_err(|error| match error {
            OutputError::Incomplete(text) => Fault::Again(text),
            OutputError::Result(error) => refused(error),
            OutputError::OtherBytes(what) => {
                Fault::Final(ReapiError::OtherBytes { place: place.clone(), what })
            }
            OutputError::Other(error) => Fault::Final(error),
        })?;
        if record.outcome == JobOutcome::Unable {
            let (message, hint) = (record.message.unwrap_or_default(), record.hint);
            return Err(Fault::Unable { message, hint, place });
        }
        (self.task.on_phase)(Phase::Pack);
        let tier = self.engine.settings.tier;
        let take = || checked::take(record, folder.path(), self.task, tier);
        let taken = if self.task.shows_output && engine == ENGINE && !self.shown.get() {
            let subject = self.task.request.package.id.to_string();
            following(self.task.log, &subject, self.task.observer, take)
        } else {
            take()
        };
        let taken = taken.map_err(refused)?;
        let mut record = taken.record;
        if let Some(record) = &mut record {
            record.ran_on = Some(place.clone());
        }
        let (blobs, bytes) = self.engine.storage.counts();
        tracing::debug!(blobs, bytes, "uploaded so far");
        Ok(ElsewhereAnswer { place, result: taken.result, record, clear_up: Box::new(|| ()) })
    }

    /// Decides on another execution after a result that is not one.
    fn faulty(&self, calls: &Calls<'_>, fault: Fault, attempts: u32) -> Result<(), ReapiError> {
        match fault {
            Fault::Final(error) => Err(error),
            Fault::Again(last) if attempts >= ATTEMPTS => {
                let program = self.engine.program.get(None)?;
                Err(ReapiError::Gone { attempts, last, is_dynamic: program.is_dynamic })
            }
            Fault::Again(last) => {
                calls.warn(format!("the job ended without a result: {last}; it is run again"));
                Ok(())
            }
            Fault::Unable { message, hint, place } if attempts >= ATTEMPTS => {
                Err(ReapiError::Unable { place, message, hint })
            }
            Fault::Unable { message, place, .. } => {
                calls.warn(format!("{place} cannot carry it out: {message}; it is run again"));
                Ok(())
            }
        }
    }

    /// Decides on another execution after a refusal: brings lost inputs again.
    async fn refused(
        &self,
        supply: &Supply<'_>,
        refusal: Refusal,
        attempts: u32,
    ) -> Result<(), ReapiError> {
        let Refusal { error, missing } = refusal;
        let said = Some(error.said.clone()).filter(|said| !said.is_empty());
        match error.code {
            Code::DeadlineExceeded => return Err(ReapiError::TimeLimit(said)),
            Code::Cancelled => return Err(ReapiError::Cancelled),
            Code::FailedPrecondition
            | Code::NotFound
            | Code::Internal
            | Code::DataLoss
            | Code::Aborted
            | Code::Unavailable
            | Code::Unknown
            | Code::ResourceExhausted
                if attempts < ATTEMPTS => {}
            _ => return Err(error.into()),
        }
        let brought = supply.bring_again(&missing).await?;
        // An engine that lacks nothing says no because of something else.
        if brought == 0 && error.code == Code::FailedPrecondition {
            return Err(error.into());
        }
        let why = match brought {
            0 => "it is run again".to_owned(),
            1 => "a file that the engine had lost is uploaded, and it is run again".to_owned(),
            n => format!("{n} files that the engine had lost are uploaded, and it is run again"),
        };
        supply.calls.warn(format!("{error}; {why}"));
        Ok(())
    }
}

/// Place of a build, as far as the engine names it.
fn place(result: &ActionResult, engine: &str) -> BuildPlace {
    let worker = result.execution_metadata.as_ref().map(|data| data.worker.trim());
    let is_plain = |name: &&str| {
        let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-+:/@".contains(letter);
        !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(is_plain)
    };
    let node = worker.filter(is_plain).map(str::to_owned);
    BuildPlace { engine: engine.to_owned(), node, job: None }
}

#[cfg(test)]
mod tests {
    use bazel_remote_apis::build::bazel::remote::execution::v2::ExecutedActionMetadata;

    use super::*;

    #[test]
    fn a_worker_with_a_plain_name_is_named() {
        let shown = |worker: &str| {
            let worker = worker.to_owned();
            let data = ExecutedActionMetadata { worker, ..ExecutedActionMetadata::default() };
            let result = ActionResult { execution_metadata: Some(data), ..ActionResult::default() };
            place(&result, ENGINE).to_string()
        };
        assert_eq!(shown("w-1.example.org"), "w-1.example.org (remote)");
        for odd in ["", "\u{1b}[31m", "a b", &"a".repeat(65)] {
            assert_eq!(shown(odd), "remote", "{odd:?}");
        }
        assert_eq!(place(&ActionResult::default(), CACHE).to_string(), "remote cache");
    }
}
