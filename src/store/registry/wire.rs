//! Requests to one repository of a registry or mirror: credentials, attempts, the meaning of an answer.
//!
//! The first request has no credentials, unless the demand of the registry is known; a 401 states the
//! demand (`challenge`). Credentials go to the registry itself and to the token server that the registry
//! names, over TLS if the registry is spoken to over TLS, and never along with a redirect to another
//! host; a 401 of a redirect's target is not answered.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::blocking::{Body, Client, RequestBuilder};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};

use super::challenge::{self, Challenge};
use super::connections::Connections;
use super::error::ExchangeError;
use super::host::Endpoint;
use super::reply::{message, shown, what};
use super::secret::Credential;
use super::token::{self, TokenRequest};
use super::transport::{Failure, Transport, basic};
use crate::base::event::{Event, Observer};
use crate::base::http::answer::{Answer, Head, wait_unless_interrupted};
use crate::base::http::retry::{LONGEST_REQUESTED_WAIT, may_pass, retry_after, waits};
use crate::store::backend::Content;

/// Permission that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    Pull,
    Push,
    Delete,
}

/// One request.
pub(super) struct Ask<'r> {
    pub(super) method: Method,
    pub(super) url: &'r str,
    pub(super) access: Access,
    /// Another repository of the registry that has to be readable, too.
    pub(super) also: Option<&'r str>,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Content<'r>>,
}

impl<'r> Ask<'r> {
    /// Returns a request without headers and body.
    pub(super) fn new(method: Method, url: &'r str, access: Access) -> Self {
        Self { method, url, access, also: None, headers: HeaderMap::new(), body: None }
    }
}

/// A connection to one registry or mirror, for one repository. Threads share it by reference.
pub(crate) struct Wire<'a> {
    connections: &'a Connections,
    pub(super) endpoint: &'a Endpoint,
    client: Client,
    pub(super) transport: Transport<'a>,
    credential: OnceLock<Option<Credential>>,
}

impl<'a> Wire<'a> {
    /// Prepares a connection, unless the place is not asked any more; nothing is opened yet.
    pub(crate) fn new(
        connections: &'a Connections,
        endpoint: &'a Endpoint,
        observer: &'a dyn Observer,
    ) -> Result<Self, ExchangeError> {
        let (options, client) = connections.prepare(endpoint)?;
        let transport = Transport::new(options, observer);
        Ok(Self { connections, endpoint, client, transport, credential: OnceLock::new() })
    }

    /// True if the place is one that a tree names: its word must not give an image the plain name.
    pub(crate) fn is_of_tree(&self) -> bool {
        self.endpoint.of_tree
    }

    /// Returns the same connection with another observer.
    pub(crate) fn observed_by<'b>(&'b self, observer: &'b dyn Observer) -> Wire<'b> {
        Wire {
            connections: self.connections,
            endpoint: self.endpoint,
            client: self.client.clone(),
            transport: self.transport.observed_by(observer),
            credential: self.credential.clone(),
        }
    }

