//! Signatures of artifacts, in the form of minisign.
//!
//! ```text
//! <archive>            the artifact; the signature is of the file itself (prehashed: BLAKE2b-512)
//! <archive>.minisig    its signature: four lines, at most 4096 bytes
//!
//! untrusted comment: <anything>
//! <base64 of "ED", the key id and the signature of the file's hash>
//! trusted comment: mkpanda id=<id> sha256=<64 lower-case hex digits>
//! <base64 of the signature of the first signature and the trusted comment>
//! ```
//!
//! The trusted comment is a [`Statement`]: the id for which the artifact was made, and its SHA-256. A
//! signature is valid for that id only, so that a package cannot be replayed under another name.
//! The id is a package's id, or the path of any other file in its repository
//! ([`crate::artifact::signed_id`]).
//!
//! A signature counts if a key of the caller's [`TrustedKeys`] made it. Nothing of a signature is shown
//! or used before that was checked, apart from the id of its key.
//!
//! ```text
//! key         public keys and their ids
//! trusted     the keys that a caller trusts, and those that were revoked
//! statement   the trusted comment
//! form        the text of a signature
//! check       signatures against artifacts
//! secret      secret keys, and signing with them; in mkpanda alone
//! ```

mod check;
mod error;
mod form;
mod key;
#[cfg(feature = "builder")]
mod secret;
mod statement;
mod trusted;

#[cfg(test)]
mod tests;
#[cfg(test)]
#[cfg(feature = "builder")]
mod tests_secret;

pub use check::{Claim, verify};
pub use error::SignatureError;
pub use form::{FormError, LONGEST};
pub use key::{KeyFormError, KeyId, KeyIdError, SigningKeyError, TrustedKey};
#[cfg(feature = "builder")]
pub use secret::{SecretKeyError, SecretKeyFile, SignError, Signer, public_path};
pub use statement::{Statement, StatementError};
pub use trusted::{KeyIds, RevokedKey, TrustedKeys};

/// Suffix of a signature's name, after the whole name of the artifact.
pub const SUFFIX: &str = ".minisig";
