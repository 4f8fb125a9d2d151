//! Processes watched by pidfds, so that a process with a reused id is never mistaken for them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::poll;

/// Time limit for a job's cleanup after its last answer: the cleanup of a stopped process would never
/// end. The sweep of a later job removes the rest.
const CLEANUP_LIMIT: Duration = Duration::from_secs(60);

/// Process that may have ended, and whose id may have been reused since.
#[derive(Debug)]
pub(super) struct Process {
    number: Pid,
    watch: OwnedFd,
}

impl Process {
    pub(super) fn open(number: i32) -> nix::Result<Self> {
        let number = Pid::from_raw(number);
        Ok(Self { number, watch: poll::pidfd_open(number)? })
    }

    /// Waits for the end, up to a limit; returns true if the process has ended.
    pub(super) fn ends_within(&self, limit: Duration) -> bool {
        let until = Instant::now().checked_add(limit);
        poll::wait_readable(&[self.watch.as_fd()], until).unwrap_or(true)
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

/// Process of a job that has given its last answer, and may still be clearing up. Dropping this
/// value waits for the end of the process, which takes its pid namespace with it, and kills a process
/// that does not end in time.
#[derive(Debug)]
pub struct EndingProcess {
    process: Option<Process>,
}

impl EndingProcess {
    pub(super) fn new(process: Option<Process>) -> Self {
        Self { process }
    }

    /// True if there ever was a process.
    pub(super) fn has_process(&self) -> bool {
        self.process.is_some()
    }

    /// True if dropping the value would not wait.
    pub fn is_done(&self) -> bool {
        self.process.as_ref().is_none_or(|process| process.ends_within(Duration::ZERO))
    }
}

impl Drop for EndingProcess {
    fn drop(&mut self) {
        let Some(process) = &self.process else { return };
        if !process.ends_within(CLEANUP_LIMIT) {
            // A process that has not ended keeps its id, so the signal reaches no other process.
            _ = kill(process.number, Signal::SIGKILL);
            process.ends_within(CLEANUP_LIMIT);
        }
    }
}
