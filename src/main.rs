//! The `mkpanda` executable: the work of a helper, supervisor or cleaner if it was started as one, else the command line.

use std::process::ExitCode;

use mkpanda::base::supervisor::SUPERVISOR_ARGUMENT;
use mkpanda::container::cleaner::{self, CLEANER_ARGUMENT};
use mkpanda::container::helper::HELPER_ARGUMENT;

fn main() -> ExitCode {
    // First of all: a helper enters namespaces, which a process with threads can't.
    let first = std::env::args_os().nth(1);
    if first.as_deref().is_some_and(|first| first == HELPER_ARGUMENT) {
        return ExitCode::from(mkpanda::cli::helper::run());
    }
    if first.as_deref().is_some_and(|first| first == SUPERVISOR_ARGUMENT) {
        return ExitCode::from(mkpanda::base::supervisor::run());
    }
    if first.as_deref().is_some_and(|first| first == CLEANER_ARGUMENT) {
        return ExitCode::from(cleaner::run());
    }
    let code = mkpanda::cli::run(mkpanda::host_cli::command_line);
    cleaner::wait_for_all();
    ExitCode::from(code)
}
