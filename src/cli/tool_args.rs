//! Arguments of the commands that look at the machine, the settings and past builds.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::candidates;
use super::format_arg::FormatArg;
use crate::runner::trial::Feature;

/// Options of looking at the machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda doctor
  mkpanda doctor --require ranges,overlay,git && mkpanda tree
  mkpanda doctor --format json | jq -r '.features[] | select(.state != \"works\") | .remedies[]'

Exit codes: 0 builds can be run, and all that is required works; 1 not; 2 usage.")]
pub struct DoctorArgs {
    /// Fail unless these work; features that builds replace by something else count as missing.
    #[arg(long, value_name = "FEATURE,...", value_delimiter = ',', value_parser = feature())]
    pub require: Vec<Feature>,
    /// Form of the findings.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
    /// Short for --format json.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// Parser of features, which suggests the nearest one and completes them.
fn feature() -> impl TypedValueParser<Value = Feature> {
    let names = Feature::ALL.map(Feature::as_str);
    // By the possible values, and not by `FromStr` alone: clap suggests and completes only the
    // former.
    PossibleValuesParser::new(names).try_map(|name: String| name.parse::<Feature>())
}

/// Options of showing logs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda log                       in a package's folder: the log of its last build
  mkpanda log openssl               the log of a package's last build, failed or not
  mkpanda log openssl 4f2a          of the id that begins with 4f2a
  mkpanda log --follow openssl      goes on until the build that runs has ended
  mkpanda log --list --format json | jq -r '.builds[] | select(.outcome == \"failed\") | .log'

Exit codes: 0 shown, 1 no such build, 2 usage.")]
pub struct LogArgs {
    /// The package: its name, its id or the beginning of its id; by default that whose folder this is.
    #[arg(value_name = "PACKAGE", add = candidates::packages())]
    pub package: Option<String>,
    /// The id or the version of the build, or the beginning of one; the last build by default.
    #[arg(value_name = "ID")]
    pub id: Option<String>,
    /// Go on with what a build that runs writes, until it has ended.
    #[arg(short, long)]
    pub follow: bool,
    /// List past builds instead: the last one of each id, with its beginning, outcome, duration and log.
    #[arg(long, conflicts_with_all = ["follow", "id"])]
    pub list: bool,
    /// Form of the list.
    #[arg(long, value_name = "HOW", default_value = "text", requires = "list")]
    pub format: FormatArg,
}

/// Options of showing settings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda config                    all settings, each with its origin
  mkpanda config jobs limits        one, and all of a table
  mkpanda --offline config offline  as they are with an option
  mkpanda config --format json

Options stand over MKPANDA_* variables, those over the tree's mkpanda.toml as far as a tree may set the key, that over
your own config.toml. Passwords are not shown. Exit codes: 0 shown, 1 no such key or a fault in a file, 2 usage.")]
pub struct ConfigArgs {
    /// Keys or tables; all by default.
    #[arg(value_name = "KEY")]
    pub keys: Vec<String>,
    /// Form of the settings.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}

/// Options of signing in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda login registry.example.org
  printf %s \"$TOKEN\" | mkpanda login --username ci --password-stdin registry.example.org

The registry is asked first. The credentials go, with the mode 0600, to the file in which docker and podman keep theirs
and mkpanda finds them: REGISTRY_AUTH_FILE; else the first that is there of $XDG_RUNTIME_DIR/containers/auth.json,
~/.config/containers/auth.json and ~/.docker/config.json. Exit codes: 0 kept, 1 refused, 2 usage.")]
pub struct LoginArgs {
    /// The registry, `host[:port]`; docker.io by default.
    #[arg(value_name = "REGISTRY")]
    pub registry: Option<String>,
    /// Name of the user.
    #[arg(short, long, value_name = "NAME")]
    pub username: Option<String>,
    /// Take the password or token from stdin instead of the terminal.
    #[arg(long)]
    pub password_stdin: bool,
}

/// Options of signing out.
#[derive(Debug, Args)]
pub struct LogoutArgs {
    /// The registry, `host[:port]`; docker.io by default.
    #[arg(value_name = "REGISTRY")]
    pub registry: Option<String>,
}

/// Shells whose command lines can be completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShellArg {
    /// Bash.
    Bash,
    /// Fish.
    Fish,
    /// Zsh.
    Zsh,
}

/// Options of completion scripts.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda completions bash > ~/.local/share/bash-completion/completions/mkpanda
  mkpanda completions zsh > ~/.zfunc/_mkpanda          where fpath has ~/.zfunc
  mkpanda completions fish > ~/.config/fish/completions/mkpanda.fish

The scripts ask mkpanda, so names of packages, variants and images are those that are there.")]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: ShellArg,
}

/// Options of manual pages.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda man | man -l -
  mkpanda man ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Write the pages of mkpanda, pkgpanda and all of their commands to this folder; by default, mkpanda's own page
    /// goes to stdout.
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
}

/// Options of schemas.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mkpanda schema                            lists all
  mkpanda schema buildinfo.json > buildinfo.schema.json
  mkpanda schema doctor

docs/schemas.md says how editors use them. Exit codes: 0 printed, 1 no such schema, 2 usage.")]
pub struct SchemaArgs {
    /// The file or output that it is for: `buildinfo.json`, `mkpanda.toml`, `doctor`; all are listed by default.
    #[arg(value_name = "NAME", add = candidates::schemas())]
    pub name: Option<String>,
}
