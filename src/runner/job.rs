//! Jobs of the helper process: each kind is a type with an answer of its own.
//!
//! A job is data: all inputs are named, with paths of the caller. The parent sends it to a helper
//! ([`run_job`]) as one line of JSON, `{"kind": …, "job": …}`. The helper looks the kind up in a
//! table of [`Handler`]s and answers with lines of JSON: any number of [`Message::Phase`], then one
//! [`Message::Done`] or [`Message::Failed`]. The table is filled by `cli`, above all kinds of jobs.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::archive::limit_remedy;
use crate::base::causes::with_causes;
use crate::base::event::Phase;
use crate::container::cgroup::Cgroup;
use crate::container::helper::{EndingProcess, HelperError, HelperSlot, Interrupt};
use crate::container::idmap::IdMap;

/// A kind of job.
pub trait Job: Serialize + DeserializeOwned {
    /// Name of the kind in messages.
    const KIND: &'static str;

    /// Answer to a job that was done.
    type Answer: Serialize + DeserializeOwned;

    /// Does the job, in a process of its own inside the helper's user namespace.
    fn perform(&self) -> Performed<'_, Self::Answer>;
}

/// Result of a job, and the work that may go on after the answer.
pub struct Performed<'job, A> {
    /// Answer or failure, sent to the parent.
    pub result: Result<A, JobFailure>,
    /// Removal of the job's files, done while the parent goes on.
    pub clear_up: Option<Box<dyn FnOnce() + 'job>>,
}

impl<A> std::fmt::Debug for Performed<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Performed").field("failed", &self.result.is_err()).finish_non_exhaustive()
    }
}

impl<A> From<Result<A, JobFailure>> for Performed<'_, A> {
    fn from(result: Result<A, JobFailure>) -> Self {
        Self { result, clear_up: None }
    }
}

/// Reason why a job failed, in words: the error itself stayed in the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// Message with its causes.
    pub message: String,
    /// Remedy, if one is known.
    pub hint: Option<String>,
    /// True if the job's log says more.
    pub see_log: bool,
    /// True if the scratch folder's disk was full.
    pub no_room: bool,
}

impl JobFailure {
    /// Failure with a message alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, see_log: false, no_room: false }
    }

    /// Turns an error into a failure, with the remedy for an exceeded limit of archives.
    pub fn of(error: impl std::error::Error + 'static) -> Self {
        let hint = limit_remedy(&error);
        Self { hint: hint.map(str::to_owned), ..Self::new(with_causes(&error)) }
    }

    /// The same failure with another hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// A line from a job's process to the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message<A> {
    /// A phase began.
    Phase(Phase),
    /// The job is done.
    Done(A),
    /// The job failed.
    Failed(JobFailure),
}

#[derive(Serialize)]
struct Envelope<'a, J> {
    kind: &'static str,
    job: &'a J,
}

#[derive(Deserialize)]
struct Received<'a> {
    #[serde(borrow)]
    kind: &'a str,
    #[serde(borrow)]
    job: &'a RawValue,
}

/// Sends a job to a helper and waits for its answer; the process may still clear up afterwards.
/// `deadline`, which `on_phase` may set, is the latest time of the next message.
pub fn run_job<J: Job>(
    helper: &mut HelperSlot,
    job: &J,
    cgroup: Option<&Cgroup>,
    deadline: &Cell<Option<Instant>>,
    mut on_phase: impl FnMut(Phase),
) -> Result<(Result<J::Answer, JobFailure>, EndingProcess), HelperError> {
    let envelope = Envelope { kind: J::KIND, job };
    helper.run(&envelope, cgroup, deadline, |message| match message {
        Message::Phase(phase) => {
            on_phase(phase);
            None
        }
        Message::Done(answer) => Some(Ok(answer)),
        Message::Failed(failure) => Some(Err(failure)),
    })
}

/// Runs a job in a helper of its own, and waits for the end of its process.
pub fn run_job_once<J: Job>(
    map: &IdMap,
    job: &J,
    interrupt: &Arc<Interrupt>,
) -> Result<Result<J::Answer, JobFailure>, HelperError> {
    let mut helper = HelperSlot::new(map.clone(), interrupt);
    let (result, _process) = run_job(&mut helper, job, None, &Cell::default(), |_phase| ())?;
    Ok(result)
}

/// Row of the helper's table: a kind of job and its function.
#[derive(Debug, Clone, Copy)]
pub struct Handler {
    kind: &'static str,
    handle: fn(&RawValue) -> u8,
}

impl Handler {
    /// Handler for a kind of job.
    pub const fn of<J: Job>() -> Self {
        Self { kind: J::KIND, handle: handle::<J> }
    }

    /// Does a job, given as the line that the parent sent; returns the process's exit code.
    pub fn dispatch(handlers: &[Self], line: &[u8]) -> u8 {
        let refuse = |message: String| {
            send(&Message::<()>::Failed(JobFailure::new(message)));
            1
        };
        let received = match serde_json::from_slice::<Received<'_>>(line) {
            Ok(received) => received,
            Err(error) => return refuse(format!("the helper received no valid job: {error}")),
        };
        match handlers.iter().find(|handler| handler.kind == received.kind) {
            Some(handler) => (handler.handle)(received.job),
            None => refuse(format!("the helper does not know jobs of kind {:?}", received.kind)),
        }
    }
}

fn handle<J: Job>(text: &RawValue) -> u8 {
    let job: J = match serde_json::from_str(text.get()) {
        Ok(job) => job,
        Err(error) => {
            let message = format!("the helper received no valid job: {error}");
            send(&Message::<J::Answer>::Failed(JobFailure::new(message)));
            return 1;
        }
    };
    let Performed { result, clear_up } = job.perform();
    let is_done = result.is_ok();
    // Before the clearing up: the parent goes on with the next job meanwhile.
    let is_heard = send(&result.map_or_else(Message::Failed, Message::Done));
    if let Some(clear_up) = clear_up {
        clear_up();
    }
    u8::from(!(is_done && is_heard))
}

/// Tells the parent that a phase of the job begins.
pub fn enter_phase(phase: Phase) {
    // A parent that is gone is noticed at the answer.
    send(&Message::<()>::Phase(phase));
}

/// Reports to the parent that the user namespace is missing.
pub(super) fn refuse(failure: JobFailure) {
    send(&Message::<()>::Failed(failure));
}

/// Writes a message as one line; false if the parent does not read any more.
fn send<A: Serialize>(message: &Message<A>) -> bool {
    // One write for the whole line: other processes write to the same pipe.
    let Ok(mut line) = serde_json::to_vec(message) else { return false };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).is_ok()
}
