//! Fetching files over HTTP, with retries and resumption.
//!
//! A download goes into a temporary file opened by the caller, and is resumed only if the server
//! proves that the bytes are the same: `Range` with `If-Range`, answered by a 206 with a matching
//! `Content-Range`. Otherwise the download starts over. Transient failures are retried:
//! connections, stalls, short bodies, 408, 425, 429 and 5xx; an attempt with substantial progress
//! does not count. A refused first connection fails at once; a later refusal may mean that the
//! server is restarting. URLs are shown without credentials.
//!
//! Proxies are the caller's ([`Proxies`]), certificates come from the system or from `SSL_CERT_FILE` and
//! `SSL_CERT_DIR`, which `rustls` reads itself.
//! The client blocks: it may not be called from asynchronous code.

pub(crate) mod answer;
mod error;
mod exchange;
mod login;
mod netrc;
mod part;
mod proxy;
mod redirect;
pub(crate) mod retry;
mod transfer;
mod url;

#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::blocking::{Client, ClientBuilder};

use super::causes::with_causes;
use super::event::Observer;
use super::memory_file::memory_file;
pub use error::HttpError;
pub use login::HttpLogin;
use netrc::Netrc;
pub use proxy::Proxies;
pub use url::{redact, redact_place, redact_text};

/// Options for downloads.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Number of attempts without progress before a download fails; at least one.
    pub attempts: u32,
    /// Time limit for establishing a connection.
    pub connect_timeout: Duration,
    /// Time limit for a silent server.
    pub stall_timeout: Duration,
    /// Delay before the second attempt, doubled for each further one.
    pub first_wait: Duration,
    /// The longest wait between two attempts.
    pub longest_wait: Duration,
    /// Size limit for a file.
    pub max_bytes: u64,
    /// Credentials by servers' names, in lower case and without ports.
    pub logins: BTreeMap<String, HttpLogin>,
    /// File with credentials by server name (`~/.netrc`), of lower priority.
    pub netrc: Option<PathBuf>,
    /// The proxies.
    pub proxies: Proxies,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            attempts: 5,
            connect_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
            max_bytes: 64 << 30,
            logins: BTreeMap::new(),
            netrc: None,
            proxies: Proxies::default(),
        }
    }
}

/// Client that is made once, on first use: its copies share connections.
#[derive(Clone)]
pub struct HttpClient(Arc<Inner>);

struct Inner {
    options: HttpOptions,
    client: OnceLock<Result<BuiltClient, String>>,
    netrc: OnceLock<Netrc>,
}

struct BuiltClient {
    client: Client,
    /// Reason why no CA is known, if any.
    no_authorities: Option<String>,
}

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpClient").field(&self.0.options).finish()
    }
}

impl Default for HttpClient {
    fn default() -> Self {
        Self::new(HttpOptions::default())
    }
}

/// Result of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// Size of the file in bytes.
    pub bytes: u64,
    /// True if the file consists of several responses' parts.
    pub resumed: bool,
    /// True if the server did not say where the file ends, so that a closed connection may have cut it off.
    pub may_be_short: bool,
}

impl HttpClient {
    /// A client with these options; nothing is opened or read yet.
    pub fn new(options: HttpOptions) -> Self {
        Self(Arc::new(Inner { options, client: OnceLock::new(), netrc: OnceLock::new() }))
    }

    /// Options of the client.
    pub fn options(&self) -> &HttpOptions {
        &self.0.options
    }

    /// Downloads `url` into `to`, which is truncated first. `subject` is the name in events.
    pub fn download(
        &self,
        url: &str,
        subject: &str,
        to: &mut File,
        observer: &dyn Observer,
    ) -> Result<Downloaded, HttpError> {
        self.transfer(url, subject, to, &self.0.options, observer)
    }

    /// Downloads as [`HttpClient::download`] does, a file of at most so many bytes.
    pub fn download_within(
        &self,
        url: &str,
        subject: &str,
        longest: u64,
        to: &mut File,
        observer: &dyn Observer,
    ) -> Result<Downloaded, HttpError> {
        let max_bytes = longest.min(self.0.options.max_bytes);
        let options = HttpOptions { max_bytes, ..self.0.options.clone() };
        self.transfer(url, subject, to, &options, observer)
    }