    /// The observer of all that happens on the connection.
    pub(crate) fn observer(&self) -> &'a dyn Observer {
        self.transport.observer
    }

    /// Makes a request until success or a final failure; `subject` names the request in events.
    pub(super) fn ask(
        &self,
        subject: &str,
        ask: &Ask<'_>,
    ) -> Result<(Head, Answer<'a>), ExchangeError> {
        self.retrying(subject, ask.url, || self.once(ask))
    }

    /// Makes attempts until success or a final failure.
    pub(super) fn retrying<T>(
        &self,
        subject: &str,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, ExchangeError> {
        let mut waits = waits(self.transport.options);
        for attempts in 1.. {
            let (reason, asked) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Failure::Lasting(problem)) => return Err(problem),
                Err(Failure::Passing { reason, wait }) => (reason, wait),
            };
            let Some(wait) = waits.next() else {
                return Err(ExchangeError::GaveUp { url: shown(url), attempts, reason });
            };
            self.pause(subject, reason, wait.max(asked.unwrap_or_default()))?;
        }
        unreachable!("attempts are counted without end")
    }

    /// Waits before the next attempt, unless the run is over.
    pub(super) fn pause(
        &self,
        subject: &str,
        reason: String,
        wait: Duration,
    ) -> Result<(), ExchangeError> {
        self.transport.observer.event(Event::Retry { subject: subject.to_owned(), reason, wait });
        if wait_unless_interrupted(wait, self.transport.observer) {
            return Ok(());
        }
        Err(ExchangeError::Interrupted)
    }

    /// Returns the waits between attempts.
    pub(super) fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        waits(self.transport.options)
    }

    /// Makes a request once, and once more where credentials are demanded. An answer without success
    /// is a failure.
    pub(super) fn once(&self, ask: &Ask<'_>) -> Result<(Head, Answer<'a>), Failure> {
        let key = self.token_key(ask);
        let known = self.connections.tokens().get(&key);
        let (head, answer) = self.send(ask, known.as_ref())?;
        if head.status != StatusCode::UNAUTHORIZED || !self.is_ours(ask.url, &head.url) {
            return self.checked(ask, head, answer);
        }
        self.connections.tokens().forget(&key);
        let proof = self.prove(ask, &head.headers)?;
        let (head, answer) = self.send(ask, Some(&proof))?;
        if head.status == StatusCode::UNAUTHORIZED {
            return Err(self.unauthorized()?.into());
        }
        self.connections.tokens().keep(key, proof);
        self.checked(ask, head, answer)
    }

    fn token_key(&self, ask: &Ask<'_>) -> (String, String) {
        (self.endpoint.url(""), self.scope(ask))
    }

    fn scope(&self, ask: &Ask<'_>) -> String {
        let actions = match ask.access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
            Access::Delete => "pull,push,delete",
        };
        let own = format!("repository:{}:{actions}", self.endpoint.repository);
        ask.also.map_or(own.clone(), |other| format!("{own} repository:{other}:pull"))
    }

    /// True if an answer comes from the registry itself and not from a redirect's target.
    fn is_ours(&self, asked: &str, answered: &Url) -> bool {
        let asked = Url::parse(asked).map(|url| url.origin());
        let own = Url::parse(&self.endpoint.url("")).map(|url| url.origin());
        asked == own && own == Ok(answered.origin())
    }

    fn send(
        &self,
        ask: &Ask<'_>,
        proof: Option<&HeaderValue>,
    ) -> Result<(Head, Answer<'a>), Failure> {
        let mut request = self
            .client
            .request(ask.method.clone(), ask.url)
            .headers(ask.headers.clone())
            .header(ACCEPT_ENCODING, "identity");
        // An upload may have to go elsewhere.
        let own = Url::parse(ask.url).is_ok_and(|url| self.is_ours(ask.url, &url));
        if let Some(proof) = proof.filter(|_| own) {
            request = request.header(AUTHORIZATION, proof.clone());
        }
        match ask.body {
            None => self.transport.exchange(request),
            Some(Content::Bytes(bytes)) => self.transport.exchange(request.body(bytes.to_vec())),
            Some(Content::File(path, size)) => {
                let file = fs_err::File::open(path).map_err(ExchangeError::ReadFile)?;
                let length = file.metadata().map_err(ExchangeError::ReadFile)?.len();
                if length < size {
                    let text = format!("{} has {length} of {size} bytes", path.display());
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
                    return Err(ExchangeError::ReadFile(error).into());
                }
                self.upload(request, file.into_file(), size)
            }
        }
    }

    fn upload(
        &self,
        request: RequestBuilder,
        file: File,
        size: u64,
    ) -> Result<(Head, Answer<'a>), Failure> {
        // The client's timeout would be one for the whole of it. A connection that doesn't take
        // bytes any more ends by the slowest rate that is any good.
        let slowest = Duration::from_secs(size / SLOWEST_RATE);
        let timeout = self.transport.options.stall_timeout + slowest;
        self.transport.exchange(request.timeout(timeout).body(Body::sized(file.take(size), size)))
    }

    /// Returns successful answers, and classifies all others.
    fn checked(
        &self,
        ask: &Ask<'_>,
        head: Head,
        answer: Answer<'a>,
    ) -> Result<(Head, Answer<'a>), Failure> {
        let status = head.status;
        if status.is_success() {
            return Ok((head, answer));
        }
        let host = self.endpoint.host.clone();
        let what = || what(ask.url);
        Err(match status {
            StatusCode::UNAUTHORIZED => self.unauthorized()?.into(),
            StatusCode::FORBIDDEN => {
                ExchangeError::Denied { host, message: message(&answer) }.into()
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                ExchangeError::NotFound { what: what() }.into()
            }
            status if may_pass(status) => match retry_after(&head.headers) {
                Some(wait) if wait > LONGEST_REQUESTED_WAIT => {
                    ExchangeError::TooMany { host, wait }.into()
                }
                wait => Failure::Passing { reason: format!("{host} answers {status}"), wait },
            },
            status => {
                let url = shown(head.url.as_str());
                ExchangeError::Status { url, status, message: message(&answer) }.into()
            }
        })
    }

    fn unauthorized(&self) -> Result<ExchangeError, ExchangeError> {
        let given = self.credential()?.is_some();
        Ok(ExchangeError::Unauthorized { host: self.endpoint.host.clone(), given })
    }

    fn credential(&self) -> Result<Option<&Credential>, ExchangeError> {
        if let Some(known) = self.credential.get() {
            return Ok(known.as_ref());
        }
        let Endpoint { host, repository, .. } = self.endpoint;
        let found = self.connections.options().credentials.find(
            host,
            repository,
            self.transport.observer,
        )?;
        Ok(self.credential.get_or_init(|| found).as_ref())
    }

    /// Gets the credentials that a 401 demands.
    fn prove(&self, ask: &Ask<'_>, headers: &HeaderMap) -> Result<HeaderValue, Failure> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter();
        let asked: Vec<Challenge> =
            texts.filter_map(|text| text.to_str().ok()).flat_map(challenge::parse).collect();
        let host = || self.endpoint.host.clone();
        let challenge = |reason| ExchangeError::Challenge { host: host(), reason };
        let bearer = asked.iter().find(|asked| matches!(asked, Challenge::Bearer { .. }));
        if let Some(Challenge::Bearer { realm, service }) = bearer {
            let url = Url::parse(realm).map_err(|_error| challenge("names no URL of a server"))?;
            let fits =
                url.scheme() == "https" || (self.endpoint.insecure && url.scheme() == "http");
            if !fits {
                return Err(challenge("would send them unencrypted").into());
            }
            // What the registry says is a part of this at the most.
            let scope = self.scope(ask);
            let request = TokenRequest {
                url,
                service: service.as_deref(),
                scopes: scope.split(' ').collect(),
                credential: self.credential()?,
                host: &self.endpoint.host,
            };
            return token::fetch(&self.transport, &self.client, &request);
        }
        match (asked.contains(&Challenge::Basic), self.credential()?) {
            (true, Some(Credential::Password { user, password })) => {
                Ok(basic(user, password).ok_or_else(|| challenge("their letters don't allow"))?)
            }
            (true, Some(Credential::Identity(_))) => {
                Err(challenge("takes no token, which is all that there is").into())
            }
            (true, None) => Err(self.unauthorized()?.into()),
            (false, _) => Err(challenge("this client doesn't know").into()),
        }
    }
}

/// Slowest rate of an upload that is waited for, in bytes per second.
const SLOWEST_RATE: u64 = 8 << 10;
