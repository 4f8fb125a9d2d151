//! The execution of an action: a stream of states, which may end early, and is taken up again.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2::execution_stage::Value as Stage;
use bazel_remote_apis::build::bazel::remote::execution::v2::{
    ExecuteOperationMetadata, ExecuteRequest, ExecuteResponse, WaitExecutionRequest,
};
use bazel_remote_apis::google::longrunning::{CancelOperationRequest, Operation, operation};
use bazel_remote_apis::google::rpc;
use prost::Message as _;
use tokio::sync::watch;
use tonic::codec::Streaming;
use tonic::{Code, Status};

use super::blob::BlobDigest;
use super::call::{Attempts, Calls};
use super::error::{CallError, ReapiError};
use crate::base::event::Phase;

/// Time without a message after which the engine is asked again for the state.
const SILENCE: Duration = Duration::from_secs(10 * 60);

/// Time for a cancellation.
const CANCELLING: Duration = Duration::from_secs(5);

/// Number of operations that an engine may lose.
const LOST: u32 = 5;

/// Details of a failed precondition (`google.rpc.PreconditionFailure`).
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct PreconditionFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<Violation>,
}

/// Violation of a precondition.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Violation {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    subject: String,
}

/// An engine did not execute an action.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Error.
    pub(super) error: CallError,
    /// Blobs that the engine says it lacks.
    pub(super) missing: Vec<BlobDigest>,
}

impl Refusal {
    fn of_status(call: &'static str, status: &rpc::Status) -> Self {
        let said = super::error::plain(&status.message);
        let error = CallError { call, code: Code::from_i32(status.code), said };
        Self { error, missing: missing(status) }
    }

    fn of(call: &'static str, status: &Status) -> Self {
        let details = rpc::Status::decode(status.details()).unwrap_or_default();
        Self { error: CallError::of(call, status), missing: missing(&details) }
    }
}

/// Blobs that the details of a status name as missing.
fn missing(status: &rpc::Status) -> Vec<BlobDigest> {
    let is_failure = |url: &str| url.ends_with("/google.rpc.PreconditionFailure");
    let details = status.details.iter().filter(|detail| is_failure(&detail.type_url));
    let failures =
        details.filter_map(|detail| PreconditionFailure::decode(detail.value.as_slice()).ok());
    let violations = failures.flat_map(|failure| failure.violations);
    let missing = violations.filter(|violation| violation.kind == "MISSING");
    missing.filter_map(|violation| BlobDigest::of_name(&violation.subject)).collect()
}

/// End of an execution.
pub(super) enum Execution {
    /// The engine has a result.
    Done(Box<ExecuteResponse>),
    /// The engine refuses, or the action came to no result.
    Refused(Refusal),
}

/// Watch of an action.
pub(super) struct OperationWatch<'a> {
    pub(super) calls: &'a Calls<'a>,
    pub(super) action: &'a BlobDigest,
    /// Name of the operation, once there is one.
    pub(super) name: &'a RefCell<Option<String>>,
    /// Receives the names of streams with output.
    streams: watch::Sender<String>,
    /// Time at which the action began to wait.
    queued: Option<Instant>,
    is_told: bool,
    is_running: bool,
}

impl<'a> OperationWatch<'a> {
    pub(super) fn new(
        calls: &'a Calls<'a>,
        action: &'a BlobDigest,
        name: &'a RefCell<Option<String>>,
        streams: watch::Sender<String>,
    ) -> Self {
        Self { calls, action, name, streams, queued: None, is_told: false, is_running: false }
    }

    /// Executes the action, and waits for its end.
    pub(super) async fn execute(mut self) -> Result<Execution, ReapiError> {
        let (mut attempts, mut lost) = (Attempts::default(), 0);
        *self.name.borrow_mut() = None;
        loop {
            let name = self.name.borrow().clone();
            let call = if name.is_some() { "WaitExecution" } else { "Execute" };
            let status = match self.open(name.clone()).await {
                Ok(stream) => match self.follow(stream, &mut attempts).await {
                    Ok(Some(end)) => return Ok(end),
                    Ok(None) => Status::new(Code::Aborted, "the stream of states ended"),
                    Err(status) => status,
                },
                Err(status) => status,
            };
            let error = CallError::of(call, &status);
            if name.is_some() && matches!(error.code, Code::NotFound | Code::Unimplemented) {
                lost += 1;
                if lost > LOST {
                    return Err(error.into());
                }
                *self.name.borrow_mut() = None;
                continue;
            }
            let is_known = self.name.borrow().is_some();
            if error.may_pass() && (is_known || error.code != Code::Internal) {
                self.calls.again(&mut attempts, error).await?;
                continue;
            }
            self.calls.answered();
            return Ok(Execution::Refused(Refusal::of(call, &status)));
        }
    }

    async fn open(&self, name: Option<String>) -> Result<Streaming<Operation>, Status> {
        let mut client = self.calls.execution();
        let opening = async {
            if let Some(name) = name {
                let request = self.calls.request(WaitExecutionRequest { name });
                return client.wait_execution(request).await;
            }
            let request = ExecuteRequest {
                instance_name: self.calls.settings.instance.clone(),
                // The cache was asked before.
                skip_cache_lookup: true,
                action_digest: Some(self.action.message()),
                inline_stderr: true,
                ..ExecuteRequest::default()
            };
            client.execute(self.calls.request(request)).await
        };
        let opened = tokio::time::timeout(SILENCE, opening).await;
        opened.map_err(|_elapsed| super::call::stalled(SILENCE))?.map(tonic::Response::into_inner)
    }

