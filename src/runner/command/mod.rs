//! A command over layers: data first ([`ContainerCommand`]), then a root with everything mounted
//! ([`prepare()`]), then a container ([`Prepared::run`]), and its end in words. Build scripts of packages
//! and RUN instructions of Dockerfiles are commands; nothing else runs in containers.

mod files;
mod outcome;
mod prepare;
mod print;
mod root;
mod targets;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::container::namespace::Network;
use crate::image::host::HostRoot;
use crate::image::store::LayerBlob;

pub use files::{NameLookup, TextFile, names_files};
pub use prepare::{Attachments, EarlierChanges, Prepared, prepare, prepare_over};
pub use print::Described;
pub use root::{Point, make_root, no_overlay};

/// Search path of programs in an image that sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command in a container, as data. The isolation tier and the machine's conditions come with the job
/// that runs it; limits of memory and processes are set by the caller's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerCommand {
    /// Root file system.
    pub root: CommandRoot,
    /// Mounts beside the system's own, in this order.
    pub mounts: Vec<Mount>,
    /// Small files that are mounted before all other mounts.
    pub files: Vec<TextFile>,
    /// Folders that are made if missing in the root, with their modes.
    pub folders: Vec<(PathBuf, u32)>,
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Environment; of equal names the last counts. `PATH` and `HOME` have defaults.
    pub environment: Vec<(String, String)>,
    /// Absolute working directory, made if the root lacks it.
    pub working_directory: PathBuf,
    /// User as an image's configuration has it: `name`, `uid`, `name:group` or `uid:gid`; empty for root.
    pub user: String,
    /// Network.
    pub network: Network,
    /// Longest run time.
    pub time_limit: Option<Duration>,
    /// Largest log, in bytes.
    pub log_limit: u64,
    /// True if set-id bits and file capabilities have no effect.
    pub no_new_privileges: bool,
}

/// Root file system of a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandRoot {
    /// Layers, the lowest first.
    Layers(Vec<LayerBlob>),
    /// Embedded builder: the machine's own programs.
    Host(HostRoot),
}

/// A file or folder that appears in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Source.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// True if the command may write to it.
    pub writable: bool,
    /// True if commands of other builds may write to it at the same time: nothing is mounted below it.
    pub is_shared: bool,
}

/// Source of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// Path of the caller.
    Caller(PathBuf),
    /// Entry of the job's scratch folder.
    Scratch(String),
    /// Entry of the copy of a package's folder, whose path the maker of the copy sets.
    Package(String),
    /// Path below the job's private view, which is in memory.
    View(PathBuf),
}

impl Mount {
    /// Read-only mount.
    pub fn read_only(source: MountSource, target: impl Into<PathBuf>) -> Self {
        Self { source, target: target.into(), writable: false, is_shared: false }
    }

    /// Writable mount.
    pub fn writable(source: MountSource, target: impl Into<PathBuf>) -> Self {
        Self { source, target: target.into(), writable: true, is_shared: false }
    }
}
