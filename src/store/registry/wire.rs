//! Requests to one repository of a registry or mirror: credentials, attempts, the meaning of an answer.
//!
//! The first request has no credentials, unless an earlier one has got a token for the same access. A 401
//! states which credentials the registry demands (`challenge`). Credentials go to the registry itself and
//! to the token server that the registry names, over TLS unless the registry is configured as insecure, and
//! never along with a redirect to another host; a 401 of a redirect's target is not answered.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::blocking::{Body, Client, RequestBuilder};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, StatusCode, Url};

pub(super) use super::ask::{Ask, RegistryAccess};
use super::challenge::{Challenge, challenges, is_insufficient, missing_scopes};
use super::connections::Connections;
use super::error::RegistryExchangeError;
use super::host::Endpoint;
use super::reply::{message, object_name, shown};
use super::secret::Credential;
use super::token::{self, TokenRequest};
use super::transport::{RegistryFailure, Transport, basic};
use crate::base::event::{Event, Observer};
use crate::base::http::answer::{AnswerHead, HttpAnswer, wait_unless_interrupted};
use crate::base::http::retry::{bearable_wait, may_pass, waits};
use crate::store::backend::ObjectContent;

/// Connection to a registry or mirror, for a single repository. Threads share the connection by
/// reference.
pub(crate) struct RegistryWire<'a> {
    connections: &'a Connections,
    pub(super) endpoint: &'a Endpoint,
    client: Client,
    pub(super) transport: Transport<'a>,
    credential: OnceLock<Option<Credential>>,
}

impl<'a> RegistryWire<'a> {
    /// Prepares a connection; nothing is opened yet. Fails offline, and for a registry or mirror that the run
    /// has given up ([`Connections::prepare`]).
    pub(crate) fn new(
        connections: &'a Connections,
        endpoint: &'a Endpoint,
        observer: &'a dyn Observer,
    ) -> Result<Self, RegistryExchangeError> {
        let (options, client) = connections.prepare(endpoint)?;
        let transport = Transport::new(options, observer);
        Ok(Self { connections, endpoint, client, transport, credential: OnceLock::new() })
    }

    /// Returns the connection with these credentials, instead of those in the user's files.
    pub(super) fn with_credential(self, credential: Credential) -> Self {
        Self { credential: OnceLock::from(Some(credential)), ..self }
    }

    /// True if a tree has a part in the choice of this registry or mirror: images from there get no name in
    /// the store, where other trees would take them for the real ones.
    pub(crate) fn is_of_tree(&self) -> bool {
        self.endpoint.of_tree
    }

    /// Returns the same connection with another observer.
    pub(crate) fn observed_by<'b>(&'b self, observer: &'b dyn Observer) -> RegistryWire<'b> {
        RegistryWire {
            connections: self.connections,
            endpoint: self.endpoint,
            client: self.client.clone(),
            transport: self.transport.observed_by(observer),
            credential: self.credential.clone(),
        }
    }

