//! Tokens of a registry's token server, by name and password, by an identity token, or anonymous
//! (distribution's "token authentication").

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use reqwest::blocking::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{StatusCode, Url};
use serde::Deserialize;

use super::error::RegistryExchangeError;
use super::reply::{ReadAll, message, read_all, shown};
use super::secret::Credential;
use super::transport::{RegistryFailure, Transport, basic, secret_header};
use crate::base::http::retry::{bearable_wait, may_pass};
use crate::base::secret::Secret;

const LONGEST_ANSWER: u64 = 1 << 20;

/// Request for a token.
pub(super) struct TokenRequest<'r> {
    pub(super) url: Url,
    pub(super) service: Option<&'r str>,
    pub(super) scopes: Vec<&'r str>,
    pub(super) credential: Option<&'r Credential>,
    /// The registry that the token is for.
    pub(super) host: &'r str,
}

#[derive(Deserialize)]
struct GrantedToken {
    token: Option<String>,
    access_token: Option<String>,
}

/// Headers that a registry has accepted, by URL of the repository and scope; and the registries that
/// demand none at `/v2/`.
#[derive(Debug, Default)]
pub(super) struct Authorizations(
    Mutex<HashMap<(String, String), HeaderValue>>,
    Mutex<HashSet<String>>,
);

impl Authorizations {
    pub(super) fn get(&self, key: &(String, String)) -> Option<HeaderValue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    pub(super) fn keep(&self, key: (String, String), authorization: HeaderValue) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, authorization);
    }

    /// Notes that a registry demands nothing at the URL of `/v2/`.
    pub(super) fn keep_open(&self, base: String) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).insert(base);
    }

    pub(super) fn is_open(&self, base: &str) -> bool {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).contains(base)
    }

    pub(super) fn forget(&self, key: &(String, String)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Gets a token from the token server.
pub(super) fn fetch(
    transport: &Transport<'_>,
    client: &Client,
    request: &TokenRequest<'_>,
) -> Result<HeaderValue, RegistryFailure> {
    let mut url = request.url.clone();
    let protocol = |reason: &str| {
        let (url, reason) = (shown(request.url.as_str()), reason.to_owned());
        RegistryFailure::from(RegistryExchangeError::Protocol { url, reason })
    };
    let built = match request.credential {
        Some(Credential::Identity(token)) => {
            let form = identity_form(request, token);
            client.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
        }
        other => {
            {
                let mut query = url.query_pairs_mut();
                if let Some(service) = request.service {
                    query.append_pair("service", service);
                }
                for scope in &request.scopes {
                    query.append_pair("scope", scope);
                }
            }
            let built = client.get(url);
            match other {
                Some(Credential::Password { user, password }) => {
                    let header = basic(user, password);
                    let header = header.ok_or_else(|| protocol("the password can't be sent"))?;
                    built.header(AUTHORIZATION, header)
                }
                _ => built,
            }
        }
    };
    let (head, answer) = transport.exchange(built)?;
    match head.status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => {
            let host = request.host.to_owned();
            let given = request.credential.is_some();
            let message = message(&answer);
            return Err(RegistryExchangeError::Unauthorized { host, given, message }.into());
        }
        status if may_pass(status) => {
            let too_many =
                |wait| RegistryExchangeError::TooMany { host: request.host.to_owned(), wait };
            let wait = bearable_wait(&head.headers).map_err(too_many)?;
            return Err(RegistryFailure::Passing {
                reason: format!("its token server answers {status}"),
                wait,
            });
        }
        status => {
            let words = message(&answer);
            let words = if words.is_empty() { words } else { format!(": {words}") };
            return Err(protocol(&format!("the token server answers {status}{words}")));
        }
    }
    let bytes = read_all(&answer, LONGEST_ANSWER).map_err(|problem| match problem {
        ReadAll::Broken(broken) => transport.broken(broken),
        ReadAll::TooLong(_) => protocol("the token server's answer is too long"),
    })?;
    // The parser's words would quote the token.
    let given: GrantedToken = serde_json::from_slice(&bytes)
        .map_err(|_error| protocol("the token server answers with something else than a token"))?;
    // Servers fill either of them, or both.
    let token = [given.token, given.access_token].into_iter().flatten().find(|it| !it.is_empty());
    token
        .and_then(|token| secret_header(&format!("Bearer {token}")))
        .ok_or_else(|| protocol("the token server answers without a token"))
}

fn identity_form(request: &TokenRequest<'_>, token: &Secret) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    // "OAuth2 Token Authentication" of the distribution project: an identity token is a refresh
    // token.
    form.append_pair("grant_type", "refresh_token");
    form.append_pair("service", request.service.unwrap_or_default());
    form.append_pair("scope", &request.scopes.join(" "));
    form.append_pair("client_id", "mkpanda");
    form.append_pair("refresh_token", token.reveal());
    form.finish()
}
