//! Public keys: a line of base64, alone or below the comment of a `.pub` file.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::PublicKey;

use crate::base::text::written_as_text;

/// Upper limit of a public key's text, in bytes. A key of minisign has about 120.
const LONGEST: u64 = 4096;
/// Number of bytes of a public key: `Ed`, the id, the key.
const BYTES: usize = 42;
/// Number of bytes of the key of Ed25519 at the end.
const POINT: usize = 32;
/// Beginnings of secret keys in base64: `Ed`, encrypted or not, `B2`.
const SECRET: [&str; 2] = ["RWRTY0Iy", "RWQAAEIy"];

/// Id of a key: eight bytes, written as minisign does, in 16 upper-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

/// Text that is not a key id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key id: expected 16 hex digits")]
pub struct KeyIdError;

impl KeyId {
    /// Takes the bytes of keys and signatures.
    pub(super) fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(KeyIdError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_digits| KeyIdError)
    }
}

written_as_text!(KeyId);

/// Public key whose signatures are accepted.
#[derive(Clone, PartialEq, Eq)]
pub struct TrustedKey {
    id: KeyId,
    line: String,
    point: [u8; POINT],
    key: PublicKey,
}

/// Text that is not a public key. The text is not repeated: it may be a secret key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFormError {
    /// The text is a secret key.
    #[error("it is a secret key; its public key is in the .pub file beside it")]
    Secret,
    /// The text has more or other lines than a key.
    #[error("expected a line of base64 that begins with RW, alone or below `untrusted comment: …`")]
    Lines,
    /// The line does not have the bytes of a key.
    #[error("its line of base64 does not have the 42 bytes of an Ed25519 key; it may be cut off")]
    Bytes,
}

/// A named key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// The text is neither a key nor the path of a file that can be read.
    #[error("{text:?} is neither a public key of minisign nor a file with one")]
    Unreadable {
        /// The text.
        text: String,
        /// The system's message.
        #[source]
        source: io::Error,
    },
    /// The text or the file is not a key.
    #[error("{} is not a public key of minisign", place.display())]
    Form {
        /// The file, or a description of the text.
        place: PathBuf,
        /// Fault.
        #[source]
        source: KeyFormError,
    },
}

impl TrustedKey {
    /// Takes a key as it stands in a list or an option: the key itself, or the path of a `.pub` file,
    /// which counts from `base`.
    pub fn named(text: &str, base: &Path) -> Result<Self, SigningKeyError> {
        match text.parse() {
            Ok(key) => return Ok(key),
            // Not taken for a path, since the error would show the key as a file's name.
            Err(source @ KeyFormError::Secret) => {
                return Err(SigningKeyError::Form { place: "the text".into(), source });
            }
            Err(_) => {}
        }
        let place = base.join(text);
        let unreadable = |source| SigningKeyError::Unreadable { text: text.to_owned(), source };
        let mut content = String::new();
        let file = fs_err::File::open(&place).map_err(unreadable)?;
        if let Err(error) = file.take(LONGEST + 1).read_to_string(&mut content) {
            let source = match error.kind() {
                io::ErrorKind::InvalidData => KeyFormError::Lines,
                _ => return Err(unreadable(error)),
            };
            return Err(SigningKeyError::Form { place, source });
        }
        content.parse().map_err(|source| SigningKeyError::Form { place, source })
    }

    /// Id of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The line of base64 of which `minisign -P` and `.pub` files consist.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// True for the same key of Ed25519, under whichever id: an id is a label that anybody can write anew.
    pub(super) fn is_the_key_of(&self, other: &Self) -> bool {
        self.point == other.point
    }

    pub(super) fn verifier(&self) -> &PublicKey {
        &self.key
    }
}

impl FromStr for TrustedKey {
    type Err = KeyFormError;

    fn from_str(text: &str) -> Result<Self, KeyFormError> {
        if text.len() as u64 > LONGEST {
            return Err(KeyFormError::Lines);
        }
        let mut lines = text.trim_end().lines();
        let first = lines.next().unwrap_or_default();
        let line = match (lines.next(), lines.next()) {
            (None, _) => first,
            (Some(second), None) if first.starts_with("untrusted comment:") => second,
            _ => return Err(KeyFormError::Lines),
        }
        .trim();
        if SECRET.iter().any(|beginning| line.starts_with(beginning)) {
            return Err(KeyFormError::Secret);
        }
        if !line.starts_with("RW") {
            return Err(KeyFormError::Lines);
        }
        let bytes = STANDARD.decode(line).map_err(|_reason| KeyFormError::Bytes)?;
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_length| KeyFormError::Bytes)?;
        let (Some(b"Ed"), Some(id), Some(point)) =
            (bytes.first_chunk(), bytes[2..].first_chunk(), bytes.last_chunk())
        else {
            return Err(KeyFormError::Bytes);
        };
        let key = PublicKey::from_base64(line).map_err(|_reason| KeyFormError::Bytes)?;
        Ok(Self { id: KeyId::from_bytes(*id), line: line.to_owned(), point: *point, key })
    }
}

impl fmt::Debug for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrustedKey({})", self.id)
    }
}
