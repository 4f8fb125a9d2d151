//! Where registries are: hosts, mirrors, and what the configuration says of them.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::base::text::read_as_text;
use crate::image::reference::{self, DEFAULT_REGISTRY, ImageRef};

/// Where Docker Hub's registry answers; `docker.io` itself is a website.
const HUB: &str = "registry-1.docker.io";

/// A registry as references name it: a host, with a port if it has one of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryHost(String);

/// A place where a registry's images are too: `host[:port][/prefix]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryMirror {
    host: RegistryHost,
    prefix: String,
}

/// The text is no registry's host, or no mirror.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: {rule}")]
pub struct HostError {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

/// What the configuration says of one registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryConfig {
    /// Where to look before the registry itself, in this order.
    pub mirrors: Vec<RegistryMirror>,
    /// Whether it speaks plain HTTP.
    pub insecure: bool,
    /// A PEM file with CAs that are trusted for it, beside the system's.
    pub ca: Option<PathBuf>,
    /// True if a tree says so: images that come by it get no name in the store, where other trees would
    /// take them for the real ones.
    pub of_tree: bool,
}

/// What the configuration says of registries.
pub type Registries = BTreeMap<RegistryHost, RegistryConfig>;

impl RegistryHost {
    /// The host as it is written.
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
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let kind = "registry";
        reference::check_registry(text).map_err(|rule| HostError {
            kind,
            text: text.to_owned(),
            rule,
        })?;
        Ok(Self(if text == "index.docker.io" { DEFAULT_REGISTRY } else { text }.to_owned()))
    }
}

read_as_text!(RegistryHost);

impl FromStr for RegistryMirror {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let error = |rule| HostError { kind: "mirror", text: text.to_owned(), rule };
        if text.contains("://") {
            return Err(error("it is host[:port][/prefix], without a scheme"));
        }
        let (host, prefix) =
            text.trim_end_matches('/').split_once('/').unwrap_or((text.trim_end_matches('/'), ""));
        let host = host.parse().map_err(|problem: HostError| error(problem.rule))?;
        if !prefix.is_empty() && !prefix.split('/').all(reference::is_component) {
            return Err(error("what follows the host is no path of a registry"));
        }
        Ok(Self { host, prefix: prefix.to_owned() })
    }
}

impl RegistryMirror {
    /// What an image is called there; `None` if that is too long for a name.
    pub fn name_of(&self, image: &ImageRef) -> Option<ImageRef> {
        let prefix =
            if self.prefix.is_empty() { String::new() } else { format!("{}/", self.prefix) };
        let own = image.to_string();
        let path = own.strip_prefix(image.registry())?.trim_start_matches('/');
        format!("{}/{prefix}{path}", self.host).parse().ok()
    }
}

read_as_text!(RegistryMirror);

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the repository of a reference is asked for: the registry itself, or a mirror of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// The name by which credentials and configuration know it.
    pub(super) host: String,
    /// The repository's path there.
    pub(super) repository: String,
    pub(super) insecure: bool,
    pub(super) ca: Option<PathBuf>,
    /// True if a tree's word has a part in it.
    pub(super) of_tree: bool,
}

impl Endpoint {
    fn new(registries: &Registries, host: &str, repository: String) -> Self {
        let config = registries.get(host);
        Self {
            host: host.to_owned(),
            repository,
            insecure: config.is_some_and(|config| config.insecure),
            ca: config.and_then(|config| config.ca.clone()),
            of_tree: config.is_some_and(|config| config.of_tree),
        }
    }

    /// The registry that a reference names.
    pub(super) fn of(registries: &Registries, reference: &ImageRef) -> Self {
        Self::new(registries, reference.registry(), reference.repository().to_owned())
    }

    /// All places where a reference may be found, in the order in which they are asked.
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
                let place = Self::new(registries, mirror.host.as_str(), parts.join("/"));
                Self { of_tree: place.of_tree || of_tree, ..place }
            })
            .collect();
        all.push(Self::of(registries, reference));
        all
    }

    /// The URL of something of the repository. Neither host nor path can hold what a URL would
    /// take for something else: both were checked as parts of references.
    pub(super) fn url(&self, path: &str) -> String {
        let scheme = if self.insecure { "http" } else { "https" };
        let host = if self.host == DEFAULT_REGISTRY { HUB } else { &self.host };
        format!("{scheme}://{host}/v2/{}/{path}", self.repository)
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
