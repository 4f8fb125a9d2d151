//! Connections to stores in clouds: sends the requests that `object_store` makes and signs.
//!
//! Redirects are not followed: a signature is for a single server. Plain HTTP is used for endpoints
//! named so in the user's own settings, and for the servers of credentials on this machine or its
//! host, but nowhere else.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Url};

use super::answer::StoreAnswer;
use super::body::{Incoming, Outgoing, Sent, collect};
use super::exchange::{CloudExchange, NotedFault, RequestFault};
use crate::base::causes::with_causes;
use crate::base::http::{HttpOptions, redact_text};

/// A request cannot be answered; the details are with the attempt.
#[derive(Debug, thiserror::Error)]
#[error("the exchange failed")]
struct Failed;

/// Connections to a store.
#[derive(Clone)]
pub(super) struct CloudWire(Arc<Inner>);

struct Inner {
    client: Client,
    /// Client for servers of credentials, without a proxy.
    direct: Client,
    endpoint: Url,
    /// Header of requests to complete an upload in parts.
    completion: Option<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for CloudWire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl CloudWire {
    /// Creates connections to a store; `ca` is a PEM file with the only trusted CAs.
    pub(super) fn new(
        endpoint: Url,
        options: &HttpOptions,
        ca: Option<&Path>,
    ) -> Result<Self, String> {
        let set_up = |reason: String| format!("the HTTP client cannot be set up: {reason}");
        let proxy = options.proxies.for_client().map_err(set_up)?;
        let builder = || {
            Client::builder()
                .proxy(proxy.clone())
                .user_agent(concat!("mkpanda/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(options.connect_timeout)
                .redirect(reqwest::redirect::Policy::none())
                .referer(false)
        };
        let broken = |error: reqwest::Error| set_up(with_causes(&error));
        let client = match ca {
            Some(path) => builder().tls_certs_only(certificates(path)?).build(),
            // A machine without CA certificates must still be able to speak plain HTTP.
            None => builder().build().or_else(|_error| builder().tls_certs_only([]).build()),
        };
        let client = client.map_err(broken)?;
        // A proxy cannot reach what lies beside this machine, and would see its credentials.
        let direct = builder().no_proxy().tls_certs_only([]).build().map_err(broken)?;
        Ok(Self(Arc::new(Inner { client, direct, endpoint, completion: None })))
    }

    /// Adds a header to requests to complete an upload in parts.
    pub(super) fn completing_with(self, name: HeaderName, value: HeaderValue) -> Self {
        let Inner { client, direct, endpoint, .. } = &*self.0;
        let (client, direct, endpoint) = (client.clone(), direct.clone(), endpoint.clone());
        Self(Arc::new(Inner { client, direct, endpoint, completion: Some((name, value)) }))
    }

    /// Chooses the client for a URL; a text if the request may not be sent.
    fn client(&self, url: &Url) -> Result<&Client, String> {
        if is_beside(url) && url.origin() != self.0.endpoint.origin() {
            return Ok(&self.0.direct);
        }
        let is_asked_for = url.origin() == self.0.endpoint.origin();
        if url.scheme() == "https" || is_asked_for {
            return Ok(&self.0.client);
        }
        Err(format!("{} would be asked over plain HTTP", server(url)))
    }

    /// Makes the outgoing request.
    fn request(
        &self,
        request: HttpRequest,
        exchange: &CloudExchange,
        sent: &Sent,
    ) -> Result<reqwest::Request, String> {
        let (parts, body) = request.into_parts();
        let url: Url =
            parts.uri.to_string().parse().map_err(|_error| "the URL is not valid".to_owned())?;
        let mut outgoing = reqwest::Request::new(parts.method, url);
        *outgoing.headers_mut() = parts.headers;
        if outgoing.method() == Method::POST {
            let has = |key| outgoing.url().query_pairs().any(|(name, _)| name == key);
            let (begins, ends) = (has("uploads"), has("uploadId"));
            if begins {
                outgoing.headers_mut().extend(exchange.upload.headers.iter().cloned());
            }
            // Here, since the crate completes an upload without a condition (`upload`).
            if let Some((name, value)) = &self.0.completion
                && ends
                && !exchange.upload.replaces
            {
                outgoing.headers_mut().insert(name.clone(), value.clone());
            }
        }
        let length = body.content_length() as u64;
        if length > 0 {
            let body = match exchange.take_content(length) {
                Some(file) => Outgoing::file(file, length, sent.clone()),
                None => Outgoing::memory(body, length, sent.clone()),
            };
            *outgoing.body_mut() = Some(reqwest::Body::wrap(body));
        }
        Ok(outgoing)
    }
}

#[async_trait::async_trait]
impl HttpService for CloudWire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let exchange = CloudExchange::current();
        let (method, sent) = (request.method().clone(), Sent::default());
        let url: Option<Url> = request.uri().to_string().parse().ok();
        let is_of_credentials =
            url.as_ref().is_none_or(|url| url.origin() != self.0.endpoint.origin());
        let shown = url.as_ref().map(server).unwrap_or_default();
        let is_list = !is_of_credentials && url.as_ref().is_some_and(asks_for_list);
        let note = |fault| {
            let server = shown.clone();
            exchange.note(NotedFault { fault, server, is_of_credentials });
            HttpError::new(HttpErrorKind::Unknown, Failed)
        };
        let outgoing = self
            .request(request, &exchange, &sent)
            .map_err(|reason| note(RequestFault::Forbidden(reason)))?;
        let client =
            self.client(outgoing.url()).map_err(|reason| note(RequestFault::Forbidden(reason)))?;
        let mut answer = pin!(client.execute(outgoing));
        let response = loop {
            let before = sent.bytes();
            match tokio::time::timeout(exchange.stall_timeout, answer.as_mut()).await {
                Ok(answer) => break answer,
                // An upload is no silence as long as bytes go out.
                Err(_) if sent.bytes() != before => {}
                Err(_) => return Err(note(RequestFault::Broken(silence(&exchange)))),
            }
        };
        let response = response.map_err(|error| {
            note(sent.take_error().map_or(RequestFault::NotSent(error), RequestFault::Content))
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        // Also for a status of success: Azure gives the object its name before its content.
        if let Some(fault) = copy_fault(&headers) {
            return Err(note(fault));
        }
        let incoming = Incoming::new(response, Arc::clone(&exchange));
        let is_streamed = exchange.is_streamed && !is_of_credentials && method == Method::GET;
        let body = if status.is_success() && is_streamed {
            exchange.succeeded();
            object_store::client::HttpResponseBody::new(incoming)
        } else {
            let body =
                collect(incoming).await.map_err(|reason| note(RequestFault::Broken(reason)))?;
            if status.is_success() && is_list && !has_list(&body) {
                return Err(note(RequestFault::Foreign("it is not a list of objects")));
            }
            if status.is_success() {
                exchange.succeeded();
            } else {
                drop(note(RequestFault::Answer(StoreAnswer::read(status, &headers, &body))));
            }
            body.into()
        };
        let mut response = HttpResponse::new(body);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

impl HttpConnector for CloudWire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

/// The fault of an object whose copy, on Azure, has not succeeded.
fn copy_fault(headers: &HeaderMap) -> Option<RequestFault> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    match text("x-ms-copy-status")? {
        "success" => None,
        "pending" => {
            Some(RequestFault::Copying(text("x-ms-copy-progress").unwrap_or_default().to_owned()))
        }
        status => {
            let description = text("x-ms-copy-status-description").unwrap_or(status);
            Some(RequestFault::NotCopied(redact_text(description)))
        }
    }
}

/// The message about a silent server.
pub(super) fn silence(exchange: &CloudExchange) -> String {
    format!("the server said nothing for {} s", exchange.stall_timeout.as_secs_f32())
}

/// Scheme, host and port of a URL.
fn server(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// True for servers of credentials beside a machine: plain HTTP on addresses beyond the reach of routers.
fn is_beside(url: &Url) -> bool {
    let Some(host) = url.host_str().filter(|_| url.scheme() == "http") else { return false };
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_link_local() || address.is_loopback(),
        // fd00:ec2::254 and fd00:ec2::23, of Amazon's machines.
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.segments()[..2] == [0xfd00, 0x0ec2]
        }
        Err(_) => ["localhost", "metadata.google.internal", "metadata"].contains(&host),
    }
}

/// True if a request asks for a list of objects.
fn asks_for_list(url: &Url) -> bool {
    url.query_pairs()
        .any(|(name, value)| name == "list-type" || (name == "comp" && value == "list"))
}

/// True if an answer has a list of objects: any other XML would read as an empty list.
fn has_list(body: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&body[..body.len().min(1024)]);
    start.contains("<ListBucketResult") || start.contains("<EnumerationResults")
}

/// Reads a PEM file of CAs.
fn certificates(path: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let text =
        fs_err::read(path).map_err(|error| format!("the CA file cannot be read: {error}"))?;
    let found = reqwest::Certificate::from_pem_bundle(&text).map_err(|error| {
        format!("{} is not a PEM file: {}", path.display(), with_causes(&error))
    })?;
    if found.is_empty() {
        return Err(format!("{} has no certificate in PEM", path.display()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_goes_to_the_named_endpoint_and_to_servers_of_credentials_alone() {
        let wire = |endpoint: &str| {
            CloudWire::new(endpoint.parse().unwrap(), &HttpOptions::default(), None).unwrap()
        };
        let may = |wire: &CloudWire, url: &str| wire.client(&url.parse().unwrap()).is_ok();
        let (plain, tls) = (wire("http://store.example:9000"), wire("https://store.example"));
        assert!(may(&plain, "http://store.example:9000/b/k") && may(&plain, "https://other/"));
        for url in ["http://store.example/b", "http://store.example:9001/b", "http://other:9000/"] {
            assert!(!may(&plain, url) && !may(&tls, url), "{url}");
        }
        for url in [
            "http://169.254.169.254/latest",
            "http://169.254.170.2/x",
            "http://[fd00:ec2::254]/latest",
            "http://metadata.google.internal/x",
            "http://localhost:50342/oauth2/token",
        ] {
            assert!(may(&tls, url), "{url}");
        }
        assert!(!may(&tls, "http://10.0.0.1/") && !may(&tls, "http://[fd00::1]/"));
    }
}
