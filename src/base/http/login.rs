//! Credentials of the user's for a server.

use std::fmt;

/// A user's name and password, which nothing shows.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpLogin {
    /// Name; some servers take tokens for it.
    pub name: String,
    /// Password or token.
    pub password: String,
}

impl fmt::Debug for HttpLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}