    /// Follows a stream to the end of the operation, or to its own.
    async fn follow(
        &mut self,
        mut stream: Streaming<Operation>,
        attempts: &mut Attempts,
    ) -> Result<Option<Execution>, Status> {
        let mut heard = Instant::now();
        loop {
            let patience = self.calls.settings.patience;
            let quiet = SILENCE.saturating_sub(heard.elapsed());
            let untold = self.queued.filter(|_since| !self.is_told);
            let wait = untold.map_or(quiet, |since| {
                quiet.min(patience.saturating_sub(since.elapsed()) + Duration::from_millis(1))
            });
            match tokio::time::timeout(wait, stream.message()).await {
                Ok(message) => {
                    let Some(operation) = message? else { return Ok(None) };
                    self.calls.answered();
                    attempts.progressed();
                    heard = Instant::now();
                    if let Some(end) = self.hear(operation) {
                        return Ok(Some(end));
                    }
                }
                Err(_elapsed) if heard.elapsed() >= SILENCE => {
                    // Another stream says whether it is still there.
                    return Ok(None);
                }
                Err(_elapsed) => {}
            }
            self.tell_waiting();
        }
    }

    /// Says once that no worker takes the action.
    fn tell_waiting(&mut self) {
        let Some(since) = self.queued.filter(|_since| !self.is_told) else { return };
        let settings = self.calls.settings;
        if since.elapsed() < settings.patience {
            return;
        }
        self.is_told = true;
        let properties: Vec<String> =
            settings.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let wanted = match properties.as_slice() {
            [] => "does the engine have a worker".to_owned(),
            properties => format!("does a worker have {}", properties.join(", ")),
        };
        let seconds = since.elapsed().as_secs();
        let time =
            if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
        self.calls.warn(format!("queued for {time}; {wanted}?"));
    }

    /// Takes a state; the end of the operation, if it is one.
    fn hear(&mut self, operation: Operation) -> Option<Execution> {
        if !operation.name.is_empty() {
            *self.name.borrow_mut() = Some(operation.name);
        }
        let metadata = operation.metadata.as_ref();
        let metadata = metadata
            .and_then(|any| ExecuteOperationMetadata::decode(any.value.as_slice()).ok())
            .unwrap_or_default();
        let stream = &metadata.stdout_stream_name;
        self.streams.send_if_modified(|name| {
            let is_other = !stream.is_empty() && name != stream;
            if is_other {
                name.clone_from(stream);
            }
            is_other
        });
        match Stage::try_from(metadata.stage).unwrap_or(Stage::Unknown) {
            // An engine may take a job back from a worker that is lost.
            Stage::Queued => {
                self.queued.get_or_insert_with(Instant::now);
            }
            Stage::CacheCheck => {}
            // Some engines name no stage at all.
            Stage::Unknown | Stage::Executing | Stage::Completed => {
                self.queued = None;
                if !std::mem::replace(&mut self.is_running, true) {
                    (self.calls.task.on_phase)(Phase::Build);
                }
            }
        }
        if !operation.done {
            return None;
        }
        let refused =
            |status: &rpc::Status| Some(Execution::Refused(Refusal::of_status("Execute", status)));
        let none = |said: &str| rpc::Status {
            code: Code::Internal as i32,
            message: said.to_owned(),
            details: Vec::new(),
        };
        match operation.result {
            Some(operation::Result::Error(status)) => refused(&status),
            Some(operation::Result::Response(any)) => {
                match ExecuteResponse::decode(any.value.as_slice()) {
                    Err(_fault) => refused(&none("its answer cannot be read")),
                    Ok(response) => match &response.status {
                        Some(status) if status.code != 0 => refused(status),
                        _ => Some(Execution::Done(Box::new(response))),
                    },
                }
            }
            None => refused(&none("the operation ended without an answer")),
        }
    }
}

/// Cancels an operation, and waits a moment for the answer. `false` if it may go on.
pub(super) async fn cancel(calls: &Calls<'_>, name: String) -> bool {
    let mut client = calls.operations();
    let request = calls.request(CancelOperationRequest { name });
    let cancelled = tokio::time::timeout(CANCELLING, client.cancel_operation(request)).await;
    match cancelled {
        Ok(Ok(_empty)) => true,
        Ok(Err(status)) => matches!(status.code(), Code::NotFound),
        Err(_elapsed) => false,
    }
}

#[cfg(test)]
mod tests {
    use bazel_remote_apis::google::protobuf::Any;

    use super::*;

    #[test]
    fn missing_blobs_are_read_out_of_the_details() {
        let sum = "a".repeat(64);
        let violation = |kind: &str, subject: String| Violation { kind: kind.to_owned(), subject };
        let failure = PreconditionFailure {
            violations: vec![
                violation("MISSING", format!("blobs/{sum}/3")),
                violation("OTHER", format!("blobs/{sum}/4")),
                violation("MISSING", "nonsense".to_owned()),
            ],
        };
        let detail = |type_url: &str, value: Vec<u8>| Any { type_url: type_url.to_owned(), value };
        let url = "type.googleapis.com/google.rpc.PreconditionFailure";
        let status = |details| rpc::Status { code: 9, message: String::new(), details };
        let found = missing(&status(vec![
            detail("type.googleapis.com/google.rpc.Help", failure.encode_to_vec()),
            detail(url, failure.encode_to_vec()),
            detail(url, vec![0xff]),
        ]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].sum.as_str(), found[0].bytes), (sum.as_str(), 3));
    }
}
