//! Reasons why an artifact is not used.

use std::io;

use super::form::FormError;
use super::key::KeyId;
use super::statement::StatementError;
use super::trusted::KeyIds;
use crate::base::digest::Sha256Sum;

/// A signature is missing or does not count. The caller's message names the artifact and its place.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no signature.
    #[error("it has no signature (.minisig), and one by a trusted key is required: {trusted}")]
    Missing {
        /// Trusted keys.
        trusted: KeyIds,
    },
    /// An unknown key made the signature.
    #[error("it is signed by key {key}, which is not trusted; trusted: {trusted}")]
    UnknownKey {
        /// Key of the signature.
        key: KeyId,
        /// Trusted keys.
        trusted: KeyIds,
    },
    /// A revoked key made the signature.
    #[error("it is signed by key {key}, which is revoked; trusted: {trusted}")]
    Revoked {
        /// Key of the signature.
        key: KeyId,
        /// Trusted keys.
        trusted: KeyIds,
    },
    /// The signature does not have the form of one.
    #[error("its signature (.minisig) is not one of minisign")]
    Form(#[from] FormError),
    /// The signature is of the file, not of its hash.
    #[error(
        "its signature by key {key} is of minisign's legacy form; only signatures of a file's hash (prehashed) count"
    )]
    Legacy {
        /// Key of the signature.
        key: KeyId,
    },
    /// The signature belongs to other content or another key, or its comment was changed.
    #[error(
        "its signature does not fit: key {key} did not sign this file with this trusted comment; one of the two was changed"
    )]
    Invalid {
        /// Key id in the signature.
        key: KeyId,
    },
    /// The signature is good, but states nothing of an artifact.
    #[error("key {key} signed it with the trusted comment {comment:?}")]
    Statement {
        /// Key of the signature.
        key: KeyId,
        /// The trusted comment.
        comment: String,
        /// Fault.
        #[source]
        source: StatementError,
    },
    /// The signature is of another artifact.
    #[error("key {key} signed it as {signed}, and {expected} is expected")]
    OtherArtifact {
        /// Key of the signature.
        key: KeyId,
        /// Id for which the artifact was signed.
        signed: String,
        /// Id of the artifact that was asked for.
        expected: String,
    },
    /// The trusted comment has another sum than the signed file.
    #[error("key {key} signed the SHA-256 {signed}, and the file has {found}")]
    OtherSum {
        /// Key of the signature.
        key: KeyId,
        /// Sum in the trusted comment.
        signed: Sha256Sum,
        /// Sum of the file.
        found: Sha256Sum,
    },
    /// The artifact or its signature cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

impl SignatureError {
    /// True if the artifact has no trusted signature; false for an invalid signature in a trusted
    /// key's name.
    pub fn is_untrusted(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::UnknownKey { .. } | Self::Revoked { .. })
    }

    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownKey { .. } => Some(
                "if you trust the owner of that key, name its public key: --require-signature=KEY"
                    .to_owned(),
            ),
            Self::Legacy { .. } => {
                Some("have it signed again, by minisign 0.10 or later without -l".to_owned())
            }
            Self::Revoked { .. } | Self::Invalid { .. } | Self::OtherArtifact { .. } => {
                Some("do not use it; ask the maintainers of its repository".to_owned())
            }
            _ => None,
        }
    }
}
