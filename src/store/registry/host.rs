//! Addresses of registries and their mirrors, and the configuration of each.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::reference::{self, DEFAULT_REGISTRY, ImageRef};
use crate::base::http::redact_place;
use crate::base::text::read_as_text;

/// Host of Docker Hub's registry; `docker.io` itself is a website.
const HUB: &str = "registry-1.docker.io";

/// Host of a registry, as in references, with an optional port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

/// Mirror of a registry: `host[:port][/prefix]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryMirror {
    host: RegistryHost,
    prefix: String,
}

/// Text that is neither a registry's host nor a mirror; the message has no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not a valid {kind}: {rule}", redact_place(text))]
pub struct RegistryHostError {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

/// Configuration of a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Mirrors, asked before the registry itself, in this order.
    pub mirrors: Vec<RegistryMirror>,
    /// True if the registry speaks plain HTTP.
    pub insecure: bool,
    /// PEM file with trusted CAs for this registry, beside the system's.
    pub ca: Option<PathBuf>,
    /// True if a tree says so: images that come by it get no name in the store, where other trees would
    /// take them for the real ones.
    pub of_tree: bool,
}

/// Configuration of all registries.
pub type Registries = BTreeMap<RegistryHost, RegistryConfig>;

impl RegistryHost {
    /// The host as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for RegistryHost {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for RegistryHost {
    type Err = RegistryHostError;

    fn from_str(text: &str) -> Result<Self, RegistryHostError> {
        let kind = "registry";
        reference::check_registry(text).map_err(|rule| RegistryHostError {
            kind,
            text: text.to_owned(),
            rule,
        })?;
        // Its former name, which configurations of Docker still have.
        Ok(Self(if text == "index.docker.io" { DEFAULT_REGISTRY } else { text }.to_owned()))
    }
}

read_as_text!(RegistryHost);

impl FromStr for RegistryMirror {
    type Err = RegistryHostError;

    fn from_str(text: &str) -> Result<Self, RegistryHostError> {
        let error = |rule| RegistryHostError { kind: "mirror", text: text.to_owned(), rule };
        if text.contains("://") {
            return Err(error("it is host[:port][/prefix], without a scheme"));
        }
        let (host, prefix) =
            text.trim_end_matches('/').split_once('/').unwrap_or((text.trim_end_matches('/'), ""));
        let host = host.parse().map_err(|problem: RegistryHostError| error(problem.rule))?;
        if !prefix.is_empty() && !prefix.split('/').all(reference::is_component) {
            return Err(error("the text behind the host is not a path of a registry"));
        }
        Ok(Self { host, prefix: prefix.to_owned() })
    }
}

impl RegistryMirror {
    /// Returns an image's name at the mirror; `None` if too long for a name.
    pub fn name_of(&self, image: &ImageRef) -> Option<ImageRef> {
        let prefix =
            if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let own = image.to_string();
        let path = own.strip_prefix(image.registry())?.trim_start_matches('/');
        format!("{}/{prefix}{path}", self.host).parse().ok()
    }
}

read_as_text!(RegistryMirror);

impl fmt::Display for RegistryMirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix.as_str() {
            "" => write!(f, "{}", self.host),
            prefix => write!(f, "{}/{prefix}", self.host),
        }
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Repository at an address: the registry's own, or a mirror's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Host, the key for credentials and configuration of the registry.
    pub(crate) host: String,
    /// Path of the repository.
    pub(super) repository: String,
    pub(super) insecure: bool,
    pub(super) ca: Option<PathBuf>,
    /// True if the registry itself has the repository, too.
    pub(crate) is_mirror: bool,
    /// True if a tree's word has a part in it.
    pub(super) of_tree: bool,
}

impl Endpoint {
    pub(super) fn new(
        registries: &Registries,
        host: &str,
        repository: String,
        is_mirror: bool,
    ) -> Self {
        let config = registries.get(host);
        Self {
            host: host.to_owned(),
            repository,
            insecure: config.is_some_and(|config| config.insecure),
            ca: config.and_then(|config| config.ca.clone()),
            is_mirror,
            of_tree: config.is_some_and(|config| config.of_tree),
        }
    }

    /// Returns the registry that a reference names.
    pub(super) fn of(registries: &Registries, reference: &ImageRef) -> Self {
        Self::new(registries, reference.registry(), reference.repository().to_owned(), false)
    }

    /// Returns all places of a reference, in the order of asking.
    pub(super) fn all(registries: &Registries, reference: &ImageRef) -> Vec<Self> {
        let own = registries.get(reference.registry());
        let mirrors = own.map(|config| config.mirrors.as_slice());
        let of_tree = own.is_some_and(|config| config.of_tree);
        let mut all: Vec<Self> = mirrors
            .unwrap_or_default()
            .iter()
            .map(|mirror| {
                let parts = [mirror.prefix.as_str(), reference.repository()];
                let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                let place = Self::new(registries, mirror.host.as_str(), parts.join("/"), true);
                Self { of_tree: place.of_tree || of_tree, ..place }
            })
            .collect();
        all.push(Self::of(registries, reference));
        all
    }

    /// Returns a URL below the repository. Host and path were checked as parts of references, and
    /// have no letters with a meaning in URLs.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{}/{path}", self.base(), self.repository)
    }

    /// Returns the base URL of a registry's API.
    pub(super) fn base(&self) -> String {
        let scheme = if self.insecure { "http" } else { "https" };
        let host = if self.host == DEFAULT_REGISTRY { HUB } else { &self.host };
        format!("{scheme}://{host}/v2/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_come_first_and_the_hub_answers_elsewhere() {
        let config = RegistryConfig {
            mirrors: vec!["m:5000/hub/".parse().unwrap(), "n.example".parse().unwrap()],
            ..RegistryConfig::default()
        };
        let insecure = RegistryConfig { insecure: true, ..RegistryConfig::default() };
        let registries = Registries::from([
            ("index.docker.io".parse().unwrap(), config),
            ("m:5000".parse().unwrap(), insecure),
        ]);
        let urls = |name: &str| -> Vec<String> {
            let all = Endpoint::all(&registries, &name.parse().unwrap());
            all.iter().map(|endpoint| endpoint.url("manifests/x")).collect()
        };
        assert_eq!(
            urls("ubuntu"),
            [
                "http://m:5000/v2/hub/library/ubuntu/manifests/x",
                "https://n.example/v2/library/ubuntu/manifests/x",
                "https://registry-1.docker.io/v2/library/ubuntu/manifests/x"
            ]
        );
        let mirror: RegistryMirror = "m:5000/hub/".parse().unwrap();
        let name = mirror.name_of(&"a/b:c".parse().unwrap()).unwrap();
        assert_eq!(name.to_string(), "m:5000/hub/a/b:c");
        assert_eq!(urls("[::1]:7/a/b"), ["https://[::1]:7/v2/a/b/manifests/x"]);
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in ["", "https://x", "x/", "a b", "x:99999", "x/A", "x/../y", "u:p@x", "x?y", "x#y"]
        {
            assert!(bad.parse::<RegistryHost>().is_err() || bad == "x/", "{bad}");
            assert!(bad.parse::<RegistryMirror>().is_err() || bad == "x/", "{bad}");
        }
    }
}
