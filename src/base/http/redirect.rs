//! Redirects of a transfer: their targets, and the cookies set on the way.
//!
//! Download pages often set a cookie and redirect the client; without the cookie the chain never
//! ends. Cookies (RFC 6265) live as long as a redirect chain, and are sent to matching servers. A
//! cookie's `Domain` must be a parent of the server's name with a dot inside. Credentials go to the
//! first server only.

use std::net::IpAddr;

use reqwest::Url;
use reqwest::header::{HeaderMap, LOCATION, SET_COOKIE};

use super::url::redact;

/// Number of redirects that are followed, as the original's client does.
pub(super) const MOST_REDIRECTS: usize = 30;
/// Upper limits of a chain's cookies: their number, and the bytes of each.
const MOST_COOKIES: usize = 100;
const LONGEST_COOKIE: usize = 4096;

/// Returns the target of a redirect; `None` for other responses.
pub(super) fn target(from: &Url, status: u16, headers: &HeaderMap) -> Option<Result<Url, String>> {
    if !matches!(status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = headers.get(LOCATION)?;
    // Servers write UTF-8 there as it stands.
    let location = String::from_utf8_lossy(location.as_bytes());
    let mut to = match from.join(location.trim()) {
        Ok(to) => to,
        Err(error) => {
            let shown = redact(location.trim());
            return Some(Err(format!(
                "the server leads to {shown:?}, which is not a URL: {error}"
            )));
        }
    };
    if !matches!(to.scheme(), "http" | "https") {
        let shown = redact(to.as_str());
        return Some(Err(format!(
            "the server leads to {shown}, which is not followed: only http and https are"
        )));
    }
    // RFC 9110, 10.2.2: a target without a fragment inherits that of the URL before.
    if to.fragment().is_none() {
        to.set_fragment(from.fragment());
    }
    Some(Ok(to))
}

/// True if credentials for one URL are for the other, too.
pub(super) fn is_same_server(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// Cookies of a redirect chain.
#[derive(Debug, Default)]
pub(super) struct Cookies(Vec<Cookie>);

#[derive(Debug, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    domain: String,
    /// True if servers below the domain get the cookie, too.
    has_subdomains: bool,
    path: String,
    is_secure: bool,
}

impl Cookies {
    /// Stores the cookies of a response.
    pub(super) fn take(&mut self, url: &Url, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let Ok(text) = header.to_str() else { continue };
            let Some((cookie, is_removed)) = Cookie::parse(url, text) else { continue };
            self.0.retain(|known| {
                (&known.name, &known.domain, &known.path)
                    != (&cookie.name, &cookie.domain, &cookie.path)
            });
            if !is_removed && self.0.len() < MOST_COOKIES {
                self.0.push(cookie);
            }
        }
    }

    /// The header for a request, if any cookie is for it; longer paths come first (RFC 6265 5.4).
    pub(super) fn header(&self, url: &Url) -> Option<String> {
        let mut fitting: Vec<&Cookie> = self.0.iter().filter(|cookie| cookie.is_for(url)).collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> =
            fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

impl Cookie {
    /// Parses `Set-Cookie` (RFC 6265 5.2 and 5.3); also returns true if the cookie is deleted.
    fn parse(url: &Url, text: &str) -> Option<(Self, bool)> {
        if text.len() > LONGEST_COOKIE {
            return None;
        }
        let host = url.host_str()?;
        let mut parts = text.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let mut cookie = Self {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            domain: host.to_owned(),
            has_subdomains: false,
            path: default_path(url).to_owned(),
            is_secure: false,
        };
        let mut is_removed = false;
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "domain" if !value.is_empty() => {
                    let domain = value.trim_start_matches('.').to_ascii_lowercase();
                    if domain != host {
                        let is_parent = domain.contains('.') && is_below(host, &domain);
                        if !is_parent || !is_name(host) {
                            return None;
                        }
                    }
                    cookie.domain = domain;
                    cookie.has_subdomains = true;
                }
                "path" if value.starts_with('/') => value.clone_into(&mut cookie.path),
                "path" => default_path(url).clone_into(&mut cookie.path),
                "secure" => cookie.is_secure = true,
                "max-age" => is_removed = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                _ => {}
            }
        }
        // A server in clear cannot set a cookie that only TLS may carry: somebody on the way could.
        if cookie.name.is_empty() || cookie.is_secure && url.scheme() != "https" {
            return None;
        }
        Some((cookie, is_removed))
    }

    fn is_for(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let fits_host = host == self.domain || self.has_subdomains && is_below(host, &self.domain);
        let below = url.path().strip_prefix(self.path.as_str());
        let fits_path = below.is_some_and(|rest| {
            rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/')
        });
        fits_host && fits_path && (!self.is_secure || url.scheme() == "https")
    }
}

