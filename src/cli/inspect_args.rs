//! Arguments of the commands that look at a tree without building, and of the one that makes a new one.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::candidates;
use super::format_arg::FormatArg;

/// Options of checking.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mkpanda check                     # the tree in this folder
  mkpanda check --strict packages   # warnings fail, too: for CI
  mkpanda check app                 # one package, and all that it requires

Exit codes: 0 no errors, 1 errors (with --strict also warnings), 2 usage.
docs/inspecting.md has all rules.")]
pub struct CheckArgs {
    /// The packages folder, this one by default; or packages of the tree in this folder.
    #[arg(value_name = "TREE|PKG", add = candidates::packages())]
    pub items: Vec<String>,
    /// Fail at warnings, too.
    #[arg(long)]
    pub strict: bool,
    /// Form of the result: `json` writes all findings to stdout, as one document.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}

/// Options of explaining an id.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mkpanda explain app                        # inputs, and what changed since the last build
  mkpanda explain app --against app--1f0c    # another build, by its id
  mkpanda explain app --against /srv/cache   # the newest build in a cache

What is known of other builds: records in $MKPANDA_HOME/builds and in caches in folders, and archives in the tree's
cache. docs/inspecting.md shows a whole session.")]
pub struct ExplainArgs {
    /// The package, in a package's folder that one by default; `NAME:VARIANT` for one of its variants.
    #[arg(value_name = "PKG", add = candidates::packages())]
    pub package: Option<String>,
    /// The build to compare with, the last one by default: an id or its beginning, the path of a record, or a folder
    /// with records, such as a cache.
    #[arg(long, value_name = "ID|RECORD|STORE")]
    pub against: Option<String>,
    /// Form of the result.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}

/// Form of a graph on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum GraphFormat {
    /// A tree of lines for people.
    #[default]
    Text,
    /// The language of Graphviz.
    Dot,
    /// JSON for programs.
    Json,
}

/// Options of showing requirements.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mkpanda graph                      # all packages, from those that nothing requires
  mkpanda graph --reverse openssl    # everything that needs openssl
  mkpanda graph --why app zlib       # chains by which app needs zlib
  mkpanda graph --format dot | dot -Tsvg > tree.svg")]
pub struct GraphArgs {
    /// Packages to begin with, all of the tree by default; `NAME:VARIANT` for one variant.
    #[arg(value_name = "PKG", add = candidates::packages())]
    pub packages: Vec<String>,
    /// Only packages of this tree variant.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Option<String>,
    /// Show what needs the packages, not what they need.
    #[arg(long)]
    pub reverse: bool,
    /// Show the chains by which package A needs package B, the shortest first.
    #[arg(long, num_args = 2, value_names = ["A", "B"], add = candidates::packages(), conflicts_with_all = ["packages", "reverse"])]
    pub why: Vec<String>,
    /// Form of the result.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: GraphFormat,
}

/// Options of making something new.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mkpanda init demo                  # a new tree in the folder demo, with a package
  mkpanda -C demo init zlib --from https://example.org/zlib-1.3.tar.gz
  mkpanda -C demo tree               # builds both

Files that are there stay as they are: then nothing is written at all.")]
pub struct InitArgs {
    /// The folder of a new tree, this one by default; in a tree, the name of a new package.
    #[arg(value_name = "DIR|PKG")]
    pub target: Option<PathBuf>,
    /// Declare this file or archive as the new package's source, and fetch it for its sums.
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// SHA-1 of the source, with which nothing is fetched.
    #[arg(long, value_name = "SUM", requires = "from")]
    pub sha1: Option<String>,
    /// Form of the result.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}

/// Options of listing packages.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  mkpanda list
  mkpanda list --variant installer packages
  mkpanda list --format json | jq -r '.packages[] | select(.built == false) | .id'")]
pub struct ListArgs {
    /// The packages folder; this one by default.
    #[arg(value_name = "TREE")]
    pub tree: Option<PathBuf>,
    /// Only packages of this tree variant.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Option<String>,
    /// Form of the result.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}
