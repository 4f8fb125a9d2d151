//! Keys whose signatures are accepted.

use std::fmt;
use std::path::Path;

use super::key::{KeyId, SigningKeyError, TrustedKey};

/// Key whose signatures are not accepted any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevokedKey {
    /// All keys of an id.
    Id(KeyId),
    /// A whole key, under whichever id.
    Key(TrustedKey),
}

impl RevokedKey {
    /// Takes an entry of a list: a key id, a key, or the path of a `.pub` file, which counts from `base`.
    pub fn named(text: &str, base: &Path) -> Result<Self, SigningKeyError> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => TrustedKey::named(text, base).map(Self::Key),
        }
    }

    fn id(&self) -> KeyId {
        match self {
            Self::Id(id) => *id,
            Self::Key(key) => key.id(),
        }
    }

    fn revokes(&self, key: &TrustedKey) -> bool {
        match self {
            Self::Id(id) => *id == key.id(),
            Self::Key(revoked) => revoked.is_the_key_of(key),
        }
    }
}

/// Keys whose signatures are accepted, and revoked keys. A key in both sets is not trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedKeys {
    trusted: Vec<TrustedKey>,
    revoked: Vec<RevokedKey>,
}

impl TrustedKeys {
    /// Puts keys together.
    pub fn new(trusted: impl IntoIterator<Item = TrustedKey>, revoked: Vec<RevokedKey>) -> Self {
        let mut kept: Vec<TrustedKey> = Vec::new();
        for key in trusted {
            if !kept.contains(&key) && !revoked.iter().any(|entry| entry.revokes(&key)) {
                kept.push(key);
            }
        }
        Self { trusted: kept, revoked }
    }

    /// True if no key is trusted.
    pub fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    /// Ids of the trusted keys, for messages.
    pub fn ids(&self) -> KeyIds {
        KeyIds(self.trusted.iter().map(TrustedKey::id).collect())
    }

    /// Keys of an id. Several keys share an id only on purpose.
    pub(super) fn of_id(&self, id: KeyId) -> impl Iterator<Item = &TrustedKey> {
        self.trusted.iter().filter(move |key| key.id() == id)
    }

    pub(super) fn has_revoked(&self, id: KeyId) -> bool {
        self.revoked.iter().any(|entry| entry.id() == id)
    }
}

/// Ids of keys, as text with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyIds(Vec<KeyId>);

impl fmt::Display for KeyIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let ids: Vec<String> = self.0.iter().map(KeyId::to_string).collect();
        f.write_str(&ids.join(", "))
    }
}
