//! The command line of an installer: `pkgpanda installer`, started by the script at the installer's
//! beginning.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::{ArgGroup, Parser, Subcommand};
use serde_json::json;

use super::error::CommandError;
use super::output::Output;
use super::password;
use crate::installer::{Genconf, INSTALL_SCRIPT, InstallerError, InstallerFile, hash_password};

/// Makes the files that hosts install from, and installs.
#[derive(Debug, Parser)]
#[command(
    name = "dcos_generate_config.sh",
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
#[command(group = ArgGroup::new("task"))]
#[expect(clippy::struct_excessive_bools, reason = "each is an option")]
struct InstallerCli {
    /// Read genconf/config.yaml, check it, and write genconf/serve; the same as no argument.
    #[arg(long, group = "task")]
    genconf: bool,
    /// Show variant and version as JSON.
    #[arg(long, group = "task")]
    version: bool,
    /// List the contents of this installer, and the values that config.yaml can set.
    #[arg(long, group = "task")]
    list: bool,
    /// Do the same as --genconf, and make a script that upgrades hosts from VERSION; its URL is
    /// printed.
    #[arg(long, group = "task", value_name = "VERSION")]
    generate_node_upgrade_script: Option<String>,
    /// Show the hash of a password for config.yaml, in the form of crypt(3); without PASSWORD it is typed, or
    /// comes from stdin.
    #[arg(long, group = "task", value_name = "PASSWORD")]
    #[expect(clippy::option_option, reason = "an option with an optional value")]
    hash_password: Option<Option<String>>,
    /// Check whether this machine can be installed on.
    #[arg(long, group = "task")]
    preflight: bool,
    /// Task on this machine.
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Install the output of --genconf on this machine; `install --help` lists roles and options.
    #[command(disable_help_flag = true)]
    Install {
        /// Roles and options: --root DIR, --disable-preflight, --preflight-only.
        #[arg(value_name = "ROLE", trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Carries out the task that the arguments name. Returns the exit code: a script or clap may have failed, and
/// reported why.
pub(super) fn run(
    file: &Path,
    offset: u64,
    arguments: &[OsString],
    output: &Output,
) -> Result<u8, CommandError> {
    let name = file.file_name().unwrap_or_default().to_os_string();
    let cli = match InstallerCli::try_parse_from(
        // The first argument is the program's name, as clap shows it in its usage: here that of the
        // installer's file.
        std::iter::once(name).chain(arguments.iter().cloned()),
    ) {
        Ok(cli) => cli,
        Err(error) => {
            drop(Output::usage(&error));
            // Help is an "error" of clap's that goes to stdout.
            return Ok(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if let Some(given) = cli.hash_password {
        let password = given.map_or_else(password::asked, Ok)?;
        output.data(&format!("{}\n", hash_password(&password)?));
        return Ok(0);
    }
    let installer = InstallerFile::open(file, offset)?;
    let folder = PathBuf::from("genconf");
    if cli.version {
        let manifest = installer.manifest();
        output.json(&json!({ "variant": manifest.variant, "version": manifest.version }));
    } else if cli.list {
        output.data(&listing(&installer)?);
    } else if cli.preflight {
        return script(&[OsString::from("--preflight-only")]);
    } else if let Some(Task::Install { arguments }) = cli.task {
        return script(&arguments);
    } else {
        let installed = cli.generate_node_upgrade_script;
        let served = Genconf::new(&installer, &folder, output).run(installed.as_deref())?;
        output.note(&format!("{} is complete", served.folder.display()));
        if let Some(path) = served.upgrade {
            let url = served.url.unwrap_or_else(|| served.folder.display().to_string());
            output.data(&format!("{}/{path}\n", url.trim_end_matches('/')));
        }
    }
    Ok(0)
}

/// Members with their sizes, and arguments.
fn listing(installer: &InstallerFile) -> Result<String, CommandError> {
    let mut text = String::new();
    for (name, size) in installer.list() {
        _ = writeln!(text, "{size:>12} {name}");
    }
    text.push_str("\nValues of genconf/config.yaml:\n");
    for argument in installer.provider()?.asked() {
        let default = match &argument.default {
            None => "must be set".to_owned(),
            Some(value) => format!("default {value}"),
        };
        let kind = argument.kind.as_str();
        _ = write!(text, "  {} ({kind}, {default})", argument.name);
        if !argument.description.is_empty() {
            _ = write!(text, ": {}", argument.description);
        }
        text.push('\n');
    }
    Ok(text)
}

/// Runs the hosts' install script on this machine, from the served folder.
fn script(arguments: &[OsString]) -> Result<u8, CommandError> {
    let serve = std::env::current_dir().map_err(CommandError::Current)?.join("genconf/serve");
    let script = serve.join(INSTALL_SCRIPT);
    if !script.is_file() {
        return Err(InstallerError::NotServed(script).into());
    }
    let from = format!("file://{}", serve.display());
    // By `sh`: the file is served to hosts, and need not be executable here.
    let status = Command::new("sh").arg(&script).args(["--from", &from]).args(arguments).status();
    let status = status.map_err(CommandError::Script)?;
    // No code if a signal ended the script.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
