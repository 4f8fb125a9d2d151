//! The first process of a container: it waits for the command and for orphans, and passes signals on.
//!
//! The kernel gives the first process of a pid namespace two duties and an exception: it inherits every
//! orphan, which stays a zombie until it waits for it, and no signal ends it that it does not handle. A
//! build script in that place is not ended by its own `kill $$`, and a program that waits for its own
//! children only leaves zombies. So the command is a child of this process, which does nothing else.

use nix::errno::Errno;
use nix::sys::signal::SigSet;
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
        match sys::wait_for_signal() {
            Ok(libc::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                // A command that has ended is waited for next.
                _ = sys::send_signal(command, signal);
            }
        }
    }
}

/// Waits for every process that has ended; returns the command's exit code if it is among them.
fn reap(command: Pid) -> Option<i32> {
    loop {
        match sys::reap(None) {
            Ok(None) => return None,
            Ok(Some((process, code))) if process == command => return Some(code),
            // Without a child there is no command any more.
            Err(Errno::ECHILD) => return Some(255),
            Ok(Some(_)) | Err(_) => {}
        }
    }
}
