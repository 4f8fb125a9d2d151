//! Failures of exchanges with a registry, whatever was to be exchanged.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::credentials::CredentialError;
use super::digest::BlobDigest;
use crate::store::failure::FailureKind;

/// An exchange with a registry failed. URLs in the messages have neither credentials nor queries.
#[derive(Debug, thiserror::Error)]
pub enum RegistryExchangeError {
    /// The network is not to be used.
    #[error("no connection is opened with --offline")]
    Offline,
    /// The registry lacks the object, or hides it from this user.
    #[error("{what} isn't there{}", behind_colon(message))]
    NotFound {
        /// Name of the object.
        what: String,
        /// The registry's own message.
        message: String,
    },
    /// The registry demands credentials, or other credentials.
    #[error("{host} wants credentials{}{}", if *given { ", and refuses the ones that it was given" } else { ": there are none for it" }, behind_colon(message))]
    Unauthorized {
        /// The registry.
        host: String,
        /// True if credentials were sent.
        given: bool,
        /// The registry's own message.
        message: String,
    },
    /// The registry does not permit the request to this user.
    #[error("{host} doesn't allow it{}", behind_colon(message))]
    Denied {
        /// The registry.
        host: String,
        /// The registry's own message.
        message: String,
    },
    /// The registry asks for credentials in an unusable way.
    #[error("{host} {reason}")]
    Challenge {
        /// The registry.
        host: String,
        /// The fault of the challenge.
        reason: &'static str,
    },
    /// Credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// The registry limits the rate of requests, for longer than is worth waiting.
    #[error("{host} has had too many requests, and wants none for {} s", wait.as_secs())]
    TooMany {
        /// The registry.
        host: String,
        /// Delay requested by the registry.
        wait: Duration,
    },
    /// The registry answers with an unexpected status.
    #[error("{url}: the registry answers {status}{}", behind_colon(message))]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: reqwest::StatusCode,
        /// The registry's own message.
        message: String,
    },
    /// The registry cannot be trusted, or another attempt would fail in the same way.
    #[error("{url}: {reason}")]
    Refused {
        /// The URL.
        url: String,
        /// The cause.
        reason: String,
    },
    /// The registry refuses connections.
    #[error("{url}: {reason}")]
    ConnectionRefused {
        /// The URL.
        url: String,
        /// The system's message.
        reason: String,
    },
    /// All attempts failed.
    #[error("{url}: {reason} (attempt {attempts}, the last)")]
    GaveUp {
        /// The URL.
        url: String,
        /// Number of attempts.
        attempts: u32,
        /// Cause of the last failure.
        reason: String,
    },
    /// The registry could not be reached before in this run, and is not asked again.
    #[error("{host} could not be reached before in this run, and is not asked again")]
    Skipped {
        /// The registry.
        host: String,
    },
    /// The registry does not follow the protocol.
    #[error("{url}: {reason}")]
    Protocol {
        /// The URL.
        url: String,
        /// The deviation.
        reason: String,
    },
    /// A file with CA certificates cannot be used.
    #[error("the CA file {}: {reason}", path.display())]
    Ca {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// Content with a digest other than its name.
    #[error(
        "{what} is damaged or was changed: it should have the digest {expected}, but has {found}"
    )]
    Digest {
        /// Role of the content.
        what: String,
        /// Requested digest.
        expected: BlobDigest,
        /// Digest of the received bytes.
        found: BlobDigest,
    },
    /// Content with a size other than its descriptor's.
    #[error("{what} has {found} bytes, but should have {expected}")]
    Size {
        /// Role of the content.
        what: String,
        /// Size by the descriptor.
        expected: u64,
        /// Size of the content.
        found: u64,
    },
    /// A document exceeds the size limit for memory.
    #[error("{what} has {bytes} bytes; documents may have {limit}")]
    LongDocument {
        /// Role of the document.
        what: String,
        /// Number of received bytes.
        bytes: u64,
        /// Upper limit of bytes.
        limit: u64,
    },
    /// A local file that is to be sent cannot be read.
    #[error("cannot read the file to send: {0}")]
    ReadFile(io::Error),
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl RegistryExchangeError {
    /// Classifies the failure.
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::NotFound { .. } => FailureKind::NotFound,
            Self::GaveUp { .. } | Self::Skipped { .. } => FailureKind::Unreachable,
            Self::ConnectionRefused { .. } => FailureKind::Refused,
            Self::Offline | Self::Interrupted | Self::ReadFile(_) => FailureKind::Local,
            _ => FailureKind::Denied,
        }
    }

    /// True if the registry did not answer properly in any attempt.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self.kind(), FailureKind::Unreachable | FailureKind::Refused)
    }

    /// True if the registry refuses the request as it is; another request for the same may succeed.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Denied { .. } | Self::Status { .. })
    }

    /// True if another place could do better than this registry.
    pub(crate) fn is_the_registrys(&self) -> bool {
        self.kind() != FailureKind::Local
    }
}

fn behind_colon(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
