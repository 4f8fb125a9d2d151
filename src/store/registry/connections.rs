//! Shared state of all exchanges with registries: options, HTTP clients, tokens, reachability.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::Client as HttpClient;
use reqwest::redirect::Policy;

use super::credentials::CredentialSources;
use super::error::RegistryExchangeError;
use super::host::{Endpoint, Registries, RegistryHost};
use super::reference::ImageRef;
use super::token::Authorizations;
use crate::base::causes::with_causes;
use crate::base::http::{self, HttpOptions};
use crate::store::failure::FailureKind;
use crate::store::reach::{Consequence, Reach};

/// Upper limit of the time to connect, for requests that the caller can do without.
const BRIEF: Duration = Duration::from_secs(5);
/// Upper limit of redirects of one request.
const MOST_REDIRECTS: usize = 10;

/// Configuration of exchanges with registries.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// The configured registries.
    pub registries: Registries,
    /// Sources of the user's credentials.
    pub credentials: CredentialSources,
    /// True if no connection may be opened.
    pub offline: bool,
    /// Attempts and time limits of requests.
    pub http: HttpOptions,
}

/// Connections to registries. Nothing is opened or read before the first request.
pub struct Connections {
    options: RegistryOptions,
    /// Options of requests that give up early.
    brief_http: HttpOptions,
    /// True if all requests give up early.
    gives_up_early: bool,
    shared: Arc<SharedConnections>,
}

/// CA file, early giving up, and permitted redirects: all that distinguishes HTTP clients.
type ClientKey = (Option<PathBuf>, bool, RedirectScope);

/// Servers to which redirects may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum RedirectScope {
    /// Any.
    Anywhere,
    /// The server of the first request only, as the body is secret.
    SameServer,
}

/// State that connections that give up early share with the others.
#[derive(Default)]
struct SharedConnections {
    /// HTTP clients.
    clients: Mutex<HashMap<ClientKey, HttpClient>>,
    tokens: Authorizations,
    /// Reachability of registries and mirrors, by host.
    reach: Mutex<HashMap<String, Arc<Reach>>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connections").field(&self.options).finish()
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::new(RegistryOptions::default())
    }
}

impl Connections {
    /// Creates connections with these options.
    pub fn new(options: RegistryOptions) -> Self {
        let brief_http = HttpOptions {
            attempts: 1,
            connect_timeout: options.http.connect_timeout.min(BRIEF),
            stall_timeout: options.http.stall_timeout.min(2 * BRIEF),
            ..options.http.clone()
        };
        Self { options, brief_http, gives_up_early: false, shared: Arc::default() }
    }

    /// Returns connections with the same configuration and state that give up early, for requests that
    /// the caller can do without. A registry that could not be reached before is not asked at all.
    #[must_use]
    pub fn giving_up_early(&self) -> Self {
        Self {
            options: self.options.clone(),
            brief_http: self.brief_http.clone(),
            gives_up_early: true,
            shared: Arc::clone(&self.shared),
        }
    }

    /// Notes the result of one item, such as an image, asked of a registry or mirror; `None` is a
    /// success, or a failure after an answer.
    pub(crate) fn note(&self, endpoint: &Endpoint, failure: Option<FailureKind>) -> Consequence {
        let reach = self.reach(&endpoint.host);
        match failure {
            Some(FailureKind::Local) => Consequence::Continue,
            // The short time limit may be at fault, and the next request may be one that is needed.
            Some(FailureKind::Unreachable | FailureKind::Refused)
                if self.gives_up_early && !endpoint.is_mirror =>
            {
                Consequence::Continue
            }
            Some(failure @ (FailureKind::Unreachable | FailureKind::Refused)) => {
                reach.failed(failure)
            }
            Some(failure @ FailureKind::Denied) if endpoint.is_mirror => reach.failed(failure),
            _ => {
                reach.answered();
                Consequence::Continue
            }
        }
    }

