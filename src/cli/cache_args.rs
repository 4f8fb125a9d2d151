//! Arguments of the commands for caches.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::candidates;
use super::format_arg::FormatArg;

/// Options of cleaning a tree's cache.
#[derive(Debug, Args)]
pub struct CleanArgs {
    /// The packages folder; the current folder by default.
    #[arg(value_name = "TREE")]
    pub tree: Option<PathBuf>,
    /// Show the files to be removed, and remove nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Form of the result.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}

/// The commands for shared caches.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Put built packages, bootstraps and fetched sources of a tree's cache into caches that are written to.
    Push(ExchangeArgs),
    /// Fetch artifacts of the tree's current ids from caches into the tree's cache; nothing is
    /// built.
    Pull(ExchangeArgs),
    /// Show how much caches hold.
    Stat(StoreArgs),
    /// Check each artifact of caches against its sum, record and signature; nothing is changed.
    Verify(StoreArgs),
    /// Write an index of a cache: index.json for programs, index.html for people.
    Index {
        /// The cache and the way of reading it.
        #[command(flatten)]
        store: StoreArgs,
        /// Write the files into this folder instead of the cache.
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// Options of commands that read a cache.
#[derive(Debug, Args)]
pub struct StoreArgs {
    /// The cache: a folder or a URL; those of --cache and of your configuration by default.
    #[arg(value_name = "STORE")]
    pub store: Option<String>,
    /// Number of objects that are read at once; 8 or more by default.
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Form of the result.
    #[arg(long, value_name = "HOW", default_value = "text")]
    pub format: FormatArg,
}

/// Options of exchanging artifacts with caches.
#[derive(Debug, Args)]
pub struct ExchangeArgs {
    /// The cache and the way of using it.
    #[command(flatten)]
    pub store: StoreArgs,
    /// A package, by its name or its folder, with all its requirements; may be given several times; by default
    /// the packages of the tree.
    #[arg(short, long, value_name = "PACKAGE", add = candidates::packages())]
    pub package: Vec<String>,
    /// The variant of the tree, or of the packages; all of them by default.
    #[arg(long, value_name = "VARIANT", add = candidates::variants())]
    pub variant: Option<String>,
}

impl CacheCommand {
    /// Store given as an argument.
    pub fn store(&self) -> Option<&String> {
        match self {
            Self::Push(args) | Self::Pull(args) => args.store.store.as_ref(),
            Self::Stat(store) | Self::Verify(store) | Self::Index { store, .. } => {
                store.store.as_ref()
            }
        }
    }
}
