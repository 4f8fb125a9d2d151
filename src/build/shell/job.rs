//! Description of a shell as data.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::build::job::BuildJob;
use crate::container::console::TerminalSize;

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
