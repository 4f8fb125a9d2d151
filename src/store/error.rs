//! Failures of operations on a store.

use std::io;

use super::failure::FailureKind;
use super::hinted::HintedError;
use super::key::ObjectKey;
use crate::base::http::HttpError;

/// An operation on a store failed. The messages have no credentials.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store has no object of that name.
    #[error("{store} has no {key}")]
    NotFound {
        /// The store's name.
        store: String,
        /// The object.
        key: ObjectKey,
    },
    /// Stores of the kind lack the operation.
    #[error("{store} cannot {operation}: {reason}")]
    Unsupported {
        /// The store's name.
        store: String,
        /// The operation, as a verb.
        operation: &'static str,
        /// The cause.
        reason: &'static str,
    },
    /// The exchange with a web server failed.
    #[error(transparent)]
    Http(HttpError),
    /// A backend with errors of its own failed.
    #[error("cannot {operation} {key} in {store}")]
    Backend {
        /// The operation, as a verb.
        operation: &'static str,
        /// The object.
        key: ObjectKey,
        /// The store's name.
        store: String,
        /// The kind of failure.
        failure: FailureKind,
        /// The backend's error, a [`HintedError`] if there is a remedy.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The objects of a backend with errors of its own cannot be listed.
    #[error("cannot list the objects in {store}")]
    List {
        /// The store's name.
        store: String,
        /// The kind of failure.
        failure: FailureKind,
        /// The backend's error, a [`HintedError`] if there is a remedy.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A backend with errors and remedies of its own failed.
    #[error("cannot {operation} {place}")]
    Remote {
        /// The operation, as a verb.
        operation: &'static str,
        /// Name of the store, and of the object, if any.
        place: String,
        /// The kind of failure.
        failure: FailureKind,
        /// Remedy, if one is known.
        hint: Option<String>,
        /// The backend's error.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file of the store cannot be read, written or removed; the source names it.
    #[error("cannot {operation} {key} in {store}")]
    File {
        /// The operation, as a verb.
        operation: &'static str,
        /// The object, or the prefix of a list.
        key: String,
        /// The store's name.
        store: String,
        /// The system's message.
        #[source]
        error: io::Error,
    },
    /// The content to put is not as long as announced, or cannot be read.
    #[error("cannot read the content of {key}")]
    Content {
        /// The object.
        key: ObjectKey,
        /// The system's message.
        #[source]
        error: io::Error,
    },
    /// The object cannot be written to its local destination.
    #[error("cannot keep {key}")]
    Destination {
        /// The object.
        key: ObjectKey,
        /// The system's message.
        #[source]
        error: io::Error,
    },
    /// The object is larger than the caller allows.
    #[error("{key} in {store} has more than {longest} bytes")]
    TooLarge {
        /// The store's name.
        store: String,
        /// The object.
        key: ObjectKey,
        /// Upper limit in bytes.
        longest: u64,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl StoreError {
    /// Classifies the failure.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotFound { .. } => FailureKind::NotFound,
            Self::Unsupported { .. } => FailureKind::Unsupported,
            Self::Http(HttpError::ConnectionRefused { .. }) => FailureKind::Refused,
            Self::Http(error) if error.is_unreachable() => FailureKind::Unreachable,
            Self::Http(HttpError::Store { .. } | HttpError::Interrupted { .. })
            | Self::Content { .. }
            | Self::Destination { .. }
            | Self::Interrupted => FailureKind::Local,
            Self::Backend { failure, .. }
            | Self::List { failure, .. }
            | Self::Remote { failure, .. } => *failure,
            Self::File { error, .. } if is_absent_server(error) => FailureKind::Unreachable,
            Self::Http(_) | Self::File { .. } | Self::TooLarge { .. } => FailureKind::Denied,
        }
    }

    /// True if the store lacks the object.
    pub fn is_not_found(&self) -> bool {
        self.kind() == FailureKind::NotFound
    }

    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Http(error) => error.hint().map(str::to_owned),
            Self::Backend { error, .. } | Self::List { error, .. } => {
                HintedError::hint_of(&**error)
            }
            Self::Remote { hint, .. } => hint.clone(),
            Self::Unsupported { .. } => {
                Some("use a folder, which can be read and written".to_owned())
            }
            Self::File { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                Some("have its owner give this user access to it".to_owned())
            }
            _ => None,
        }
    }
}

/// True if an error comes from a network filesystem whose server does not answer.
fn is_absent_server(error: &io::Error) -> bool {
    const SIGNS: [i32; 8] = [
        libc::ESTALE,
        libc::ETIMEDOUT,
        libc::EIO,
        libc::ENOTCONN,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::EREMOTEIO,
    ];
    const KINDS: [io::ErrorKind; 5] = [
        io::ErrorKind::StaleNetworkFileHandle,
        io::ErrorKind::TimedOut,
        io::ErrorKind::NotConnected,
        io::ErrorKind::HostUnreachable,
        io::ErrorKind::NetworkUnreachable,
    ];
    if KINDS.contains(&error.kind()) {
        return true;
    }
    let causes =
        std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |cause| {
            cause.source()
        });
    causes
        .filter_map(|cause| cause.downcast_ref::<io::Error>()?.raw_os_error())
        .any(|number| SIGNS.contains(&number))
}
