//! Proxies of the environment, chosen as curl and programs in Go (docker, skopeo) choose them.
//!
//! - `HTTPS_PROXY` is for URLs with `https`, `HTTP_PROXY` for those with `http`, `ALL_PROXY` for both
//!   where the other is not set; all of them in lower case, too. A proxy is `http`, `https`, `socks4`,
//!   `socks4a`, `socks5` or `socks5h`, and `http` where the scheme is missing.
//! - `NO_PROXY` has exceptions separated by commas or spaces: `*` for all hosts, a name for itself
//!   and all names below (`.name` and `*.name` are the same), an address, a network such as
//!   `10.0.0.0/8`; each may be followed by a port, which must be the URL's then.
//! - Loopback addresses and `localhost` are reached without a proxy for HTTP, as Go has it: such a proxy
//!   forwards requests to servers, and its own machine is not the one that the URL means. `<-loopback>`
//!   in `NO_PROXY` asks for the proxy, as in Chromium. A SOCKS proxy is a way for all connections, as
//!   curl has it (`ssh -D`, a namespace's only way out): naming one asks for it, for loopback addresses
//!   too, where `NO_PROXY` does not list them.
//!
//! Of a variable's two spellings the first one counts that is not empty. A variable that names no proxy,
//! or is not UTF-8, is an error of all requests: none of them goes directly in silence.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use super::redact;

const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxies of a run.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
    /// True if a proxy for HTTP is asked for loopback addresses, too.
    for_loopback: bool,
    /// Fault of a variable.
    problem: Option<String>,
}

/// Hosts that are reached without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name and the names below it.
    Name(String),
    /// Address and prefix length of a network.
    Network(IpAddr, u32),
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &Option<Url>| url.as_ref().map(|url| redact(url.as_str()));
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("exceptions", &self.exceptions)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}

impl Proxies {
    /// Reads the variables; `variable` returns the value of one that is set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let mut proxies = Self::default();
        let mut problem = None;
        // The spelling in capitals goes first, as in Go.
        let mut get = |name: &str| {
            let spellings = [name.to_owned(), name.to_lowercase()].into_iter();
            let mut set = spellings.filter_map(|name| Some((variable(&name)?, name)));
            let is_empty = |value: &OsString| value.to_str().is_some_and(|it| it.trim().is_empty());
            let (value, name) = set.find(|(value, _)| !is_empty(value))?;
            if let Ok(value) = value.into_string() {
                return Some((value, name));
            }
            problem = Some(format!("the variable {name} is not UTF-8; set it anew, or unset it"));
            None
        };
        let named = [get("HTTP_PROXY"), get("HTTPS_PROXY"), get("ALL_PROXY"), get("NO_PROXY")];
        proxies.problem = problem;
        let [http, https, all, exceptions] = named;
        let mut read = |named: Option<(String, String)>| {
            let (value, name) = named.or_else(|| all.clone())?;
            match address(value.trim()) {
                Ok(url) => Some(url),
                Err(reason) => {
                    proxies.problem = Some(format!(
                        "the variable {name} does not name a proxy, as http://HOST:PORT does: {reason}"
                    ));
                    None
                }
            }
        };
        let (http, https) = (read(http), read(https));
        (proxies.http, proxies.https) = (http, https);
        let exceptions = exceptions.map(|(value, _)| value).unwrap_or_default();
        for text in exceptions.split(|letter: char| letter == ',' || letter.is_whitespace()) {
            match text {
                "" => {}
                "<-loopback>" => proxies.for_loopback = true,
                text => proxies.exceptions.push(Exception::parse(text)),
            }
        }
        proxies
    }

    /// Returns the proxy for a URL; `None` if the host is reached directly.
    pub(super) fn of(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http }.as_ref()?;
        // An absolute name ends with a dot, and is the same host.
        let host = url.host_str()?.trim_matches(['[', ']']).trim_end_matches('.').to_lowercase();
        // `::ffff:127.0.0.1` is 127.0.0.1, for loopback and for networks of IPv4.
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        let is_loopback =
            host == "localhost" || address.is_some_and(|address| address.is_loopback());
        let is_asked = self.for_loopback || proxy.scheme().starts_with("socks");
        if is_loopback && !is_asked {
            return None;
        }
        let port = url.port_or_known_default();
        let excepted = self.exceptions.iter().any(|one| one.has(&host, address, port));
        (!excepted).then_some(proxy)
    }

    /// Returns the proxies for a client; fails if a variable is not valid.
    pub(crate) fn for_client(&self) -> Result<reqwest::Proxy, String> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let proxies = self.clone();
        Ok(reqwest::Proxy::custom(move |url| proxies.of(url).cloned()))
    }
}

