//! Registries: pulling images into the store and pushing them from there.
//!
//! ```text
//! host        where a registry and its mirrors are, and what the configuration says of them
//! credentials whom they take this user for: files of docker's and podman's, helper programs
//! wire        requests to one of them: attempts, waits, challenges, what an answer means
//! reply       small answers and URLs as text
//! token       what token servers give
//! resolve     a name -> the manifest that is for this machine, through indexes
//! download    a blob, taken up where it broke off, checked while it comes
//! partial     where blobs are until they are whole
//! tail        giving a blob to who unpacks it while it comes
//! fetch       all blobs of an image, several at once
//! pull, push  all of an image
//! ```
//!
//! Nothing is believed: what a manifest leads to has to have its size and its digest, layers what the
//! configuration says of their content, and only what was checked comes into the store. A registry
//! is asked for nothing that the store has; for an image that is there, once, whether it is still
//! that one. Blobs go to files as they come, and from files as they go.
//!
//! # Why not `oci-client`
//!
//! This speaks the distribution specification over `reqwest`, as downloads of sources do. The crate
//! `oci-client` (0.18) was to do that; in each of its calls something stands in the way:
//!
//! - it asks `/v2/` before the first request, where one request has to do for an image that is there;
//! - of an answer that is an error the headers are lost, and with them `Retry-After`;
//! - manifests, tokens and errors are read into memory to whatever end a server gives them;
//! - a token that can't be had is passed over in silence, and what follows fails for another reason;
//! - mirrors have no path, a request can't be interrupted, and credentials go to whatever token
//!   server is named, over plain HTTP too.
//!
//! What would be left of it are the names of URLs, and an asynchronous runtime around them.

mod challenge;
mod credentials;
mod download;
mod error;
mod fetch;
mod helper;
mod host;
mod partial;
mod pull;
mod push;
mod reply;
mod resolve;
mod tail;
mod token;
mod wire;

#[cfg(test)]
mod tests;

pub use credentials::{CredentialError, CredentialSources};
pub use error::{RegistryError, RegistryProblem, Verb};
pub use host::{HostError, Registries, RegistryConfig, RegistryHost, RegistryMirror};
pub use pull::{PullOptions, Pulled, UnpackFailure, Unpacker};
pub use push::Pushed;

#[cfg(any(test, fuzzing))]
pub(crate) use challenge::parse as parse_challenges;
#[cfg(any(test, fuzzing))]
pub(crate) use credentials::{Entry as CredentialEntry, look_up as look_up_credentials};
#[cfg(any(test, fuzzing))]
pub(crate) use resolve::read_served;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::Client as HttpClient;
use reqwest::redirect::Policy;

use crate::base::causes::with_causes;
use crate::base::http::{self, HttpOptions};
use host::Endpoint;
use token::Proofs;

/// How long a client that doesn't wait for long waits for a connection.
const HASTY: Duration = Duration::from_secs(5);
/// How many redirects are followed.
const MOST_REDIRECTS: usize = 10;

/// What there is to know of registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// What the configuration says of them.
    pub registries: Registries,
    /// Where this user's credentials are.
    pub credentials: CredentialSources,
    /// Whether no connection may be opened.
    pub offline: bool,
    /// How requests behave.
    pub http: HttpOptions,
}

/// Pulls and pushes images. Copies share connections and tokens; nothing is opened or read before
/// it is needed.
#[derive(Clone, Default)]
pub struct Client(Arc<Inner>);

#[derive(Default)]
struct Inner {
    options: RegistryOptions,
    /// By the file with the CAs that are trusted.
    clients: Mutex<HashMap<Option<PathBuf>, HttpClient>>,
    tokens: Proofs,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.options).finish()
    }
}

impl Client {
    /// A client that knows all that.
    pub fn new(options: RegistryOptions) -> Self {
        Self(Arc::new(Inner { options, ..Inner::default() }))
    }

    /// A client that knows the same, but soon gives up: to ask for what can be done without.
    #[must_use]
    pub fn hasty(&self) -> Self {
        let mut options = self.0.options.clone();
        options.http.attempts = 1;
        options.http.connect_timeout = options.http.connect_timeout.min(HASTY);
        options.http.stall_timeout = options.http.stall_timeout.min(2 * HASTY);
        Self::new(options)
    }

    /// Whether no connection may be opened.
    pub fn is_offline(&self) -> bool {
        self.0.options.offline
    }
}

impl Inner {
    fn client(&self, endpoint: &Endpoint) -> Result<HttpClient, RegistryProblem> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&endpoint.ca) {
            return Ok(known.clone());
        }
        let client = self.build(endpoint)?;
        clients.insert(endpoint.ca.clone(), client.clone());
        Ok(client)
    }

    fn build(&self, endpoint: &Endpoint) -> Result<HttpClient, RegistryProblem> {
        let builder = || http::builder(&self.options.http).redirect(redirects());
        let Some(path) = &endpoint.ca else {
            return builder()
                .build()
                // A machine without CA certificates must still be able to speak plain HTTP.
                .or_else(|_error| builder().tls_certs_only([]).build())
                .map_err(|error| RegistryProblem::Refused {
                    url: endpoint.url(""),
                    reason: format!("the HTTP client can't be set up: {}", with_causes(&error)),
                });
        };
        let ca = |reason: String| RegistryProblem::Ca { path: path.clone(), reason };
        let text = fs_err::read(path).map_err(|error| ca(error.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&text)
            .map_err(|error| ca(with_causes(&error)))?;
        if certificates.is_empty() {
            return Err(ca("it has no certificate in PEM".to_owned()));
        }
        builder().tls_certs_merge(certificates).build().map_err(|error| ca(with_causes(&error)))
    }
}

/// Follows redirects, of which `reqwest` keeps credentials away that lead to another host, but none
/// that would give up TLS.
fn redirects() -> Policy {
    Policy::custom(|attempt| {
        let from = attempt.previous().last().map(|url| url.scheme().to_owned());
        if attempt.previous().len() > MOST_REDIRECTS {
            attempt.error("it redirects in a circle")
        } else if from.as_deref() == Some("https") && attempt.url().scheme() != "https" {
            attempt.error("it redirects to plain HTTP")
        } else {
            attempt.follow()
        }
    })
}
