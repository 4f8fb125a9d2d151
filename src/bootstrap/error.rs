//! The error of a bootstrap.

use std::io;
use std::path::PathBuf;

use crate::archive::{PackError, ReadError};
use crate::install::InstallError;
use crate::package::PackageId;

/// Reason why a bootstrap cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The archive of a package is missing.
    #[error("can't open package {package}")]
    Open {
        /// The package.
        package: PackageId,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The archive of a package is not valid.
    #[error("package {package} ({path}) can't go into a bootstrap")]
    Package {
        /// The package.
        package: PackageId,
        /// Path of the archive.
        path: PathBuf,
        /// Fault.
        #[source]
        source: Box<ReadError>,
    },
    /// A package's archive was replaced meanwhile.
    #[error("package {0} was replaced while the bootstrap was being written")]
    Replaced(PackageId),
    /// The packages don't fit together.
    #[error(transparent)]
    Install(#[from] Box<InstallError>),
    /// The scratch folder can't be used.
    #[error("can't keep the files of package {package} in {folder}")]
    Scratch {
        /// The package.
        package: PackageId,
        /// The scratch folder.
        folder: PathBuf,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The bootstrap can't be written.
    #[error("can't write the bootstrap")]
    Write(#[source] PackError),
}