/// The URL of a proxy.
fn address(text: &str) -> Result<Url, String> {
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&url).map_err(|error| error.to_string())?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(format!("the scheme {} is not one of {}", url.scheme(), SCHEMES.join(", ")));
    }
    match url.host_str() {
        None | Some("") => Err("there is no host in it".to_owned()),
        Some(_) => Ok(url),
    }
}

impl Exception {
    fn parse(text: &str) -> Self {
        let text = text.to_lowercase();
        if text == "*" {
            return Self { hosts: Hosts::All, port: None };
        }
        // Before a port is split off: an address of IPv6 is full of colons.
        if let Some(network) = Hosts::network(&text) {
            return Self { hosts: network, port: None };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() => match port.parse() {
                Ok(port) => (host.to_owned(), Some(port)),
                Err(_) => (text.clone(), None),
            },
            _ => (text.clone(), None),
        };
        let hosts = if host == "*" {
            Hosts::All
        } else {
            Hosts::network(&host).unwrap_or_else(|| {
                let name = host.strip_prefix('*').unwrap_or(&host);
                Hosts::Name(name.trim_matches('.').to_owned())
            })
        };
        Self { hosts, port }
    }

    fn has(&self, host: &str, address: Option<IpAddr>, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        match (&self.hosts, address) {
            (Hosts::All, _) => true,
            (Hosts::Network(network, bits), Some(address)) => is_within(address, *network, *bits),
            (Hosts::Network(..), None) | (Hosts::Name(_), Some(_)) => false,
            (Hosts::Name(name), None) => host
                .strip_suffix(name.as_str())
                .is_some_and(|below| below.is_empty() || below.ends_with('.')),
        }
    }
}

