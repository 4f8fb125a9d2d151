//! Errors of commands.

use std::io;

use crate::base::suggestion::meant_or;
use crate::host::{
    ActivateError, ActiveError, CheckError, HostRepositoryError, PathError, RemoveError,
    ServiceConfigurationError, SetupError, UninstallError, VerifyError,
};
use crate::installer::InstallerError;
use crate::package::NameError;
use crate::store::StoreUrlError;
use crate::store::signature::SigningKeyError;

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// An argument is not an id.
    #[error(transparent)]
    Id(#[from] NameError),
    /// No package here has such a name or id.
    #[error("no package on this machine is called {text}, and no id begins so")]
    Unknown {
        /// Text.
        text: String,
        /// Name that is like it.
        near: Option<String>,
    },
    /// Several packages here have the name, or begin so.
    #[error("{text} is not one package: {}{}", candidates.join(", "), if *more == 0 { String::new() } else { format!(", and {more} more") })]
    Ambiguous {
        /// Text.
        text: String,
        /// Ids that it may mean.
        candidates: Vec<String>,
        /// Number of ids beyond these.
        more: usize,
    },
    /// What was typed as a URL is none.
    #[error(transparent)]
    Url(#[from] StoreUrlError),
    /// The required key is not valid.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// There is no current folder.
    #[error("can't tell what the current folder is")]
    Current(#[source] io::Error),
    /// A folder can't be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The active set can't be told.
    #[error(transparent)]
    Active(#[from] ActiveError),
    /// The active set can't be changed.
    #[error(transparent)]
    Activate(#[from] ActivateError),
    /// A package cannot be fetched.
    #[error(transparent)]
    Repository(Box<HostRepositoryError>),
    /// A package can't be removed.
    #[error(transparent)]
    Remove(Box<RemoveError>),
    /// The machine can't be set up.
    #[error(transparent)]
    Setup(Box<SetupError>),
    /// Not all can be removed.
    #[error(transparent)]
    Uninstall(#[from] UninstallError),
    /// The checks can't be listed.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// A package can't be verified.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The output can't be written.
    #[error("can't write the output")]
    Output(#[source] io::Error),
    /// The settings of a service can't be applied.
    #[error(transparent)]
    ServiceConfiguration(#[from] ServiceConfigurationError),
    /// Signals can't be caught.
    #[error("can't catch signals")]
    Signals(#[source] io::Error),
    /// An installer's task failed.
    #[error(transparent)]
    Installer(Box<InstallerError>),
    /// A password cannot be read.
    #[error("cannot read the password")]
    Password(#[source] io::Error),
    /// The two passwords that were typed differ.
    #[error("the two passwords differ")]
    PasswordsDiffer,
    /// A script cannot be started.
    #[error("cannot start sh")]
    Script(#[source] io::Error),
    /// A script, or a wrong usage, ended with this code, and said why.
    #[error("ended with code {0}")]
    Ended(u8),
    /// The command has reported faults already.
    #[error("not all is well")]
    Reported,
}

macro_rules! boxed {
    ($($error:ident => $variant:ident),*) => {$(
        impl From<$error> for CommandError {
            fn from(error: $error) -> Self {
                Self::$variant(Box::new(error))
            }
        }
    )*};
}

boxed!(
    HostRepositoryError => Repository, RemoveError => Remove, SetupError => Setup,
    InstallerError => Installer
);

impl CommandError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Active(error) | Self::Check(CheckError::Active(error)) => error.hint(),
            Self::Activate(error) => error.hint(),
            Self::Repository(error) => error.hint(),
            Self::Remove(error) => error.hint(),
            Self::Setup(error) => error.hint(),
            Self::Installer(error) => error.hint(),
            Self::Uninstall(error) => error.hint(),
            Self::Verify(error) => error.hint(),
            Self::Unknown { near, .. } => {
                Some(meant_or(near.as_deref(), "list what is here: pkgpanda list"))
            }
            Self::Ambiguous { .. } => Some("type one of these, or more of the id".to_owned()),
            _ => None,
        }
    }
}
