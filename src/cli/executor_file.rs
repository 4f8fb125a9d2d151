//! `[executor]` of the user's configuration.

use std::path::PathBuf;

use serde::Deserialize;

use super::executor_args::ExecutorArg;

/// `[executor]` of a configuration file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutorFile {
    /// Machines that build packages.
    pub kind: Option<ExecutorArg>,
    /// Folder that all machines see.
    pub folder: Option<PathBuf>,
    /// Program that carries jobs out.
    pub program: Option<PathBuf>,
    /// The builder's own folder on the other machines.
    pub home: Option<PathBuf>,
    /// Options for `sbatch`.
    #[serde(default)]
    pub options: Vec<String>,
    /// Time limit of a job: `90m`, `6h`.
    pub time: Option<String>,
    /// Longest interval between two looks at a job: `5s`.
    pub poll: Option<String>,
    /// True to build here what the other machines cannot.
    pub fallback: Option<bool>,
}

impl ExecutorFile {
    /// True if the file says nothing of it.
    pub(super) fn is_empty(&self) -> bool {
        let Self { kind, folder, program, home, options, time, poll, fallback } = self;
        let paths = [folder, program, home];
        kind.is_none()
            && paths.into_iter().all(Option::is_none)
            && options.is_empty()
            && time.is_none()
            && poll.is_none()
            && fallback.is_none()
    }
}
