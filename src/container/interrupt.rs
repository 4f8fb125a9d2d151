//! Interruption of a run.

use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::helper_error::HelperError;
use super::refusal;

/// Ends all helpers at once when a run is interrupted, and keeps new ones from being started.
#[derive(Debug, Default)]
pub struct Interrupt {
    raised: AtomicBool,
    running: Mutex<Vec<u32>>,
}

impl Interrupt {
    /// True if the run is interrupted.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// Interrupts the run: kills the helpers, and all their descendants.
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

    /// Starts a helper, unless the run is interrupted.
    pub(super) fn start(&self, command: &mut Command) -> Result<Child, HelperError> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_raised() {
            return Err(HelperError::Interrupted);
        }
        let child = command.spawn().map_err(|source| match refusal::of_proc() {
            Some(refusal) => HelperError::Refused(refusal),
            None => HelperError::Start { source },
        })?;
        running.push(child.id());
        Ok(child)
    }

    /// Forgets a helper that has ended.
    pub(super) fn ended(&self, pid: u32) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|other| *other != pid);
    }
}
