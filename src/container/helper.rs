//! The parent's side of a helper: starting one, handing it a job, hearing its answers, ending it.
//!
//! The job is one JSON document on the helper's stdin; answers are JSON lines on its stdout; what
//! it prints on stderr is a fault of its own and comes back with the error. A helper has a process
//! group of its own, so that a terminal's Ctrl-C reaches the parent alone, which then decides.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cgroup::{Cgroup, CgroupError};
use super::sys;

/// The argument by which the executable knows that it is a helper.
pub const HELPER_ARGUMENT: &str = "internal-helper";

/// The most that a helper may say in one line.
const LONGEST_ANSWER: u64 = 16 << 20;

/// How long a helper may clear up after its last answer. One that was stopped would do so for ever;
/// what it doesn't remove is removed by another one.
const CLEARING: Duration = Duration::from_secs(60);

/// A helper could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// It could not be started.
    #[error("can't start a helper process")]
    Start {
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It could not be put into its cgroup.
    #[error("can't limit a helper process")]
    Limit {
        /// What went wrong.
        #[source]
        source: CgroupError,
    },
    /// It could not be talked to.
    #[error("can't talk to a helper process")]
    Talk {
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It ended without having said that it is done.
    #[error("a helper process ended early ({ending}){}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Died {
        /// How it ended.
        ending: String,
        /// What it said on stderr.
        said: String,
    },
    /// It was ended because it should have been done long ago.
    #[error("a helper process was stopped, or hangs: it gave no answer in time, and was killed")]
    Overdue,
    /// It was ended because the run is.
    #[error("interrupted")]
    Interrupted,
}

/// Ends all helpers at once when a run is interrupted, and keeps new ones from being started.
#[derive(Debug, Default)]
pub struct Interrupt {
    raised: AtomicBool,
    running: Mutex<Vec<u32>>,
}

impl Interrupt {
    /// Whether the run is interrupted.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Interrupts the run: kills the helpers, and with each of them all that it started.
    pub fn raise(&self) {
        // Under the lock, so that no helper slips in between the flag and the kill.
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.raised.store(true, Ordering::SeqCst);
        for pid in running.iter() {
            if let Ok(pid) = i32::try_from(*pid) {
                // A helper that is gone already is as good as killed.
                _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    fn start(&self, command: &mut Command) -> Result<Child, HelperError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_raised() {
            return Err(HelperError::Interrupted);
        }
        let child = command.spawn().map_err(|source| HelperError::Start { source })?;
        running.push(child.id());
        Ok(child)
    }

    fn ended(&self, pid: u32) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|other| *other != pid);
    }
}

/// Runs a helper with a job and waits for its end. `hear` takes each answer, and gives back what
/// `run` is to give back as soon as it heard the last one. The thread must outlive the helper: the
/// kernel kills a helper when the thread that started it ends.
pub fn run<Job: Serialize, Answer: DeserializeOwned, T>(
    job: &Job,
    interrupt: &Arc<Interrupt>,
    hear: impl FnMut(Answer) -> Option<T>,
) -> Result<T, HelperError> {
    run_until_answered(job, None, &Cell::default(), interrupt, hear)
        .map(|(value, _finishing)| value)
}

/// Runs a helper with a job until it has given its last answer; it may still be clearing up, for
/// which the [`Finishing`] waits. `deadline`, which `hear` may set, is when the next answer has to
/// be there: a helper keeps time itself, unless somebody has stopped it.
pub fn run_until_answered<Job: Serialize, Answer: DeserializeOwned, T>(
    job: &Job,
    cgroup: Option<&Cgroup>,
    deadline: &Cell<Option<Instant>>,
    interrupt: &Arc<Interrupt>,
    mut hear: impl FnMut(Answer) -> Option<T>,
) -> Result<(T, Finishing), HelperError> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(HELPER_ARGUMENT)
        .arg(std::process::id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = interrupt.start(&mut command)?;
    let mut helper = Finishing { child, interrupt: Arc::clone(interrupt) };
    let heard = talk(&mut helper.child, job, cgroup, deadline, &mut hear);
    if let Ok(Some(value)) = heard {
        return Ok((value, helper));
    }
    if heard.is_err() {
        // It would wait for ever for an answer to be read.
        drop(helper.child.kill());
    }
    let said = helper.child.stderr.take().map_or_else(String::new, |stderr| {
        let mut said = String::new();
        drop(stderr.take(64 << 10).read_to_string(&mut said));
        said.trim().to_owned()
    });
    let status = helper.child.wait();
    drop(helper);
    if interrupt.is_raised() {
        return Err(HelperError::Interrupted);
    }
    heard?;
    let ending = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    Err(HelperError::Died { ending, said })
}

/// A helper that has given its last answer, and may still be clearing up. Dropping this waits for
/// its end. It must be dropped by the thread that started the helper.
#[derive(Debug)]
pub struct Finishing {
    child: Child,
    interrupt: Arc<Interrupt>,
}

impl Finishing {
    fn ends_within(&self, limit: Duration) -> bool {
        let pid = i32::try_from(self.child.id()).map_or(0, |pid| pid);
        let Ok(watch) = sys::pidfd_open(Pid::from_raw(pid)) else { return true };
        let until = Instant::now().checked_add(limit);
        sys::wait_readable(&[watch.as_fd()], until).unwrap_or(true)
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        if !self.ends_within(CLEARING) {
            drop(self.child.kill());
        }
        drop(self.child.wait());
        self.interrupt.ended(self.child.id());
    }
}

fn talk<Job: Serialize, Answer: DeserializeOwned, T>(
    child: &mut Child,
    job: &Job,
    cgroup: Option<&Cgroup>,
    deadline: &Cell<Option<Instant>>,
    hear: &mut impl FnMut(Answer) -> Option<T>,
) -> Result<Option<T>, HelperError> {
    // The helper does nothing before it has its job, so nothing of it escapes the cgroup.
    if let Some(cgroup) = cgroup {
        cgroup.add(child.id()).map_err(|source| HelperError::Limit { source })?;
    }
    let talk = |source| HelperError::Talk { source };
    let text = serde_json::to_vec(job).map_err(|error| talk(error.into()))?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(&text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
            other => other.map_err(talk)?,
        }
    }
    let Some(stdout) = child.stdout.take() else { return Ok(None) };
    let mut stdout = BufReader::new(stdout);
    loop {
        if stdout.buffer().is_empty()
            && let Some(until) = deadline.get()
            && !sys::wait_readable(&[stdout.get_ref().as_fd()], Some(until))
                .map_err(|errno| talk(errno.into()))?
        {
            return Err(HelperError::Overdue);
        }
        let mut line = Vec::new();
        let length =
            stdout.by_ref().take(LONGEST_ANSWER).read_until(b'\n', &mut line).map_err(talk)?;
        if length == 0 {
            return Ok(None);
        }
        let answer = serde_json::from_slice(&line).map_err(|error| talk(error.into()))?;
        if let Some(last) = hear(answer) {
            return Ok(Some(last));
        }
    }
}
