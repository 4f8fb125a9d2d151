//! Errors of the packages on a machine, and their remedies.

use std::io;
use std::path::PathBuf;

use super::signed::UntrustedFile;
use crate::archive::UnpackError;
use crate::artifact::repository as remote;
use crate::install::InstallError;
use crate::package::PackageId;
use crate::package::paths::package_path;

/// Error of the packages on the machine, or of one that should be added.
#[derive(Debug, thiserror::Error)]
pub enum HostRepositoryError {
    /// There is no such package.
    #[error("package {id} is not in {}", folder.display())]
    NotThere {
        /// The package.
        id: PackageId,
        /// The repository.
        folder: PathBuf,
    },
    /// The repository can't be read.
    #[error("can't read the packages on this machine")]
    Unreadable(#[source] io::Error),
    /// The repository can't be locked.
    #[error("can't lock the packages on this machine")]
    Lock(#[source] io::Error),
    /// The package is broken.
    #[error(transparent)]
    Broken(Box<InstallError>),
    /// The file's name is not that of a package.
    #[error("{} is not a package: it must be called <name>--<version>.tar.xz", .0.display())]
    FileName(PathBuf),
    /// The package's archive can't be read.
    #[error("can't read package {id}")]
    Archive {
        /// The package.
        id: PackageId,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The package's archive can't be unpacked.
    #[error("can't unpack package {id}")]
    Unpack {
        /// The package.
        id: PackageId,
        /// Reason.
        #[source]
        source: Box<UnpackError>,
    },
    /// The package can't be put in place or removed.
    #[error("can't {action} package {id}")]
    Change {
        /// Intended step.
        action: &'static str,
        /// The package.
        id: PackageId,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The run was interrupted.
    #[error("interrupted: package {0} was not added")]
    Interrupted(PackageId),
    /// The archive has another package than its name says.
    #[error("package {id} is another package: {reason}")]
    OtherPackage {
        /// The package.
        id: PackageId,
        /// The difference.
        reason: String,
    },
    /// The repository that packages are fetched from does not have the package.
    #[error("the repository has no package {0}: there is no {path}", path = package_path(.0))]
    NotOffered(PackageId),
    /// A required signature is missing, or not valid.
    #[error(transparent)]
    Untrusted(Box<UntrustedFile>),
    /// The package cannot be fetched.
    #[error(transparent)]
    Fetch(Box<remote::RepositoryError>),
}

impl HostRepositoryError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotThere { id, .. } => Some(format!(
                "fetch it: pkgpanda fetch --repository-url=URL {id}\nor add it from a file: pkgpanda add {id}.tar.xz"
            )),
            Self::Broken(error) => error.hint(),
            Self::Untrusted(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            _ => None,
        }
    }
}

impl From<InstallError> for HostRepositoryError {
    fn from(error: InstallError) -> Self {
        Self::Broken(Box::new(error))
    }
}

impl From<remote::RepositoryError> for HostRepositoryError {
    fn from(error: remote::RepositoryError) -> Self {
        Self::Fetch(Box::new(error))
    }
}