    /// Downloads a small document into memory: at most `max_bytes`.
    pub fn get(
        &self,
        url: &str,
        subject: &str,
        max_bytes: u64,
        observer: &dyn Observer,
    ) -> Result<Vec<u8>, HttpError> {
        let store = |error| HttpError::Store { url: redact(url), error };
        let mut file = memory_file().map_err(store)?;
        let options = HttpOptions { max_bytes, ..self.0.options.clone() };
        self.transfer(url, subject, &mut file, &options, observer)?;
        let mut content = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut content)).map_err(store)?;
        Ok(content)
    }

    /// Asks for the size of a file in bytes; `None` if the server does not tell.
    pub fn size(
        &self,
        url: &str,
        subject: &str,
        observer: &dyn Observer,
    ) -> Result<Option<u64>, HttpError> {
        self.exchange(url, subject, &self.0.options, observer, part::size)
    }

    /// Writes a part of a file to `to`, and returns the number of its bytes: fewer than the range has,
    /// or none, where the file ends before.
    pub fn part(
        &self,
        url: &str,
        subject: &str,
        range: std::ops::Range<u64>,
        to: &mut dyn io::Write,
        observer: &dyn Observer,
    ) -> Result<u64, HttpError> {
        if range.is_empty() {
            return Ok(0);
        }
        self.exchange(url, subject, &self.0.options, observer, |exchange| {
            part::PartDownload::new(exchange, range, to).run()
        })
    }

    fn transfer(
        &self,
        url: &str,
        subject: &str,
        to: &mut File,
        options: &HttpOptions,
        observer: &dyn Observer,
    ) -> Result<Downloaded, HttpError> {
        self.exchange(url, subject, options, observer, |exchange| {
            transfer::HttpTransfer::new(exchange, to).run()
        })
    }

    /// Credentials of the user's for a server, where the URL has none. They go out over TLS, or to this
    /// machine: a tree chooses URLs, and would have a password sent in clear.
    fn login(&self, url: &reqwest::Url) -> Option<&HttpLogin> {
        let host = url.host_str()?;
        let is_loopback = host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        // A proxy for plain HTTP sees what goes to this machine.
        let is_here = is_loopback && self.0.options.proxies.of(url).is_none();
        if !url.username().is_empty()
            || url.password().is_some()
            || !(url.scheme() == "https" || is_here)
        {
            return None;
        }
        if let Some(login) = self.0.options.logins.get(host) {
            return Some(login);
        }
        let file = self.0.options.netrc.as_ref()?;
        let read = || Netrc::parse(&fs_err::read_to_string(file).unwrap_or_default());
        self.0.netrc.get_or_init(read).of(host)
    }

    fn exchange<T>(
        &self,
        url: &str,
        subject: &str,
        options: &HttpOptions,
        observer: &dyn Observer,
        work: impl FnOnce(&exchange::HttpExchange<'_>) -> Result<T, HttpError>,
    ) -> Result<T, HttpError> {
        let parsed = url::parse(url)?;
        // On first use, since it reads all certificates of the system.
        let built = self.0.client.get_or_init(|| build(&self.0.options));
        let built = built.as_ref().map_err(|reason| HttpError::Refused {
            url: redact(url),
            reason: format!("the HTTP client can't be set up: {reason}"),
        })?;
        let login = self.login(&parsed);
        let client = &built.client;
        let exchange =
            exchange::HttpExchange::new(client, parsed, login, subject, options, observer);
        work(&exchange).map_err(|error| match (error, &built.no_authorities) {
            (HttpError::Refused { url, reason }, Some(why)) if reason.contains("certificate") => {
                HttpError::Refused { url, reason: format!("{reason} ({why})") }
            }
            (error, _) => error,
        })
    }
}

/// Makes a client's builder; fails if a proxy variable is not valid.
pub(crate) fn builder(options: &HttpOptions) -> Result<ClientBuilder, String> {
    // The blocking client's timeout is one for each wait, not for the whole transfer.
    Ok(Client::builder()
        .proxy(options.proxies.for_client()?)
        .user_agent(concat!("mkpanda/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .timeout(options.stall_timeout)
        // A referer would show the next server the URL before, whose query may be a secret.
        .referer(false))
}

fn build(options: &HttpOptions) -> Result<BuiltClient, String> {
    // An exchange follows redirects itself: it keeps the cookies of one chain.
    let builder = || Ok::<_, String>(builder(options)?.redirect(reqwest::redirect::Policy::none()));
    let built = |client, no_authorities| BuiltClient { client, no_authorities };
    builder()?.build().map(|client| built(client, None)).or_else(|first| {
        // A machine without CA certificates must still be able to speak plain HTTP.
        let first = with_causes(&first);
        tracing::warn!(error = first, "no TLS with the system's certificates");
        let plain = builder()?.tls_certs_only([]).build();
        plain.map(|client| built(client, Some(first))).map_err(|error| with_causes(&error))
    })
}
