//! Failures of single artifacts, which do not stop the exchange of others.

use crate::artifact::publish::PublishError;
use crate::artifact::repository::RepositoryError;
use crate::bootstrap::{SupplyError, UnprovenBootstrap};
use crate::build::images::ImageError;
use crate::build::project::ProjectError;
use crate::build::upload::{UnprovenError, UploadError};
use crate::package::ImageName;
use crate::source::SourceError;
use crate::store::{FailureKind, ObjectKeyError, StoreError};

/// An artifact cannot be exchanged.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The archive of a package is not trusted.
    #[error(transparent)]
    Unproven(#[from] UnprovenError),
    /// The archive of a bootstrap is not trusted.
    #[error(transparent)]
    UnprovenBootstrap(#[from] UnprovenBootstrap),
    /// Nobody vouches for an image.
    #[error("not sent: this machine has no record of building the image {0}")]
    UnprovenImage(ImageName),
    /// An image cannot be read.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// The store did not take a package or a bootstrap.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The store did not take a source.
    #[error(transparent)]
    Source(#[from] UploadError),
    /// The store did not give a package or a bootstrap.
    #[error(transparent)]
    Repository(Box<RepositoryError>),
    /// A source cannot be fetched, or does not match its declaration.
    #[error(transparent)]
    Fetch(#[from] SourceError),
    /// A cache has a source that cannot be used, for a cause that was reported as a warning.
    #[error("the source in the cache cannot be used")]
    Unusable,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A name is not valid in a store.
    #[error(transparent)]
    Key(#[from] ObjectKeyError),
    /// The tree's cache cannot be written.
    #[error(transparent)]
    Project(Box<ProjectError>),
    /// The tree's bootstrap cannot be kept.
    #[error(transparent)]
    Supply(Box<SupplyError>),
}

impl ExchangeError {
    /// Kind of failure of the store, if the fault is one.
    pub(super) fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Publish(error) => error.kind(),
            Self::Source(error) => error.kind(),
            Self::Repository(error) => error.kind(),
            Self::Store(error) => Some(error.kind()),
            _ => None,
        }
    }

    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unproven(error) => error.hint(),
            Self::UnprovenBootstrap(error) => error.hint(),
            Self::Publish(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Repository(error) => error.hint(),
            Self::Fetch(error) => error.problem.hint(),
            Self::Store(error) => error.hint(),
            Self::Supply(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::UnprovenImage(_) => {
                Some("build the image here, without a cache and a mirror that has it".to_owned())
            }
            Self::Project(error) => error.hint(),
            Self::Key(_) | Self::Unusable => None,
        }
    }
}

impl From<ImageError> for ExchangeError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<RepositoryError> for ExchangeError {
    fn from(error: RepositoryError) -> Self {
        Self::Repository(Box::new(error))
    }
}

impl From<ProjectError> for ExchangeError {
    fn from(error: ProjectError) -> Self {
        match error {
            ProjectError::SharedCache { source, .. } => Self::Repository(source),
            error => Self::Project(Box::new(error)),
        }
    }
}

impl From<SupplyError> for ExchangeError {
    fn from(error: SupplyError) -> Self {
        match error {
            SupplyError::Repository { source, .. } => Self::Repository(source),
            error => Self::Supply(Box::new(error)),
        }
    }
}

/// Failure of an artifact.
#[derive(Debug, thiserror::Error)]
#[error("{}", if store.is_empty() { name.clone() } else { format!("{name}, {store}") })]
pub struct ExchangeFailure {
    /// Name of the artifact: a package's id, `bootstrap <id>`, `<package>/<source>`.
    pub name: String,
    /// Name of the store; empty if the fault is this machine's.
    pub store: String,
    /// Cause.
    #[source]
    pub error: Box<ExchangeError>,
}

impl ExchangeFailure {
    pub(super) fn new(name: &str, store: &str, error: ExchangeError) -> Self {
        Self { name: name.to_owned(), store: store.to_owned(), error: Box::new(error) }
    }
}
