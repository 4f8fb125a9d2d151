//! System programs that end with this process, together with all their descendants.
//!
//! The kernel can kill a child whose parent dies, but not the child's descendants: a killed `git
//! clone` leaves its transfer behind. So the program is started by this executable, executed once
//! more as a supervisor, in a process group of their own. The supervisor's stdin is a pipe that the
//! caller keeps open: at the end of the pipe, the supervisor kills the group. If the supervisor
//! itself is killed, the caller kills the group.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp};

/// Argument that makes the executable run as a supervisor; the program follows.
pub const SUPERVISOR_ARGUMENT: &str = "internal-supervisor";

/// Exit code of a supervisor that cannot start its program.
pub const NOT_STARTED: i32 = 127;

/// Makes a command that runs a program under a supervisor, an `executable` of this crate. Its stdin
/// must be kept open: closing the pipe ends the program.
pub fn command(executable: &Path, program: &Path) -> Command {
    let mut command = Command::new(executable);
    // A terminal's Ctrl-C reaches the caller alone, which then decides.
    command.arg(SUPERVISOR_ARGUMENT).arg(program).stdin(Stdio::piped()).process_group(0);
    command
}

/// Number of polls while waiting for a killed process group to disappear.
const LOOKS: u32 = 200;
const APART: Duration = Duration::from_millis(5);

/// Ends a running supervisor, and all its descendants.
pub fn end(supervisor: &mut Child) {
    let group = i32::try_from(supervisor.id()).map(Pid::from_raw);
    if let Ok(group) = group {
        _ = killpg(group, Signal::SIGKILL);
    }
    drop(supervisor.wait());
    for _look in 0..LOOKS {
        // ESRCH: nobody of the group is left. The caller removes files next that they could still
        // write.
        if group.is_ok_and(|group| killpg(group, None).is_err()) {
            return;
        }
        std::thread::sleep(APART);
    }
}

/// Runs a supervisor; returns the exit code.
pub fn run() -> u8 {
    let mut arguments = std::env::args_os().skip(2);
    let Some(program) = arguments.next() else { return 2 };
    let mut command = Command::new(&program);
    // Its own stdin is the pipe to the caller: a program that read from it would see its end.
    command.args(arguments).stdin(Stdio::null());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            // stderr is what the caller hears of it.
            drop(std::io::Write::write_all(&mut std::io::stderr(), error.to_string().as_bytes()));
            return u8::try_from(NOT_STARTED).unwrap_or(u8::MAX);
        }
    };
    std::thread::spawn(|| {
        // Nothing is ever said there: it ends when the caller does, or wants it to.
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        // Processes with a group of their own, such as an ssh with a persistent connection, stay.
        // This process is part of the group.
        _ = killpg(getpgrp(), Signal::SIGKILL);
    });
    let Ok(status) = child.wait() else { return u8::MAX };
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
