//! Errors of building a project's packages.

use std::path::PathBuf;

use crate::artifact::repository::RepositoryError;
use crate::build::execute::Failures;
use crate::build::id::IdentityError;
use crate::build::images::ImageError;
use crate::build::missing::MissingList;
use crate::build::supply::OpenError;
use crate::build::upstream::UpstreamError;
use crate::image::store::ImageStoreError;
use crate::package::PackageId;
use crate::runner::session::SessionError;
use crate::source::SourceError;
use crate::tree::TreeError;
use crate::tree::lock::LockFaults;

/// Failure of an id's input outside of the tree.
#[derive(Debug, thiserror::Error)]
pub enum OutsideError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The repository of a `git_local` source.
    #[error(transparent)]
    Source(#[from] SourceError),
}

impl From<IdentityError<OutsideError>> for ProjectError {
    fn from(error: IdentityError<OutsideError>) -> Self {
        Self::Identity(Box::new(error))
    }
}

impl From<OpenError> for ProjectError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Session(error) => Self::Session(error),
            OpenError::Home(error) => Self::Home(error),
        }
    }
}

/// Failure to open a project, or to build its packages.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The tree is not valid.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The upstream cannot be fetched.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The image store can't be opened.
    #[error("can't open the image store")]
    Store(#[source] ImageStoreError),
    /// A package has no id.
    #[error(transparent)]
    Identity(Box<IdentityError<OutsideError>>),
    /// Offline, and not everything is here.
    #[error("{0}")]
    Missing(MissingList),
    /// The lock and the tree do not fit together.
    #[error(transparent)]
    Lock(Box<LockFaults>),
    /// No containers can be run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The builder's own folder can't be used.
    #[error("can't use the builder's own folder")]
    Home(#[source] std::io::Error),
    /// A folder of the cache is a symlink.
    #[error("{} is a symlink: mkpanda reads, writes and removes nothing in a cache through one", .0.display())]
    CacheLink(PathBuf),
    /// The cache can't be written.
    #[error("can't write the tree's cache")]
    Cache(#[source] std::io::Error),
    /// A package of a shared cache cannot be written on this machine.
    #[error("cannot fetch {id} from a shared cache")]
    SharedCache {
        /// The package.
        id: PackageId,
        /// Cause.
        #[source]
        source: Box<RepositoryError>,
    },
    /// A source cannot be fetched.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// Packages failed.
    #[error("{}", failed(.0))]
    Failed(Failures),
}

impl OutsideError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Image(error) => error.hint(),
            Self::Source(error) => error.problem.hint(),
        }
    }
}

impl ProjectError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Tree(error) => error.hint(),
            Self::Upstream(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Identity(error) => match &**error {
                IdentityError::Outside { source, .. } => source.hint(),
                IdentityError::Files { source, .. } => source.hint(),
                _ => None,
            },
            Self::Missing(list) => Some(hint_of_missing(list)),
            Self::Lock(faults) => Some(faults.hint()),
            Self::CacheLink(_) => Some(
                "remove the link; to have the cache elsewhere, bind-mount a folder there"
                    .to_owned(),
            ),
            Self::Session(error) => error.hint(),
            Self::SharedCache { source, .. } => source.hint(),
            Self::Source(error) => error.problem.hint(),
            // Each failed package has a remedy of its own.
            Self::Failed(_) | Self::Home(_) | Self::Cache(_) | Self::Interrupted => None,
        }
    }
}

fn hint_of_missing(list: &MissingList) -> String {
    let mut hint = "make a mirror where there is a network (mkpanda mirror create DIR) and name it here (--mirror DIR), or run once without --offline".to_owned();
    if let Some(name) = list.first_image() {
        let ways = format!(
            "\nto get this image alone, where there is a network: mkpanda image pull {name}\nor load it: mkpanda image load --name {name} FILE   (docker save, podman save or skopeo copy write such a FILE)"
        );
        hint.push_str(&ways);
    }
    hint
}

fn failed(failures: &Failures) -> String {
    match failures.errors.len() {
        1 => "a package could not be built".to_owned(),
        count => format!("{count} packages could not be built"),
    }
}
