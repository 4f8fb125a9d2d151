//! `mkpanda completions`: scripts by which shells complete the command line.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use clap_complete::env::{Bash, EnvCompleter, Fish, Shells, Zsh};

use super::super::args::Cli;
use super::super::environment::Environment;
use super::super::error::CliError;
use super::super::tool_args::{CompletionsArgs, ShellArg};
use super::super::tool_error::ToolError;
use super::Context;

/// Variable in which a shell's script asks for completions.
const VARIABLE: &str = "_MKPANDA_COMPLETE";
/// Variable of the script of bash with what stands between words.
const SEPARATOR: &str = "_CLAP_IFS";

/// Answers a shell's script, if one asks; true if so.
pub fn answer() -> Result<bool, clap::Error> {
    let completer =
        clap_complete::CompleteEnv::with_factory(<Cli as clap::CommandFactory>::command);
    let folder = std::env::current_dir().ok();
    completer
        .var(VARIABLE)
        .shells(Shells(&[&PlainBash, &Fish, &Zsh]))
        .try_complete(std::env::args_os(), folder.as_deref())
}

/// Completion by bash, which puts words on the command line as they are: a file or a variant of a tree with the name
/// `$(command)` would be run there. zsh and fish quote what they insert.
struct PlainBash;

impl EnvCompleter for PlainBash {
    fn name(&self) -> &'static str {
        Bash.name()
    }

    fn is(&self, name: &str) -> bool {
        Bash.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        program: &str,
        completer: &str,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        Bash.write_registration(variable, name, program, completer, to)
    }

    /// Writes the words without those that a shell takes for more than a word. If none is left, bash completes names
    /// of files by itself, and quotes them.
    fn write_complete(
        &self,
        command: &mut clap::Command,
        arguments: Vec<OsString>,
        folder: Option<&Path>,
        to: &mut dyn Write,
    ) -> io::Result<()> {
        let mut words = Vec::new();
        Bash.write_complete(command, arguments, folder, &mut words)?;
        let words = String::from_utf8_lossy(&words);
        let environment = Environment::from_process();
        let separator = environment.get(SEPARATOR).unwrap_or("\n");
        // Names of variants and packages come from a tree, which may be hostile.
        let words: Vec<&str> = words.split(separator).filter(|it| is_plain(it)).collect();
        to.write_all(words.join(separator).as_bytes())
    }
}

/// True if a shell takes a word as it is.
fn is_plain(word: &str) -> bool {
    word.chars().all(|letter| letter.is_alphanumeric() || "_-./=:@%+,~".contains(letter))
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
