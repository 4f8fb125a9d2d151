//! The command line: what was typed, the environment and the configuration in, text and an exit
//! code out. Only this layer prints, reads the environment and knows exit codes.

pub mod args;
mod cache_args;
mod caches;
mod clouds;
pub mod commands;
pub mod config;
pub mod environment;
pub mod error;
mod format_arg;
mod given;
pub mod grant;
pub mod helper;
mod inspect_args;
pub mod inspect_error;
mod parent;
mod places;
pub mod release_args;
pub mod settings;
mod signing;
pub mod trust;
pub mod ui;
pub(crate) mod value;

use std::io::Write as _;

use clap::Parser;
use nix::sys::stat::{Mode, umask};
use tracing_subscriber::filter::LevelFilter;

use args::{Cli, Command, ProgressArg};
use commands::Context;
use environment::Environment;
use parent::Parent;
use ui::{Printer, Weight};

/// Usage was wrong.
const USAGE: u8 = 2;
/// The command failed.
const FAILED: u8 = 1;

/// Runs the command line; gives the process's exit code: 0 done, 1 failed, 2 usage, 130 interrupted.
pub fn run() -> u8 {
    let parent = Parent::find();
    let cli = match Cli::try_parse().and_then(Cli::checked) {
        Ok(mut cli) => {
            if let Some(Command::Cache(command)) = &cli.command {
                cli.global.only_cache = command.store().cloned();
            }
            cli
        }
        Err(error) => {
            // Help and version are data, everything else is a complaint; clap knows which.
            drop(error.print().and_then(|()| std::io::stdout().flush()));
            return if error.use_stderr() { USAGE } else { 0 };
        }
    };
    if nix::unistd::Uid::current().is_root() {
        // Root's containers have ids of their own, which have to read what is cached; who is to be
        // kept out of that is kept out by a folder above it.
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
        // Before the settings are worked out, so that what is wrong with them is said so, too.
        ui::speak_json(cli.global.quiet);
    }
    let printer = Printer::new(cli.global.quiet, environment.get("NO_COLOR").is_some());
    let context = Context { global: &cli.global, environment: &environment, printer, parent };
    let result = match &cli.command {
        None => commands::package::run(&context, &cli.package),
        Some(Command::Tree(args)) => commands::tree::run(&context, args),
        Some(Command::Fetch(args)) => commands::fetch::run(&context, args),
        Some(Command::Lock(args)) => commands::lock::run(&context, args),
        Some(Command::Mirror(command)) => commands::mirror::run(&context, command),
        Some(Command::Cache(command)) => commands::cache::run(&context, command),
        Some(Command::Check(args)) => commands::check::run(&context, args),
        Some(Command::Clean(args)) => commands::clean::run(&context, args),
        Some(Command::Explain(args)) => commands::explain::run(&context, args),
        Some(Command::Gc(args)) => commands::gc::run(&context, args),
        Some(Command::Graph(args)) => commands::graph::run(&context, args),
        Some(Command::Init(args)) => commands::init::run(&context, args),
        Some(Command::Key(command)) => commands::key::run(&context, command),
        Some(Command::List(args)) => commands::list::run(&context, args),
        Some(Command::Release(args)) => commands::release::run(&context, args),
        Some(Command::Image(command)) => commands::image::run(&context, command),
    };
    match result {
        Ok(()) => match ui::stdout_failure() {
            None => 0,
            Some(error) => {
                printer.line(Weight::Error, &format!("cannot write to stdout: {error}"));
                FAILED
            }
        },
        Err(error) => {
            error.show(printer);
            error.exit_code()
        }
    }
}
