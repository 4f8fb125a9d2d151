//! Faults of repositories, and their consequences.

use std::io;

use crate::archive;
use crate::base::digest::Sha256Sum;
use crate::base::remedy::RAISE_UNPACKED;
use crate::store::signature::SignatureError;
use crate::store::{FailureKind, ObjectKeyError, StoreError};

/// Names of stores in warnings.
const REPOSITORY: &str = "the repository";
pub(super) const CACHE: &str = "the cache";

/// Consequence of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// An artifact that cannot be fetched is built; a wrong one ends the build of the package.
    Repository,
    /// A build can do without the item, whatever the fault.
    Cache,
    /// Every fault is an error.
    Sole,
}

impl Need {
    /// Name of the store in warnings.
    pub(super) fn role(self) -> &'static str {
        if self == Self::Cache { CACHE } else { REPOSITORY }
    }
}

/// An artifact of a repository cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The artifact's name is not valid in a store.
    #[error(transparent)]
    Name(#[from] ObjectKeyError),
    /// The store failed.
    #[error("cannot fetch {what} from the repository")]
    Store {
        /// The artifact.
        what: String,
        /// The store's error.
        #[source]
        source: StoreError,
    },
    /// A local file cannot be read or written.
    #[error("cannot fetch {what} from the repository")]
    File {
        /// The artifact.
        what: String,
        /// The system's message.
        #[source]
        source: io::Error,
    },
    /// The artifact has another sum than the file beside it says.
    #[error(
        "{what} from the repository is damaged: its SHA-256 is {found}, but {what}.sha256 says {expected}"
    )]
    Sum {
        /// The artifact.
        what: String,
        /// Sum of the artifact.
        found: Sha256Sum,
        /// Text of the file with the sum.
        expected: String,
    },
    /// The archive is damaged, or not that of a package.
    #[error("{what} from the repository is damaged, or not a package")]
    Archive {
        /// The artifact.
        what: String,
        /// The fault of the archive.
        #[source]
        source: archive::ReadError,
    },
    /// The content is that of another artifact.
    #[error("{what} from the repository holds another package: {reason}")]
    Other {
        /// The artifact.
        what: String,
        /// The difference.
        reason: String,
    },
    /// A signature is required, and does not count.
    #[error("{what} from {place} cannot be trusted")]
    Signature {
        /// The artifact.
        what: String,
        /// Name of the store.
        place: String,
        /// The fault of the signature.
        #[source]
        source: SignatureError,
    },
}

impl RepositoryError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store { what, source: StoreError::TooLarge { .. } }
                // The limit of lists and sums is not one that users can raise.
                if what.ends_with(".tar.xz") =>
            {
                Some(RAISE_UNPACKED.to_owned())
            }
            Self::Store { source, .. } => source.hint(),
            Self::Signature { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// True if the fault is this machine's, or the end of the run.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::File { .. } | Self::Name(_) => true,
            Self::Store { source, .. } => source.kind() == FailureKind::Local,
            _ => false,
        }
    }

    pub(super) fn is_untrusted(&self) -> bool {
        matches!(self, Self::Signature { source, .. } if source.is_untrusted())
    }

    /// Classifies an error that a build can do without. A refusal is not such an error, since its
    /// usual cause is a wrong setting of the user, unless the store is a cache.
    pub(super) fn dispensable(&self, need: Need) -> Option<FailureKind> {
        let Self::Store { source, .. } = self else { return None };
        Some(source.kind()).filter(|kind| match need {
            Need::Repository => *kind != FailureKind::Denied,
            Need::Cache => true,
            Need::Sole => *kind == FailureKind::NotFound,
        })
    }

    /// Kind of failure of the store, if the fault is one.
    pub fn kind(&self) -> Option<FailureKind> {
        if let Self::Store { source, .. } = self { Some(source.kind()) } else { None }
    }
}