    /// Returns the options and the HTTP client for requests to a registry or mirror; an error offline, or
    /// if the registry or mirror is skipped.
    ///
    /// A mirror is skipped after three failed items in a row, or a refused connection. A registry
    /// itself is asked for each item, but gets a single short attempt as long as the last item
    /// failed: many packages may name its images.
    pub(super) fn prepare(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(&HttpOptions, HttpClient), RegistryExchangeError> {
        if self.options.offline {
            return Err(RegistryExchangeError::Offline);
        }
        let reach = self.reach(&endpoint.host);
        let is_failing = reach.is_failing();
        let is_skipped =
            if endpoint.is_mirror { reach.is_skipped() } else { self.gives_up_early && is_failing };
        if is_skipped {
            return Err(RegistryExchangeError::Skipped { host: endpoint.host.clone() });
        }
        let gives_up_early = self.gives_up_early || (is_failing && !endpoint.is_mirror);
        let http = if gives_up_early { &self.brief_http } else { &self.options.http };
        Ok((http, self.client(endpoint, http, gives_up_early, RedirectScope::Anywhere)?))
    }

    /// Returns the HTTP client for requests whose body is secret. A redirect to another server is an error:
    /// with the statuses 307 and 308 the body would go there.
    pub(super) fn prepare_secret(
        &self,
        endpoint: &Endpoint,
    ) -> Result<HttpClient, RegistryExchangeError> {
        let http = if self.gives_up_early { &self.brief_http } else { &self.options.http };
        self.client(endpoint, http, self.gives_up_early, RedirectScope::SameServer)
    }

    pub(super) fn tokens(&self) -> &Authorizations {
        &self.shared.tokens
    }

    fn reach(&self, host: &str) -> Arc<Reach> {
        let mut known = self.shared.reach.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(host.to_owned()).or_default())
    }

    /// The options.
    pub fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// Returns the registry that a reference names.
    pub(crate) fn endpoint(&self, reference: &ImageRef) -> Endpoint {
        Endpoint::of(&self.options.registries, reference)
    }

    /// Returns a repository of a registry; mirrors have no part in it.
    pub(in crate::store) fn repository(&self, host: &RegistryHost, repository: &str) -> Endpoint {
        let registries = &self.options.registries;
        Endpoint::new(registries, host.as_str(), repository.to_owned(), false)
    }

    /// Returns all places of a reference: the mirrors in their order, then the registry itself.
    pub(crate) fn endpoints(&self, reference: &ImageRef) -> Vec<Endpoint> {
        Endpoint::all(&self.options.registries, reference)
    }

    fn client(
        &self,
        endpoint: &Endpoint,
        options: &HttpOptions,
        gives_up_early: bool,
        redirects_to: RedirectScope,
    ) -> Result<HttpClient, RegistryExchangeError> {
        let key = (endpoint.ca.clone(), gives_up_early, redirects_to);
        let mut clients = self.shared.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(&key) {
            return Ok(known.clone());
        }
        let client = build(endpoint, options, redirects_to)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

fn build(
    endpoint: &Endpoint,
    options: &HttpOptions,
    redirects_to: RedirectScope,
) -> Result<HttpClient, RegistryExchangeError> {
    let refused = |reason: String| RegistryExchangeError::Refused {
        url: endpoint.url(""),
        reason: format!("the HTTP client can't be set up: {reason}"),
    };
    let builder =
        || http::builder(options).map(|builder| builder.redirect(redirects(redirects_to)));
    let Some(path) = &endpoint.ca else {
        return builder()
            .map_err(refused)?
            .build()
            // A machine without CA certificates must still be able to speak plain HTTP.
            .or_else(|error| match builder() {
                Ok(builder) => builder.tls_certs_only([]).build(),
                Err(_) => Err(error),
            })
            .map_err(|error| refused(with_causes(&error)));
    };
    let ca = |reason: String| RegistryExchangeError::Ca { path: path.clone(), reason };
    let text = fs_err::read(path).map_err(|error| ca(error.to_string()))?;
    let certificates =
        reqwest::Certificate::from_pem_bundle(&text).map_err(|error| ca(with_causes(&error)))?;
    if certificates.is_empty() {
        return Err(ca("it has no certificate in PEM".to_owned()));
    }
    let builder = builder().map_err(refused)?;
    // Beside the system's: a registry may lead to storage with a public certificate.
    builder.tls_certs_merge(certificates).build().map_err(|error| ca(with_causes(&error)))
}

/// Follows redirects, except from TLS to plain HTTP. `reqwest` keeps credentials away from other
/// hosts.
fn redirects(redirects_to: RedirectScope) -> Policy {
    Policy::custom(move |attempt| {
        let from = attempt.previous().last().map(|url| url.scheme().to_owned());
        let first = attempt.previous().first().map(reqwest::Url::origin);
        if attempt.previous().len() > MOST_REDIRECTS {
            attempt.error("it redirects in a circle")
        } else if from.as_deref() == Some("https") && attempt.url().scheme() != "https" {
            attempt.error("it redirects to plain HTTP")
        } else if redirects_to == RedirectScope::SameServer && first != Some(attempt.url().origin())
        {
            attempt.error("it redirects to another server, which must not get the token")
        } else {
            attempt.follow()
        }
    })
}
