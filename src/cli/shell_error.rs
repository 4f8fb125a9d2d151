//! Errors of the shell that come from how it was called.

use crate::build::shell::ShellError;

/// A shell could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ShellCommandError {
    /// There is no terminal for a shell.
    #[error("a shell needs a terminal: stdin, stdout and stderr have to be one")]
    NoTerminal(String),
    /// No failed build of a package was kept.
    #[error("nothing is kept of a failed build of {0}")]
    NothingKept(String),
    /// The shell itself failed.
    #[error(transparent)]
    Shell(Box<ShellError>),
}

impl ShellCommandError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTerminal(package) => {
                Some(format!("run a command: mkpanda shell {package} -- CMD"))
            }
            Self::NothingKept(_) => {
                Some("build it again, and keep what its script leaves: mkpanda --keep-failed, in the folder of the package".to_owned())
            }
            Self::Shell(error) => error.hint(),
        }
    }
}
