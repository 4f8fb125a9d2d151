//! Faults of the configuration.

use std::path::PathBuf;

/// The configuration of releases is not valid. The message has no value of the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {message}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ReleaseConfigError {
    /// The file.
    pub path: PathBuf,
    /// Line of the fault, from 1.
    pub line: Option<usize>,
    /// Fault.
    pub message: String,
    /// Remedy, if one is known.
    pub hint: Option<String>,
}
