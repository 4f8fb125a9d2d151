//! Failures of putting artifacts into a store.

use std::io;

use crate::base::digest::Sha256Sum;
use crate::store::signature::SignError;
use crate::store::{FailureKind, ObjectKeyError, StoreError};

/// An artifact cannot be put into a store.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The artifact's name is not valid in a store.
    #[error(transparent)]
    Name(#[from] ObjectKeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive or a temporary file cannot be read or written.
    #[error("cannot read {what} for an upload")]
    File {
        /// The artifact.
        what: String,
        /// The system's message.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be signed.
    #[error("cannot sign {what}")]
    Sign {
        /// The artifact.
        what: String,
        /// The cause.
        #[source]
        source: SignError,
    },
    /// The store has another package under the id.
    #[error(
        "{store} has another {what}, which was left as it is: its tar has the SHA-256 {theirs}, and the one built here {ours}"
    )]
    Different {
        /// The artifact.
        what: String,
        /// The store's name.
        store: String,
        /// Digest of the tar in the store.
        theirs: Sha256Sum,
        /// Digest of the tar on this machine.
        ours: Sha256Sum,
    },
    /// The store's object is damaged.
    #[error("{what} in {store} is damaged, and was left as it is: {reason}")]
    Damaged {
        /// The artifact.
        what: String,
        /// The store's name.
        store: String,
        /// The fault.
        reason: String,
    },
}

impl PublishError {
    /// Classifies the failure.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Store(error) => Some(error.kind()),
            // This machine's faults, and objects of a store that answers.
            _ => None,
        }
    }

    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Different { what, .. } | Self::Damaged { what, .. } => Some(format!(
                "find out which of the two is right; if it is this machine's, remove {what} and the files beside it from the cache"
            )),
            _ => None,
        }
    }
}
