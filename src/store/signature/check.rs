//! Checks signatures against artifacts, reading each artifact once.

use std::fmt;
use std::io::{self, Read};

use super::error::SignatureError;
use super::form::SignatureText;
use super::key::{KeyId, TrustedKey};
use super::statement::Statement;
use super::trusted::TrustedKeys;
use crate::base::digest::{Sha256, Sha256Sum};

/// Number of bytes read at once.
const BUFFER: usize = 64 << 10;

/// Signature that names a trusted key and was not verified yet.
pub struct Claim<'k> {
    text: SignatureText,
    keys: Vec<&'k TrustedKey>,
}

impl fmt::Debug for Claim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim").field("key", &self.text.key).finish_non_exhaustive()
    }
}

/// Verifies the signature of an artifact, and gives the key that made it. `text` is the content of the
/// `.minisig` file, `id` the id under which the artifact was asked for.
pub fn verify(
    artifact: impl Read,
    text: &[u8],
    id: &str,
    keys: &TrustedKeys,
) -> Result<KeyId, SignatureError> {
    Claim::read(text, keys)?.verify(artifact, id)
}

impl<'k> Claim<'k> {
    /// Reads a signature as far as possible without the artifact: its form, and its key.
    pub fn read(text: &[u8], keys: &'k TrustedKeys) -> Result<Self, SignatureError> {
        let text = SignatureText::parse(text)?;
        let (key, trusted) = (text.key, keys.ids());
        let keys_of_id: Vec<&TrustedKey> = keys.of_id(key).collect();
        if keys_of_id.is_empty() {
            return Err(if keys.has_revoked(key) {
                SignatureError::Revoked { key, trusted }
            } else {
                SignatureError::UnknownKey { key, trusted }
            });
        }
        // The old form signs the content itself, which would have to be held in memory.
        if !text.is_prehashed {
            return Err(SignatureError::Legacy { key });
        }
        Ok(Self { text, keys: keys_of_id })
    }

    /// Verifies that a trusted key signed this artifact under this id.
    pub fn verify(&self, artifact: impl Read, id: &str) -> Result<KeyId, SignatureError> {
        let key = self.text.key;
        // Before the comment is looked at: until then it is anybody's text.
        let found = self.verify_content(artifact)?;
        let comment = &self.text.comment;
        let statement: Statement = comment.parse().map_err(|source| SignatureError::Statement {
            key,
            comment: comment.clone(),
            source,
        })?;
        if statement.id.as_str() != id {
            let (signed, expected) = (statement.id.to_string(), id.to_owned());
            return Err(SignatureError::OtherArtifact { key, signed, expected });
        }
        if statement.sha256 != found {
            return Err(SignatureError::OtherSum { key, signed: statement.sha256, found });
        }
        Ok(key)
    }

    /// Verifies both signatures, of the content and of the comment, and gives the content's sum.
    fn verify_content(&self, mut artifact: impl Read) -> Result<Sha256Sum, SignatureError> {
        let invalid = || SignatureError::Invalid { key: self.text.key };
        // One for each key of the id, as the artifact is read once.
        let mut verifiers = Vec::new();
        for key in &self.keys {
            let verifier = key.verifier().verify_stream(&self.text.signature);
            verifiers.push(verifier.map_err(|_error| invalid())?);
        }
        let mut sum = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            match artifact.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    sum.update(&buffer[..count]);
                    for verifier in &mut verifiers {
                        verifier.update(&buffer[..count]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SignatureError::Read(error)),
            }
        }
        if verifiers.iter_mut().any(|verifier| verifier.finalize().is_ok()) {
            Ok(Sha256Sum::from_hasher(sum))
        } else {
            Err(invalid())
        }
    }
}
