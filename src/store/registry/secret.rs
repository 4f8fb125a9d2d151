//! Credentials of one registry, kept out of all output.

use std::fmt;

/// Key of Docker Hub's credentials in the files that `docker login` writes.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Text that no message, log or debug output shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Gives the text, for a request and nothing else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Proof of the user's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Name and password.
    Password { user: String, password: Secret },
    /// Identity token, which the registry's token server exchanges for others.
    Identity(Secret),
}