impl Hosts {
    fn network(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self::Network(address, bits))
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            let differing = u32::from(address) ^ u32::from(network);
            differing.leading_zeros() >= bits
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            let differing = u128::from(address) ^ u128::from(network);
            differing.leading_zeros() >= bits
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::from_variables(|name| {
            let same = |(known, _): &&(&str, &str)| *known == name;
            variables.iter().find(same).map(|(_, value)| (*value).into())
        })
    }

    #[track_caller]
    fn asks(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.of(&Url::parse(url).unwrap()).map(ToString::to_string)
    }

    #[test]
    fn exceptions_are_those_of_curl_and_go() {
        for (exceptions, direct, by_proxy) in [
            (
                "",
                vec![
                    "http://127.0.0.1:5000/",
                    "https://127.8.9.10/",
                    "http://localhost:1/",
                    "http://[::1]/",
                    "http://[::ffff:127.0.0.1]/",
                    "http://LOCALHOST./",
                ],
                vec!["http://h.example/", "http://10.0.0.1/", "http://notlocalhost/"],
            ),
            (
                "<-loopback>",
                vec![],
                vec!["http://127.0.0.1/", "http://localhost/", "http://[::1]/"],
            ),
            ("*", vec!["http://h/", "https://10.0.0.1/", "http://[fe80::1]/"], vec![]),
            ("*,<-loopback>", vec!["http://127.0.0.1/"], vec![]),
            (
                "h.example:5000",
                vec!["http://h.example:5000/", "http://x.h.example:5000/"],
                vec!["http://h.example/", "https://h.example/"],
            ),
            (
                "h.example:443 , i.example",
                vec!["https://h.example/", "http://i.example:9/"],
                vec!["http://h.example/"],
            ),
            (
                ".h.example",
                vec!["http://a.h.example/", "http://h.example/"],
                vec!["http://ah.example/"],
            ),
            ("*.h.example", vec!["http://a.h.example/"], vec!["http://ah.example/"]),
            (
                "H.Example.",
                vec!["http://h.EXAMPLE/", "http://h.example./"],
                vec!["http://example/"],
            ),
            (
                "10.0.0.0/8 fd00::/8",
                vec!["http://10.1.2.3/", "http://[fd12::1]/"],
                vec!["http://11.0.0.1/", "http://[fe80::1]/", "http://10.example/"],
            ),
            (
                "10.0.0.1:80,[fd00::1]:81,192.0.2.1",
                vec!["http://10.0.0.1/", "http://[fd00::1]:81/", "http://192.0.2.1:9/"],
                vec!["http://10.0.0.1:81/", "http://[fd00::1]/", "http://10.0.0.11/"],
            ),
            ("0.0.0.0/0", vec!["http://1.2.3.4/"], vec!["http://h/", "http://[fe80::1]/"]),
            ("10.0.0.0/33", vec![], vec!["http://10.0.0.0/"]),
            ("0.0.1", vec![], vec!["http://10.0.0.1/"]),
        ] {
            let all = proxies(&[("all_proxy", "proxy.example:3128"), ("NO_PROXY", exceptions)]);
            for url in direct {
                assert_eq!(asks(&all, url), None, "{url} with {exceptions:?}");
            }
            for url in by_proxy {
                let proxy = Some("http://proxy.example:3128/".to_owned());
                assert_eq!(asks(&all, url), proxy, "{url} with {exceptions:?}");
            }
        }
    }

    #[test]
    fn loopback_goes_past_proxies_for_http_and_through_socks() {
        let local = [
            "http://127.0.0.1:5000/",
            "https://127.8.9.10/",
            "http://localhost:1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
        ];
        for (variable, proxy, exceptions, through) in [
            ("ALL_PROXY", "127.0.0.1:3128", "", false),
            ("all_proxy", "http://h:3128", "", false),
            ("ALL_PROXY", "https://h", "", false),
            ("ALL_PROXY", "https://h", "<-loopback>", true),
            ("ALL_PROXY", "socks4://h", "", true),
            ("all_proxy", "socks4a://h", "", true),
            ("ALL_PROXY", "socks5://127.0.0.1:1080", "", true),
            ("all_proxy", "SOCKS5H://127.0.0.1:1080", "other.example", true),
            ("ALL_PROXY", "socks5h://h", "localhost,127.0.0.0/8,::1", false),
            ("ALL_PROXY", "socks5h://h", "*", false),
        ] {
            let all = proxies(&[(variable, proxy), ("NO_PROXY", exceptions)]);
            for url in local {
                let asked = asks(&all, url).is_some();
                assert_eq!(asked, through, "{url} by {proxy} with {exceptions:?}");
            }
        }
        // Each scheme's own proxy decides.
        let mixed = proxies(&[("HTTP_PROXY", "socks5://h:1"), ("HTTPS_PROXY", "h:2")]);
        assert_eq!(asks(&mixed, "http://127.0.0.1/").as_deref(), Some("socks5://h:1"));
        assert_eq!(asks(&mixed, "https://127.0.0.1/"), None);
    }

    #[test]
    fn each_scheme_has_its_proxy() {
        let all = proxies(&[
            ("HTTP_PROXY", "a:1"),
            ("http_proxy", "b:1"),
            ("https_proxy", "socks5h://u:p@c"),
            ("ALL_PROXY", "d:1"),
        ]);
        assert_eq!(asks(&all, "http://h/").as_deref(), Some("http://a:1/"));
        assert_eq!(asks(&all, "https://h/").as_deref(), Some("socks5h://u:p@c"));
        let all = proxies(&[("HTTP_PROXY", ""), ("all_proxy", "https://d:1")]);
        assert_eq!(asks(&all, "http://h/").as_deref(), Some("https://d:1/"));
        let all = proxies(&[("HTTP_PROXY", " "), ("http_proxy", "a:1"), ("ALL_PROXY", "b:1")]);
        assert_eq!(asks(&all, "http://h/").as_deref(), Some("http://a:1/"));
        let all = proxies(&[("ALL_PROXY", "b:1"), ("NO_PROXY", ""), ("no_proxy", "h")]);
        assert_eq!(asks(&all, "http://h/"), None);
        assert_eq!(asks(&proxies(&[]), "http://h/"), None);
        assert!(
            !format!("{:?}", proxies(&[("HTTPS_PROXY", "http://u:geheim@c")])).contains("geheim")
        );
    }

    #[test]
    fn what_names_no_proxy_is_an_error() {
        for (name, value) in [
            ("HTTP_PROXY", "ftp://h:1"),
            ("https_proxy", "http://:geheim@:1"),
            ("ALL_PROXY", "h:port"),
            ("all_proxy", "http://"),
            ("http_proxy", "socks6://h"),
        ] {
            let problem = proxies(&[(name, value)]).for_client().unwrap_err();
            assert!(problem.contains(name) && !problem.contains("geheim"), "{problem}");
        }
        assert!(proxies(&[("NO_PROXY", "::,:::x,/,:")]).for_client().is_ok());
        for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "all_proxy", "NO_PROXY", "no_proxy"]
        {
            use std::os::unix::ffi::OsStringExt;
            let value = |known: &str| (known == name).then(|| OsString::from_vec(vec![b'h', 0xff]));
            let problem = Proxies::from_variables(value).for_client().unwrap_err();
            assert!(problem.contains(&format!("{name} is not UTF-8")), "{problem}");
        }
    }
}
