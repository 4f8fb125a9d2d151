//! The first process of a container: it waits for the command and for orphans, and passes signals on.
//!
//! The kernel gives the first process of a pid namespace two duties and an exception: the process
//! inherits every orphan, which stays a zombie until a wait, and is not ended by unhandled signals.
//! A build script in that place would not be ended by its own `kill $$`, and a program that waits
//! only for its own children would leave zombies. So the command is a child of this process, which
//! does nothing else.

use nix::errno::Errno;
use nix::sys::signal::SigSet;
use nix::unistd::Pid;

use super::sys;

/// Blocks all signals, which are then waited for. Before the fork: none is missed.
pub(super) fn prepare() -> nix::Result<()> {
    SigSet::all().thread_set_mask()
}

/// Waits for the end of the command, and exits with the command's exit code, or 128 plus the number
/// of the signal that ended the command. The kernel then kills all remaining processes.
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

/// Waits for every ended process; returns the command's exit code if the command is among them.
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
