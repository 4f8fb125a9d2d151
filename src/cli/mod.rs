//! The command line: arguments, environment and configuration in, text and an exit code out. Only
//! this layer prints, reads the environment and knows exit codes.

pub mod args;
mod cache_args;
mod caches;
mod candidates;
mod clouds;
pub mod commands;
mod complaints;
pub mod config;
mod config_fault;
pub mod environment;
pub mod error;
pub mod executor;
pub mod executor_args;
pub mod executor_file;
mod format_arg;
mod given;
mod global_args;
pub mod grant;
mod help;
pub mod helper;
mod home_folder;
mod image_args;
mod inspect_args;
pub mod inspect_error;
pub mod job_args;
pub mod origins;
mod parent;
pub mod pipeline_args;
pub mod release_args;
pub mod remote;
pub mod remote_file;
pub mod schemas;
pub mod settings;
pub mod settings_error;
pub mod shell_args;
pub mod shell_error;
mod signing;
pub mod tool_args;
pub mod tool_error;
pub mod trust;
pub mod ui;
mod user_paths;
pub(crate) mod value;
mod version;

use std::io::Write as _;

use clap::Parser;
use nix::sys::stat::{Mode, umask};
use tracing_subscriber::filter::LevelFilter;

use args::{Cli, Command, ProgressArg};
use commands::Context;
use environment::Environment;
use error::CliError;
use job_args::JobCommand;
use parent::Parent;
use settings_error::SettingsError;
use ui::{Printer, Weight};

use crate::base::remedy::{LABEL, usage_text};
use crate::base::suggestion::did_you_mean;

/// Usage was wrong.
const USAGE: u8 = 2;
/// The command failed.
const FAILED: u8 = 1;

/// Runs the command line; gives the process's exit code: 0 done, 1 failed, 2 usage, 130 interrupted.
/// `pkgpanda` gives the command line of the other program, for its manual pages.
pub fn run(pkgpanda: fn() -> clap::Command) -> u8 {
    match commands::completions::answer() {
        Ok(false) => {}
        Ok(true) => return 0,
        Err(error) => {
            drop(print_usage(&error));
            return USAGE;
        }
    }
    // As early as possible: a parent that ends before goes unnoticed.
    let parent = Parent::find();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if nix::unistd::Uid::current().is_root() {
        // Root's containers have ids of their own, and must be able to read cached files; other
        // users are kept out by a folder above.
        umask(Mode::from_bits_truncate(0o022));
    }
    let environment = Environment::from_process();
    let level = match cli.global.verbose {
        0 => LevelFilter::OFF,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(ui::TraceWriter::default)
        .without_time()
        .init();
    let progress = cli.global.progress.map_or_else(
        || environment.get("MKPANDA_PROGRESS").map(str::to_ascii_lowercase),
        |progress| (progress == ProgressArg::Json).then(|| "json".to_owned()),
    );
    if progress.as_deref() == Some("json") {
        // Before the settings are computed, so that their errors are in the right format.
        ui::speak_json(cli.global.quiet);
    }
    let printer = Printer::new(cli.global.quiet, environment.get("NO_COLOR").is_some());
    if let Err(error) = check_variables(&environment, printer) {
        // A wrong variable is the machine's fault: another machine may carry the job out (exit code
        // 75).
        let is_for_job = matches!(&cli.command, Some(Command::Job(JobCommand::Run(_))));
        let error = if is_for_job { CliError::Unable(Box::new(error)) } else { error };
        error.show(printer);
        return error.exit_code();
    }
    let global = &cli.global;
    let context = Context { global, environment: &environment, printer, parent, pkgpanda };
    match run_command(&context, &cli) {
        // A command whose data was lost has failed, whatever it did: a full disk must not look like
        // success.
        Ok(code) => match ui::stdout_failure() {
            None => code,
            Some(error) => unwritten(printer, error),
        },
        Err(error) => {
            error.show(printer);
            error.exit_code()
        }
    }
}

/// Shows that data could not be written; gives the exit code.
fn unwritten(printer: Printer, error: &std::io::Error) -> u8 {
    printer.line(Weight::Error, &format!("cannot write to stdout: {error}"));
    FAILED
}

/// Remedy for a command that is not there: the name of a package, or `build`.
const BUILDS: &str =
    "mkpanda without a command builds the package of the folder, and mkpanda tree all packages";

/// Prints help or a version, which are data, or the error of a wrong call.
fn print_usage(error: &clap::Error) -> std::io::Result<()> {
    if !error.use_stderr() {
        error.print()?;
        return std::io::stdout().flush();
    }
    let mut text = usage_text(error);
    if error.kind() == clap::error::ErrorKind::InvalidSubcommand {
        // The usage of the program alone, not that of a command with commands of its own. Other tools build
        // by `build`, or by the package's name.
        let usage = "\n\nUsage: mkpanda [OPTIONS] [COMMAND]";
        text = text.replacen(usage, &format!("{LABEL}{BUILDS}{usage}"), 1);
    }
    Printer::new(false, true).usage(&text);
    Ok(())
}

/// Parses the arguments. Returns the exit code where nothing is left to do: after help, the version, or wrong usage.
fn parse() -> Result<Cli, u8> {
    match Cli::try_parse().and_then(Cli::checked) {
        Ok(mut cli) => {
            if let Some(Command::Cache(command)) = &cli.command {
                cli.global.only_cache = command.store().cloned();
            }
            if let Some(Command::Release(args)) = &cli.command {
                cli.global.signs_release = args.command.stores();
            }
            Ok(cli)
        }
        Err(error) => {
            if error.kind() == clap::error::ErrorKind::DisplayVersion
                // Clap knows only the short version, and reports it as an error.
                && version::is_long_wanted(std::env::args_os())
            {
                Printer::new(false, true).data(&version::long());
                return Err(ui::stdout_failure()
                    .map_or(0, |error| unwritten(Printer::new(false, true), error)));
            }
            // Help and version are data, everything else is a complaint; clap knows which.
            let printed = print_usage(&error);
            Err(match printed {
                _ if error.use_stderr() => USAGE,
                // A reader that has gone wants no more.
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    unwritten(Printer::new(false, true), &error)
                }
                Ok(()) | Err(_) => 0,
            })
        }
    }
}

