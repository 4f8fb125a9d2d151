//! Description of a shell as data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::build::job::BuildJob;
use crate::container::console::TerminalSize;

/// Job that writes the container of a build as an OCI bundle; its answer is the text of `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BundleJob {
    /// Build whose container it is. No archive is made.
    pub build: BuildJob,
    /// Program and arguments in place of the build script.
    pub arguments: Vec<String>,
    /// True if they get a terminal.
    pub terminal: bool,
    /// State of a failed build to start over.
    pub kept: Option<PathBuf>,
    /// Empty folder for the root.
    pub root: PathBuf,
    /// Empty folder for what is mounted.
    pub mounts: PathBuf,
}

/// Job that runs another command in the container of a build.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShellJob {
    /// Build whose container it is. No archive is made.
    pub build: BuildJob,
    /// Program and arguments in place of the build script.
    pub arguments: Vec<String>,
    /// Variables beside those of the build.
    pub environment: Vec<(String, String)>,
    /// Socket of the parent ([`crate::container::console`]).
    pub console: PathBuf,
    /// Size of the command's terminal; pipes without one.
    pub terminal: Option<TerminalSize>,
    /// State of a failed build to start over.
    pub kept: Option<PathBuf>,
}
