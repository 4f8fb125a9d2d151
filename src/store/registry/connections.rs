//! Shared state of all exchanges with registries: options, HTTP clients, tokens.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::Client as HttpClient;
use reqwest::redirect::Policy;

use super::credentials::CredentialSources;
use super::error::ExchangeError;
use super::host::{Endpoint, Registries};
use super::reference::ImageRef;
use super::token::Proofs;
use crate::base::causes::with_causes;
use crate::base::http::{self, HttpOptions};

/// Upper limit of the time to connect, for questions with another way out.
const HASTY: Duration = Duration::from_secs(5);
/// Upper limit of redirects of one request.
const MOST_REDIRECTS: usize = 10;

/// Configuration of exchanges with registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// The configured registries.
    pub registries: Registries,
    /// Sources of this user's credentials.
    pub credentials: CredentialSources,
    /// True if no connection may be opened.
    pub offline: bool,
    /// Attempts and time limits of requests.
    pub http: HttpOptions,
}

/// Connections to registries. Nothing is opened or read before the first request.
#[derive(Default)]
pub struct Connections {
    options: RegistryOptions,
    /// HTTP clients, by the file with the trusted CAs.
    clients: Mutex<HashMap<Option<PathBuf>, HttpClient>>,
    pub(super) tokens: Proofs,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.options).finish()
    }
}

impl Connections {
    /// Creates connections with these options.
    pub fn new(options: RegistryOptions) -> Self {
        Self { options, ..Self::default() }
    }

    /// Returns connections with the same configuration that soon give up, for questions with another
    /// way out.
    #[must_use]
    pub fn hasty(&self) -> Self {
        let mut options = self.options.clone();
        options.http.attempts = 1;
        options.http.connect_timeout = options.http.connect_timeout.min(HASTY);
        options.http.stall_timeout = options.http.stall_timeout.min(2 * HASTY);
        Self::new(options)
    }

    /// The options.
    pub fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// Returns the registry that a reference names.
    pub(crate) fn endpoint(&self, reference: &ImageRef) -> Endpoint {
        Endpoint::of(&self.options.registries, reference)
    }

    /// Returns all places of a reference: the mirrors in their order, then the registry itself.
    pub(crate) fn endpoints(&self, reference: &ImageRef) -> Vec<Endpoint> {
        Endpoint::all(&self.options.registries, reference)
    }

    pub(super) fn client(&self, endpoint: &Endpoint) -> Result<HttpClient, ExchangeError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&endpoint.ca) {
            return Ok(known.clone());
        }
        let client = self.build(endpoint)?;
        clients.insert(endpoint.ca.clone(), client.clone());
        Ok(client)
    }

    fn build(&self, endpoint: &Endpoint) -> Result<HttpClient, ExchangeError> {
        let builder = || http::builder(&self.options.http).redirect(redirects());
        let Some(path) = &endpoint.ca else {
            return builder()
                .build()
                // A machine without CA certificates must still be able to speak plain HTTP.
                .or_else(|_error| builder().tls_certs_only([]).build())
                .map_err(|error| ExchangeError::Refused {
                    url: endpoint.url(""),
                    reason: format!("the HTTP client can't be set up: {}", with_causes(&error)),
                });
        };
        let ca = |reason: String| ExchangeError::Ca { path: path.clone(), reason };
        let text = fs_err::read(path).map_err(|error| ca(error.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&text)
            .map_err(|error| ca(with_causes(&error)))?;
        if certificates.is_empty() {
            return Err(ca("it has no certificate in PEM".to_owned()));
        }
        builder().tls_certs_merge(certificates).build().map_err(|error| ca(with_causes(&error)))
    }
}

/// Follows redirects, except from TLS to plain HTTP. `reqwest` keeps credentials away from other
/// hosts.
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
