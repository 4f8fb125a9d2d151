//! Errors of shells.

use std::io;
use std::path::PathBuf;

use crate::build::failed::BuildError;
use crate::container::idmap::Tier;
use crate::package::PackageId;
use crate::runner::session::SessionError;

/// A shell could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// No containers can be run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The builder's own folder cannot be used.
    #[error("mkpanda's home, $MKPANDA_HOME, cannot be used")]
    Home(#[source] io::Error),
    /// The container of the build cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// Files of the kept state belong to other ids.
    #[error("what {id} left belongs to the user ids of another isolation tier, {tier}")]
    OtherIds {
        /// Package.
        id: PackageId,
        /// Tier of the build.
        tier: Tier,
    },
    /// The bundle cannot be written.
    #[error("the bundle {} cannot be written", path.display())]
    Bundle {
        /// Its folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Input and output of the command cannot be passed on.
    #[error("input and output of the command cannot be passed on")]
    Console(#[source] io::Error),
}

impl ShellError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Session(error) => error.hint(),
            Self::OtherIds { tier, .. } => Some(format!("demand that tier: --isolation {tier}")),
            Self::Bundle { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Some("name a folder that is not there yet".to_owned())
            }
            Self::Build(error) => error.hint(),
            Self::Bundle { .. } | Self::Home(_) | Self::Console(_) => None,
        }
    }
}
