//! The helper process: does one job inside namespaces and answers.
//!
//! It is the same executable, dispatched first thing in `main`, before any thread exists. The
//! process that was started opens what belongs to the caller (log, archive) and enters the
//! namespaces; its child, process 1 of the new pid namespace, does the job and says how it went;
//! the outer one waits for it and exits like it.

mod build;
mod inputs;
mod jobserver;
mod readable;
mod remove;
mod root;
mod stage;

use std::io::{Read, Write};

use crate::archive::{LimitExceeded, ReadError};
use crate::base::causes::with_causes;
use crate::base::event::Phase;
use crate::container::machine;
use crate::container::namespace::{self, Network, Side};
use crate::container::view::View;

use super::job::{Answer, Failure, Job, ProbeJob};

/// Does the job that comes on stdin; gives the process's exit code.
pub fn run() -> u8 {
    let parent = std::env::args().nth(2).and_then(|text| text.parse().ok());
    if let Some(parent) = parent {
        // Before anything else: what it starts later dies with it.
        _ = namespace::die_with_parent(parent);
    }
    let mut text = String::new();
    let job = std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())
        .and_then(|_| serde_json::from_str::<Job>(&text).map_err(|error| error.to_string()));
    let answered = match job {
        Err(reason) => Err(failure(Phase::Prepare, format!("the helper got no job: {reason}"))),
        Ok(Job::Probe(job)) => probe(&job),
        Ok(Job::Remove(job)) => remove::remove(&job),
        Ok(Job::Copy(job)) => remove::copy(&job),
        Ok(Job::Build(job)) => build::build(&job),
    };
    match answered {
        Ok(Finished::Outside(code)) => u8::try_from(code).unwrap_or(255),
        Ok(Finished::Inside(answer)) => u8::from(!say(&answer)),
        Ok(Finished::Answered(heard)) => u8::from(!heard),
        Err(failure) => {
            say(&Answer::Failed(failure));
            1
        }
    }
}

/// Where a job came to its end.
enum Finished {
    /// In the outer process; the inner one has answered.
    Outside(i32),
    /// In the inner process, with this answer.
    Inside(Answer),
    /// In the inner process, which has answered.
    Answered(bool),
}

fn say(answer: &Answer) -> bool {
    let Ok(mut line) = serde_json::to_vec(answer) else { return false };
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).is_ok()
}

fn failure(phase: Phase, message: impl Into<String>) -> Failure {
    Failure { phase, message: message.into(), hint: None, see_log: false }
}

/// Turns an error of the preparations into a failure.
fn unprepared(error: impl std::error::Error + 'static) -> Failure {
    let hint = ReadError::limit_among_causes(&error).and_then(LimitExceeded::remedy);
    Failure { hint: hint.map(str::to_owned), ..failure(Phase::Prepare, with_causes(&error)) }
}

fn probe(job: &ProbeJob) -> Result<Finished, Failure> {
    match namespace::enter(&job.map, Network::None).map_err(unprepared)? {
        Side::Outside(code) => Ok(Finished::Outside(code)),
        Side::Inside => {
            let view = View::create(&job.view, std::slice::from_ref(&job.scratch), &job.map)
                .map_err(unprepared)?;
            namespace::become_root(&job.map).map_err(unprepared)?;
            let found = machine::probe(view.path(), &view.input(0)).map_err(unprepared)?;
            Ok(Finished::Inside(Answer::Probed(found)))
        }
    }
}
