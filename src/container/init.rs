//! The first process of a container: it waits for the command and for orphans, and passes signals on.
//!
//! The kernel gives the first process of a pid namespace two duties and an exception: it inherits every
//! orphan, which stays a zombie until it waits for it, and no signal ends it that it does not handle. A
//! build script in that place is not ended by its own `kill $$`, and a program that waits for its own
//! children only leaves zombies. So the command is a child of this process, which does nothing else.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::sys;

/// Blocks all signals, which are then waited for. Before the fork: none is missed.
pub(super) fn prepare() -> nix::Result<()> {
    SigSet::all().thread_set_mask()
}

/// Waits for the end of the command, and ends with its exit code; 128 and the signal's number if a
/// signal ended it. The kernel then ends all that it has left running.
pub(super) fn run(command: Pid) -> ! {
    // The command's own are its own.
    sys::close_from(3);
    loop {
        if let Some(code) = reap(command) {
            sys::exit_now(code);
        }
        match SigSet::all().wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                // A command that has ended is waited for next.
                _ = kill(command, signal);
            }
        }
    }
}

/// Waits for every process that has ended; returns the command's exit code if it is among them.
fn reap(command: Pid) -> Option<i32> {
    loop {
        let code = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(process, code)) if process == command => code,
            Ok(WaitStatus::Signaled(process, signal, _)) if process == command => {
                128 + signal as i32
            }
            Ok(WaitStatus::StillAlive) => return None,
            // Without a child there is no command any more.
            Err(Errno::ECHILD) => 255,
            Ok(_) | Err(_) => continue,
        };
        return Some(code);
    }
}
