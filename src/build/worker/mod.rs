//! The helper's work: jobs inside namespaces, and answers.
//!
//! A helper is the same executable, dispatched first thing in `main`, before any thread exists. It
//! keeps a user namespace and starts a process for each job ([`keeper`]): process 1 of a pid namespace
//! of its own, which opens what belongs to the caller (log, archive), enters the other namespaces,
//! does the job and says how it went.

mod build;
mod jobserver;
mod remove;
mod root;
mod stage;
mod unpack;

use std::io::Write;

use crate::archive::{LimitExceeded, ReadError};
use crate::base::causes::with_causes;
use crate::base::event::Phase;
use crate::container::keeper::{self, Worker};
use crate::container::machine::{self, Machine, Probed};
use crate::container::namespace::{self, NamespaceError, Network};
use crate::container::rehearsal::rehearse;
use crate::container::view::View;

use crate::dockerfile::execute::step::run_step;

use super::job::{Answer, Failure, Job, ProbeJob};

/// Does the jobs that come on stdin; gives the process's exit code.
pub fn run() -> u8 {
    // The parent's number, in case it is dead already.
    let parent = std::env::args().nth(2).and_then(|text| text.parse().ok());
    keeper::keep(parent, &Jobs)
}

struct Jobs;

impl Worker for Jobs {
    fn refuse(&self, error: NamespaceError) {
        let hint = error.remedy().map(str::to_owned);
        say(&Answer::Failed(Failure { hint, ..unprepared(error) }));
    }

    fn work(&self, job: &[u8]) -> u8 {
        let answered = match serde_json::from_slice::<Job>(job) {
            Err(reason) => Err(failure(Phase::Prepare, format!("the helper got no job: {reason}"))),
            Ok(Job::Probe(job)) => probe(&job),
            Ok(Job::Remove(job)) => remove::remove(&job),
            Ok(Job::Measure(job)) => remove::measure(&job),
            Ok(Job::Copy(job)) => remove::copy(&job),
            Ok(Job::Unpack(job)) => unpack::unpack(&job),
            Ok(Job::Build(job)) => build::build(&job),
            Ok(Job::Step(job)) => return run_step(&job),
        };
        match answered {
            Ok(Finished::With(answer)) => u8::from(!say(&answer)),
            Ok(Finished::Answered(heard)) => u8::from(!heard),
            Err(failure) => {
                say(&Answer::Failed(failure));
                1
            }
        }
    }
}

/// How a job came to its end.
enum Finished {
    /// With this answer.
    With(Answer),
    /// Having answered.
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
    namespace::enter(Network::None).map_err(unprepared)?;
    let view = View::create(&job.view, std::slice::from_ref(&job.scratch), &job.map);
    let view = view.map_err(|error| {
        let hint = error.remedy().map(str::to_owned);
        Failure { hint, ..unprepared(error) }
    })?;
    namespace::become_root(&job.map).map_err(unprepared)?;
    let found = machine::probe(view.path(), &view.input(0)).map_err(unprepared)?;
    if !found.is_plain() {
        let Probed { conditions, root } = found.clone();
        let machine = Machine { map: job.map.clone(), conditions, root };
        rehearse(&view, &view.input(0), &machine).map_err(|error| {
            let hint = error.remedy().map(str::to_owned);
            Failure { hint, ..unprepared(error) }
        })?;
    }
    Ok(Finished::With(Answer::Probed(found)))
}