/// True if a server is named, and not given by its address.
fn is_name(host: &str) -> bool {
    !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

/// True if a server's name lies below a domain.
fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
}

/// The path of a cookie that names none (RFC 6265 5.1.4).
fn default_path(url: &Url) -> &str {
    match url.path().rfind('/') {
        Some(at) if at > 0 => &url.path()[..at],
        _ => "/",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn cookies_go_to_those_that_they_are_for() {
        for (set, from, to, sent) in [
            ("a=b", "http://h/x/y", "http://h/x/z", true),
            ("a=b", "http://h/x/y", "http://h/other", false),
            ("a=b; Path=/", "http://h/x/y", "http://h/other", true),
            ("a=b; Path=/behind", "http://h/x", "http://h/behind/f", true),
            ("a=b; Path=/behind", "http://h/x", "http://h/behindf", false),
            (
                "a=b; path=/; HttpOnly; Expires=Wed, 21 Oct 2015 07:28:00 GMT",
                "http://h/",
                "http://h/",
                true,
            ),
            ("a=b; Path=/", "http://h/", "http://other/", false),
            ("a=b; Path=/", "http://h/", "http://sub.h/", false),
            ("a=b; Path=/", "http://h:1/", "http://h:2/", true),
            ("a=b; Path=/; Domain=x.org", "http://h.x.org/", "http://g.x.org/", true),
            ("a=b; Path=/; Domain=.x.org", "http://h.x.org/", "http://x.org/", true),
            ("a=b; Path=/; Domain=x.org", "http://h.x.org/", "http://hx.org/", false),
            ("a=b; Path=/; Domain=org", "http://x.org/", "http://y.org/", false),
            ("a=b; Path=/; Domain=other.org", "http://x.org/", "http://other.org/", false),
            ("a=b; Path=/; Domain=0.0.1", "http://127.0.0.1/", "http://127.0.0.1/", false),
            ("a=b; Path=/; Secure", "https://h/", "https://h/", true),
            ("a=b; Path=/; Secure", "https://h/", "http://h/", false),
            ("a=b; Path=/; Secure", "http://h/", "https://h/", false),
            ("a=b; Path=/; Max-Age=0", "http://h/", "http://h/", false),
            ("=b", "http://h/", "http://h/", false),
            ("ab", "http://h/", "http://h/", false),
        ] {
            let mut cookies = Cookies::default();
            let headers = HeaderMap::from_iter([(SET_COOKIE, set.parse().unwrap())]);
            cookies.take(&url(from), &headers);
            let header = cookies.header(&url(to));
            assert_eq!(header.as_deref(), sent.then_some("a=b"), "{set} {from} {to}");
        }
        let mut cookies = Cookies::default();
        for set in ["a=1; Path=/", "a=2; Path=/", "b=3; Path=/x", "c=4; Path=/; Max-Age=9"] {
            let headers = HeaderMap::from_iter([(SET_COOKIE, set.parse().unwrap())]);
            cookies.take(&url("http://h/"), &headers);
        }
        assert_eq!(cookies.header(&url("http://h/x")).unwrap(), "b=3; a=2; c=4");
    }

    #[test]
    fn redirects_lead_to_http_alone() {
        let lead = |from: &str, status: u16, to: &str| {
            let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
            target(&url(from), status, &headers)
                .map(|to| to.map_or_else(|problem| problem, |to| to.to_string()))
        };
        for (to, led) in [
            ("/y", "http://h/y"),
            ("../y?z", "http://h/y?z"),
            ("//g/y", "http://g/y"),
            ("HTTPS://G/y", "https://g/y"),
        ] {
            assert_eq!(lead("http://h/a/x", 302, to).unwrap(), led);
        }
        for (to, part) in [
            ("ftp://u:secret@g/x", "ftp://g/x"),
            ("file:///etc/passwd", "file:///etc/passwd"),
            ("http://[", "not a URL"),
        ] {
            let problem = lead("http://h/", 301, to).unwrap();
            assert!(problem.contains(part) && !problem.contains("secret"), "{problem}");
        }
        assert_eq!(lead("http://h/", 200, "/y"), None);
        assert_eq!(lead("http://h/", 304, "/y"), None);
        assert_eq!(lead("http://h/#part", 308, "/y").unwrap(), "http://h/y#part");
    }
}
