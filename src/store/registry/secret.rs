//! Credentials of one registry, kept out of all output.

use crate::base::secret::Secret;

/// Key of Docker Hub's credentials in the files that `docker login` writes.
pub(super) const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Proof of the user's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Name and password.
    Password { user: String, password: Secret },
    /// Identity token, which the registry's token server exchanges for others.
    Identity(Secret),
}