    /// Observer of all events on the connection.
    pub(crate) fn observer(&self) -> &'a dyn Observer {
        self.transport.observer
    }

    /// Makes a request until success or a final failure; `subject` names the request in events.
    pub(super) fn ask(
        &self,
        subject: &str,
        ask: &Ask<'_>,
    ) -> Result<(AnswerHead, HttpAnswer<'a>), RegistryExchangeError> {
        self.retrying(subject, ask.url, || self.once(ask))
    }

    /// Makes attempts until success or a final failure.
    pub(super) fn retrying<T>(
        &self,
        subject: &str,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, RegistryFailure>,
    ) -> Result<T, RegistryExchangeError> {
        let mut waits = waits(self.transport.options);
        for attempts in 1.. {
            let (reason, asked) = match attempt() {
                Ok(value) => return Ok(value),
                Err(RegistryFailure::Lasting(problem)) => return Err(problem),
                Err(RegistryFailure::Passing { reason, wait }) => (reason, wait),
            };
            let Some(wait) = waits.next() else {
                return Err(RegistryExchangeError::GaveUp { url: shown(url), attempts, reason });
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
    ) -> Result<(), RegistryExchangeError> {
        self.transport.observer.event(Event::Retry { subject: subject.to_owned(), reason, wait });
        if wait_unless_interrupted(wait, self.transport.observer) {
            return Ok(());
        }
        Err(RegistryExchangeError::Interrupted)
    }

    /// Returns the waits between attempts.
    pub(super) fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        waits(self.transport.options)
    }

    /// Makes one attempt: the request, and again with credentials if the answer demands them. An answer
    /// without success is a failure.
    pub(super) fn once(
        &self,
        ask: &Ask<'_>,
    ) -> Result<(AnswerHead, HttpAnswer<'a>), RegistryFailure> {
        // By repository and scope: a token for one is not one for the other.
        let key = self.token_key(ask);
        let tokens = self.connections.tokens();
        let known = tokens.get(&key);
        let (mut head, mut answer) = self.send(ask, known.as_ref())?;
        let Some(mut demand) = self.demand(ask, &head, known.is_some())? else {
            return self.checked(ask, head, answer);
        };
        tokens.forget(&key);
        let mut scopes = self.scopes(ask);
        // The second round adds the scopes that, by the registry's answer, the token of the first lacks.
        for _ in 0..2 {
            let authorization = self.authorization(&demand, &scopes)?;
            (head, answer) = self.send(ask, Some(&authorization))?;
            let asked = challenges(&head.headers);
            let more = missing_scopes(&asked, &scopes);
            let is_refused = head.status == StatusCode::UNAUTHORIZED
                || (head.status == StatusCode::FORBIDDEN && asked.iter().any(is_insufficient));
            if !is_refused {
                tokens.keep(key, authorization);
                break;
            }
            if more.is_empty() {
                break;
            }
            scopes.extend(more);
            demand = asked;
        }
        self.checked(ask, head, answer)
    }

    /// Returns the challenges if an answer demands credentials, or more than those that were sent; else
    /// `None`.
    ///
    /// Some registries state their demand at `/v2/` alone, which docker asks first, and answer other requests
    /// with a 401 without a challenge, or with 403 or 404. So `/v2/` is asked then, after 403 and 404 only if
    /// the user has credentials.
    fn demand(
        &self,
        ask: &Ask<'_>,
        head: &AnswerHead,
        was_given: bool,
    ) -> Result<Option<Vec<Challenge>>, RegistryFailure> {
        if !self.is_ours(ask.url, &head.url) {
            return Ok(None);
        }
        let asked = challenges(&head.headers);
        match head.status {
            StatusCode::UNAUTHORIZED if !asked.is_empty() => return Ok(Some(asked)),
            StatusCode::FORBIDDEN if asked.iter().any(is_insufficient) => return Ok(Some(asked)),
            StatusCode::UNAUTHORIZED => {}
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if !was_given => {
                if self.credential()?.is_none() {
                    return Ok(None);
                }
            }
            _ => return Ok(None),
        }
        let base = self.endpoint.base();
        if self.connections.tokens().is_open(&base) {
            return Ok(None);
        }
        let (greeting, _answer) =
            self.send(&Ask::new(Method::GET, &base, RegistryAccess::Pull), None)?;
        let asked = challenges(&greeting.headers);
        let is_ours = self.is_ours(&base, &greeting.url);
        if greeting.status == StatusCode::UNAUTHORIZED && is_ours && !asked.is_empty() {
            return Ok(Some(asked));
        }
        if greeting.status.is_success() {
            self.connections.tokens().keep_open(base);
        }
        // With a challenge that is not understood, the list is empty: then the error says so. A 401 without
        // any challenge is an ordinary refusal.
        let has_challenge = head.headers.contains_key(WWW_AUTHENTICATE);
        Ok(has_challenge.then_some(asked).filter(|_| head.status == StatusCode::UNAUTHORIZED))
    }

    fn token_key(&self, ask: &Ask<'_>) -> (String, String) {
        (self.endpoint.url(""), self.scopes(ask).join(" "))
    }

    /// Returns the scopes that a token for the request needs.
    fn scopes(&self, ask: &Ask<'_>) -> Vec<String> {
        let actions = match ask.access {
            RegistryAccess::Pull => "pull",
            RegistryAccess::Push => "pull,push",
            RegistryAccess::Delete => "pull,push,delete",
        };
        if self.endpoint.repository.is_empty() {
            // Signing in needs no permission.
            return Vec::new();
        }
        let own = format!("repository:{}:{actions}", self.endpoint.repository);
        let also = ask.also.map(|other| format!("repository:{other}:pull"));
        [own].into_iter().chain(also).collect()
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
        authorization: Option<&HeaderValue>,
    ) -> Result<(AnswerHead, HttpAnswer<'a>), RegistryFailure> {
        let mut request = self
            .client
            .request(ask.method.clone(), ask.url)
            .headers(ask.headers.clone())
            .header(ACCEPT_ENCODING, "identity");
        // The registry may send an upload to another host, which must not get the credentials.
        let own = Url::parse(ask.url).is_ok_and(|url| self.is_ours(ask.url, &url));
        if let Some(authorization) = authorization.filter(|_| own) {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        match ask.body {
            None => self.transport.exchange(request),
            Some(ObjectContent::Bytes(bytes)) => {
                self.transport.exchange(request.body(bytes.to_vec()))
            }
            Some(ObjectContent::File(path, size)) => {
                let file = fs_err::File::open(path).map_err(RegistryExchangeError::ReadFile)?;
                let length = file.metadata().map_err(RegistryExchangeError::ReadFile)?.len();
                if length < size {
                    let text = format!("{} has {length} of {size} bytes", path.display());
                    let error = io::Error::new(io::ErrorKind::UnexpectedEof, text);
                    return Err(RegistryExchangeError::ReadFile(error).into());
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
    ) -> Result<(AnswerHead, HttpAnswer<'a>), RegistryFailure> {
        // The client's timeout includes sending the whole body. Here the timeout grows with the size: an
        // upload may be as slow as `SLOWEST_RATE`, and a stuck connection still ends.
        let slowest = Duration::from_secs(size / SLOWEST_RATE);
        let timeout = self.transport.options.stall_timeout + slowest;
        self.transport.exchange(request.timeout(timeout).body(Body::sized(file.take(size), size)))
    }

    /// Returns successful answers, and classifies all others.
    fn checked(
        &self,
        ask: &Ask<'_>,
        head: AnswerHead,
        answer: HttpAnswer<'a>,
    ) -> Result<(AnswerHead, HttpAnswer<'a>), RegistryFailure> {
        let status = head.status;
        if status.is_success() {
            return Ok((head, answer));
        }
        let host = self.endpoint.host.clone();
        let what = || object_name(ask.url);
        Err(match status {
            StatusCode::UNAUTHORIZED => self.unauthorized(message(&answer))?.into(),
            StatusCode::FORBIDDEN => {
                RegistryExchangeError::Denied { host, message: message(&answer) }.into()
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                RegistryExchangeError::NotFound { what: what(), message: message(&answer) }.into()
            }
            status if may_pass(status) => match bearable_wait(&head.headers) {
                Err(wait) => RegistryExchangeError::TooMany { host, wait }.into(),
                Ok(wait) => {
                    let words = message(&answer);
                    let words = if words.is_empty() { words } else { format!(": {words}") };
                    RegistryFailure::Passing {
                        reason: format!("{host} answers {status}{words}"),
                        wait,
                    }
                }
            },
            status => {
                let url = shown(head.url.as_str());
                RegistryExchangeError::Status { url, status, message: message(&answer) }.into()
            }
        })
    }

    fn unauthorized(
        &self,
        message: String,
    ) -> Result<RegistryExchangeError, RegistryExchangeError> {
        let given = self.credential()?.is_some();
        Ok(RegistryExchangeError::Unauthorized { host: self.endpoint.host.clone(), given, message })
    }

    fn credential(&self) -> Result<Option<&Credential>, RegistryExchangeError> {
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

    /// Returns the `Authorization` header that answers the challenges: a token of the token server, or user
    /// and password.
    fn authorization(
        &self,
        asked: &[Challenge],
        scopes: &[String],
    ) -> Result<HeaderValue, RegistryFailure> {
        let host = || self.endpoint.host.clone();
        let challenge = |reason| RegistryExchangeError::Challenge { host: host(), reason };
        // Tokens before passwords, which would otherwise go out with each request.
        let bearer = asked.iter().find(|asked| matches!(asked, Challenge::Bearer { .. }));
        if let Some(Challenge::Bearer { realm, service, .. }) = bearer {
            let url = Url::parse(realm)
                .map_err(|_error| challenge("names a token server that is not a valid URL"))?;
            let fits =
                url.scheme() == "https" || (self.endpoint.insecure && url.scheme() == "http");
            if !fits {
                return Err(challenge("would have the credentials sent unencrypted").into());
            }
            let request = TokenRequest {
                url,
                service: service.as_deref(),
                scopes: scopes.iter().map(String::as_str).collect(),
                credential: self.credential()?,
                host: &self.endpoint.host,
            };
            let client = match request.credential {
                Some(Credential::Identity(_)) => &self.connections.prepare_secret(self.endpoint)?,
                _ => &self.client,
            };
            return token::fetch(&self.transport, client, &request);
        }
        match (asked.contains(&Challenge::Basic), self.credential()?) {
            (true, Some(Credential::Password { user, password })) => {
                Ok(basic(user, password).ok_or_else(|| challenge("takes a name and a password, and theirs have characters that HTTP cannot send so"))?)
            }
            (true, Some(Credential::Identity(_))) => {
                Err(challenge("takes a name and a password, and there is only a token for it").into())
            }
            (true, None) => Err(self.unauthorized(String::new())?.into()),
            (false, _) => Err(challenge("asks for credentials of a kind that mkpanda does not support").into()),
        }
    }
}

/// Lower limit of an upload's rate, in bytes per second.
const SLOWEST_RATE: u64 = 8 << 10;
