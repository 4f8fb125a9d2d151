//! The command line of `pkgpanda`: arguments in, text and an exit code out.
//!
//! `list` and `active` are called by scripts, often: on their way nothing is opened but the folders
//! that they list.

pub mod args;
mod commands;
pub mod error;
mod help;
mod ids;
mod installer;
mod interrupt;
pub mod output;
mod password;
mod texts;

use std::sync::Arc;

use clap::Parser;
use nix::sys::stat::{Mode, umask};

use crate::base::causes::with_causes;
use crate::base::event::Observer as _;
use args::Cli;
use error::CommandError;
use output::Output;

/// Usage was wrong.
const USAGE: u8 = 2;

/// Exit code of an interrupted run: the shell's code for SIGINT.
const INTERRUPTED: u8 = 130;

/// The command line, as clap has it.
pub fn command_line() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Runs the command line; gives the process's exit code: 0 done, 1 failed, 2 usage, 130 interrupted.
pub fn run() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, everything else is a complaint; clap knows which.
            let printed = Output::usage(&error);
            return match printed {
                _ if error.use_stderr() => USAGE,
                // A reader that has gone wants no more.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    let output = Output::new(false, Arc::default());
                    output.error(&with_causes(&CommandError::Output(error)), None);
                    1
                }
                Ok(()) | Err(_) => 0,
            };
        }
    };
    // Installed files are for all users, whatever the umask of the caller.
    umask(Mode::from_bits_truncate(0o022));
    let interrupted = Arc::default();
    // A read-only command leaves no partial changes.
    let caught = if cli.command.changes() { interrupt::catch(&interrupted) } else { Ok(()) };
    let output = Output::new(cli.global.silent, interrupted);
    let done = caught.map_err(CommandError::Signals).and_then(|()| commands::run(&cli, &output));
    let done =
        done.and_then(|()| output.unwritten().map_or(Ok(()), |e| Err(CommandError::Output(e))));
    match done {
        Ok(()) => 0,
        Err(CommandError::Reported) => 1,
        Err(CommandError::Ended(code)) => code,
        Err(error) => {
            output.error(&with_causes(&error), error.hint().as_deref());
            if output.is_interrupted() { INTERRUPTED } else { 1 }
        }
    }
}
