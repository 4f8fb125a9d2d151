//! Errors of downloads, with their remedies.

use std::io;

use reqwest::StatusCode;

/// A file could not be downloaded. URLs in it have no credentials.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL is not valid, or not for HTTP.
    #[error("{url:?} is not an http or https URL: {reason}")]
    Url {
        /// The text.
        url: String,
        /// Fault.
        reason: String,
    },
    /// The server answers, but not with the file.
    #[error("{url}: the server answers {status}")]
    Status {
        /// The URL.
        url: String,
        /// The server's answer.
        status: StatusCode,
    },
    /// The server can't be trusted, or not reached in a way that another attempt would change.
    #[error("{url}: {reason}")]
    Refused {
        /// The URL.
        url: String,
        /// Reason.
        reason: String,
    },
    /// All attempts failed.
    #[error("{url}: {reason} (attempt {attempts}, the last)")]
    GaveUp {
        /// The URL.
        url: String,
        /// Number of attempts.
        attempts: u32,
        /// Reason of the last failure.
        reason: String,
    },
    /// The server refuses connections.
    #[error("{url}: {reason}")]
    ConnectionRefused {
        /// The URL.
        url: String,
        /// The system's message.
        reason: String,
    },
    /// The file is larger than it may be.
    #[error("{url}: the file has more than the {limit} bytes that a download may have")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// The run was interrupted.
    #[error("{url}: interrupted")]
    Interrupted {
        /// The URL.
        url: String,
    },
    /// The download cannot be stored.
    #[error("cannot store what comes from {url}")]
    Store {
        /// The URL.
        url: String,
        /// Error of the system.
        #[source]
        error: io::Error,
    },
}

impl HttpError {
    /// True if the server reports a missing file.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status, .. }
            if [StatusCode::NOT_FOUND, StatusCode::GONE].contains(status))
    }

    /// True if the server did not answer properly in any attempt.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::GaveUp { .. } | Self::ConnectionRefused { .. })
    }

    /// Remedy.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Status { status, .. } => match status.as_u16() {
                401 | 403 => Some(
                    "the server wants credentials, or refuses those that it got: they are taken from ~/.netrc and, over HTTPS, from your config.toml:\n    [credentials.\"HOST\"]\n    username = \"NAME\"\n    password = \"PASSWORD\"",
                ),
                404 | 410 => Some("check the URL"),
                407 => Some("the proxy wants credentials: put them into HTTPS_PROXY or HTTP_PROXY"),
                _ => None,
            },
            Self::Refused { reason, .. } if reason.contains("xpired") => Some(
                "the server's certificate has to be renewed, or this machine's clock set right",
            ),
            Self::Refused { reason, .. } if reason.contains("not valid for name") => Some(
                "the certificate is another server's: use the URL with the name that it is for",
            ),
            Self::Refused { reason, .. } if reason.contains("certificate") => Some(
                "install the system's CA certificates (ca-certificates), or name a file with the server's CA in SSL_CERT_FILE",
            ),
            Self::GaveUp { .. } | Self::ConnectionRefused { .. } => {
                Some("check the network and the proxy (HTTPS_PROXY, NO_PROXY), or try again later")
            }
            _ => None,
        }
    }
}