/// Refuses variables of mkpanda that cannot be read, and warns of unknown ones.
fn check_variables(environment: &Environment, printer: Printer) -> Result<(), CliError> {
    if let Some(name) = environment.unreadable_own() {
        return Err(SettingsError::NotText(name.to_owned()).into());
    }
    for (name, like) in environment.unknown_own() {
        let message = format!("the variable {name} is not one of mkpanda's, and does nothing");
        let hint = like.map(did_you_mean);
        printer.warn(&message, hint.as_deref());
    }
    Ok(())
}

/// Runs the command; gives the exit code, which is that of another command for a shell.
fn run_command(context: &Context<'_>, cli: &Cli) -> Result<u8, CliError> {
    let done = match &cli.command {
        Some(Command::Shell(args)) => return commands::shell::run(context, args),
        None => commands::package::run(context, &cli.package),
        Some(Command::Tree(args)) => commands::tree::run(context, args),
        Some(Command::Fetch(args)) => commands::fetch::run(context, args),
        Some(Command::Lock(args)) => commands::lock::run(context, args),
        Some(Command::Mirror(command)) => commands::mirror::run(context, command),
        Some(Command::Cache(command)) => commands::cache::run(context, command),
        Some(Command::Check(args)) => commands::check::run(context, args),
        Some(Command::Clean(args)) => commands::clean::run(context, args),
        Some(Command::Completions(args)) => commands::completions::run(context, args),
        Some(Command::Config(args)) => commands::config::run(context, args),
        Some(Command::Doctor(args)) => commands::doctor::run(context, args),
        Some(Command::Explain(args)) => commands::explain::run(context, args),
        Some(Command::Gc(args)) => commands::gc::run(context, args),
        Some(Command::Graph(args)) => commands::graph::run(context, args),
        Some(Command::Job(command)) => commands::job::run(context, command),
        Some(Command::Init(args)) => commands::init::run(context, args),
        Some(Command::Key(command)) => commands::key::run(context, command),
        Some(Command::List(args)) => commands::list::run(context, args),
        Some(Command::Log(args)) => commands::log::run(context, args),
        Some(Command::Login(args)) => commands::login::login(context, args),
        Some(Command::Logout(args)) => commands::login::logout(context, args),
        Some(Command::Man(args)) => commands::man::run(context, args),
        Some(Command::Pipeline(command)) => commands::pipeline::run(context, command),
        Some(Command::Rebuild(args)) => commands::rebuild::run(context, args),
        Some(Command::Release(args)) => commands::release::run(context, args),
        Some(Command::Schema(args)) => commands::schema::run(context, args),
        Some(Command::Image(command)) => commands::image::run(context, command),
    };
    done.map(|()| 0)
}
