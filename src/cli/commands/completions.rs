//! `mkpanda completions`: scripts by which shells complete the command line.

use clap_complete::env::Shells;

use super::super::args::Cli;
use super::super::error::CliError;
use super::super::tool_args::{CompletionsArgs, ShellArg};
use super::super::tool_error::ToolError;
use super::Context;

/// Variable in which a shell's script asks for completions.
const VARIABLE: &str = "_MKPANDA_COMPLETE";

/// Answers a shell's script, if one asks; true if so.
pub fn answer() -> Result<bool, clap::Error> {
    let completer =
        clap_complete::CompleteEnv::with_factory(<Cli as clap::CommandFactory>::command);
    let folder = std::env::current_dir().ok();
    completer.var(VARIABLE).try_complete(std::env::args_os(), folder.as_deref())
}

/// Prints the script of a shell, which asks this executable for words.
pub fn run(context: &Context<'_>, args: &CompletionsArgs) -> Result<(), CliError> {
    let shell = match args.shell {
        ShellArg::Bash => "bash",
        ShellArg::Fish => "fish",
        ShellArg::Zsh => "zsh",
    };
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer = shells.completer(shell).ok_or(ToolError::Completions(None))?;
    completer
        .write_registration(VARIABLE, "mkpanda", "mkpanda", "mkpanda", &mut script)
        .map_err(|error| ToolError::Completions(Some(error)))?;
    context.printer.data(&String::from_utf8_lossy(&script));
    Ok(())
}
