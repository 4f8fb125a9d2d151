//! `mkpanda man`: manual pages, generated from the command line.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::super::args::Cli;
use super::super::error::CliError;
use super::super::tool_args::ManArgs;
use super::super::tool_error::ToolError;
use super::Context;

/// Prints the page of mkpanda, or writes the pages of both programs and all of their commands to a folder.
pub fn run(context: &Context<'_>, args: &ManArgs) -> Result<(), CliError> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        Man::new(built(Cli::command())).render(&mut page).map_err(ToolError::Man)?;
        context.printer.data(&String::from_utf8_lossy(&page));
        return Ok(());
    };
    let folder = context.folder()?.join(folder);
    fs_err::create_dir_all(&folder).map_err(ToolError::Man)?;
    for command in [Cli::command(), (context.pkgpanda)()] {
        write(&folder, &built(command)).map_err(ToolError::Man)?;
    }
    context.print_path(&folder);
    Ok(())
}

/// The command with the names of its subcommands worked out, and without `help`.
fn built(command: clap::Command) -> clap::Command {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command
}

/// Writes the page of a command, and those of its subcommands.
fn write(folder: &Path, command: &clap::Command) -> std::io::Result<()> {
    let man = Man::new(command.clone()).manual("mkpanda");
    let mut page = Vec::new();
    man.render(&mut page)?;
    fs_err::write(folder.join(man.get_filename()), page)?;
    // Hidden commands are for programs.
    let mut shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.try_for_each(|command| write(folder, command))
}
