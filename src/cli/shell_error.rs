//! Errors of the shell that come from how it was called.

use crate::base::escape::shell_argument;
use crate::build::place::BuildPlace;
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
    /// The last build of a package failed on another machine.
    #[error("the last build of {package} failed on {place}, and what its script left is not here")]
    RanElsewhere {
        /// Package, as it was typed.
        package: String,
        /// Place of the build.
        place: BuildPlace,
    },
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
            Self::RanElsewhere { package, .. } => Some(format!(
                "build it here: mkpanda --executor local --keep-failed, in the folder of the package; or take its job to a machine like that one: mkpanda job export --failed {} DIR",
                shell_argument(package)
            )),
            Self::Shell(error) => error.hint(),
        }
    }
}
