//! Faults of installers.

use std::io;
use std::path::PathBuf;

use crate::archive::PackError;
use crate::base::escape::move_away;
use crate::provider::ProviderError;

/// Reason why an installer cannot be written, or a task of an installer fails.
#[derive(Debug, thiserror::Error)]
pub enum InstallerError {
    /// A part cannot be read.
    #[error("cannot read {what}")]
    Part {
        /// Name of the part.
        what: String,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The program that runs on hosts is not a static executable.
    #[error("{} cannot run on hosts: {reason}", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Fault.
        reason: String,
    },
    /// The installer cannot be written.
    #[error("cannot write the installer {}", path.display())]
    Write {
        /// The installer.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The archive in the installer cannot be written.
    #[error("cannot write the archive of the installer {}", path.display())]
    Pack {
        /// The installer.
        path: PathBuf,
        /// Reason.
        #[source]
        source: PackError,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The installer is damaged.
    #[error("{} is not a whole installer: {reason}", path.display())]
    Damaged {
        /// The installer.
        path: PathBuf,
        /// Fault.
        reason: String,
    },
    /// There is no folder with a configuration.
    #[error("there is no file {}", .0.display())]
    NoConfiguration(PathBuf),
    /// The configuration is not valid; all faults at once.
    #[error("{}{}", faults.first().map_or("", String::as_str), following(faults))]
    Configuration {
        /// Faults, each a line.
        faults: Vec<String>,
    },
    /// The provider cannot be rendered.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The served folder cannot be written.
    #[error("cannot write {}", path.display())]
    Serve {
        /// The folder or file.
        path: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The served folder is not ours.
    #[error("{} is there already, and was not written by an installer", .0.display())]
    Foreign(PathBuf),
    /// There is no script to install with.
    #[error("there is no file {}", .0.display())]
    NotServed(PathBuf),
    /// A password cannot be hashed.
    #[error("cannot hash the password: {0}")]
    Password(&'static str),
    /// The provider does not make an upgrade script.
    #[error("the provider {0} does not make upgrade scripts")]
    NoUpgrade(String),
}

impl InstallerError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Program { .. } => Some("build one: scripts/static OUT pkgpanda".to_owned()),
            Self::Damaged { .. } => Some("download the installer once more".to_owned()),
            Self::NoConfiguration(path) => Some(format!(
                "write {} in the folder that the installer is started in (docs/installer.md)",
                path.display()
            )),
            Self::Provider(error) => error.hint(),
            Self::Foreign(path) => Some(format!("move it away: {}", move_away(path))),
            Self::NotServed(_) => Some("run the installer with --genconf before".to_owned()),
            _ => None,
        }
    }
}

/// All faults but the first, a line each.
fn following(faults: &[String]) -> String {
    faults.iter().skip(1).fold(String::new(), |text, fault| text + "\n" + fault)
}
