//! The `mkpanda` executable: a helper's work if it was started as one, else the command line.

use std::process::ExitCode;

use mkpanda::container::helper::HELPER_ARGUMENT;

fn main() -> ExitCode {
    // First of all: a helper enters namespaces, which a process with threads can't.
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == HELPER_ARGUMENT) {
        return ExitCode::from(mkpanda::build::worker::run());
    }
    ExitCode::from(mkpanda::cli::run())
}
