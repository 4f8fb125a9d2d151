//! Names of images, as `docker` and registries read them: `[host[:port]/]path[:tag][@digest]`.
//!
//! The grammar is the distribution specification's. A reference is kept in its full form:
//! `ubuntu:14.04.4` is `docker.io/library/ubuntu:14.04.4`, and a reference with neither tag nor
//! digest gets the tag `latest`. The full form is also used in the store's index, where other tools
//! can address it.

use std::fmt;
use std::str::FromStr;

use super::digest::BlobDigest;
use crate::base::http::redact_place;
use crate::base::text::written_as_text;

/// The registry of names without a host.
pub(super) const DEFAULT_REGISTRY: &str = "docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const DEFAULT_TAG: &str = "latest";
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// Name of an image in its full form. Two spellings of a name are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageRef {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<BlobDigest>,
}

/// Text that does not name an image; the message has no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not a valid image reference: {rule}", redact_place(text))]
pub struct ReferenceError {
    /// The text.
    pub text: String,
    /// The broken rule.
    pub rule: &'static str,
}

impl ImageRef {
    /// The registry: a host, with a port if one was given.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag; `None` only if there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest, if the reference is pinned to one.
    pub fn digest(&self) -> Option<&BlobDigest> {
        self.digest.as_ref()
    }

    /// The same repository and tag, pinned to the digest of a manifest.
    #[must_use]
    pub fn pinned_to(&self, manifest: &BlobDigest) -> Self {
        Self { digest: Some(manifest.clone()), ..self.clone() }
    }

    /// True if both name the same repository of the same registry, with any tag.
    pub fn same_repository(&self, other: &Self) -> bool {
        (&self.registry, &self.repository) == (&other.registry, &other.repository)
    }

    /// Returns the shortest text with the same meaning, as a person would write it.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(path) = full.strip_prefix("docker.io/") else { return full };
        let short = path.strip_prefix(OFFICIAL_PREFIX);
        [short, Some(path)]
            .into_iter()
            .flatten()
            .find(|text| text.parse().as_ref() == Ok(self))
            .map_or(full.clone(), str::to_owned)
    }
}

impl FromStr for ImageRef {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        parse(text).map_err(|rule| ReferenceError { text: text.to_owned(), rule })
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

written_as_text!(ImageRef);

fn parse(text: &str) -> Result<ImageRef, &'static str> {
    let (rest, digest) = match text.split_once('@') {
        None => (text, None),
        Some((rest, digest)) => (
            rest,
            Some(digest.parse().map_err(|_error| "after @ stands sha256: and 64 hex digits")?),
        ),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        // A colon before the last slash belongs to the host's port.
        Some((name, tag)) if !tag.contains('/') => (name, Some(check_tag(tag)?)),
        _ => (rest, None),
    };
    if tag.is_none() && is_bare_id(name) {
        return Err("64 hex digits are an image's id, not its name");
    }
    let (registry, path) = split_registry(name);
    check_registry(registry)?;
    if path.is_empty() {
        return Err("the name is empty");
    }
    if !path.split('/').all(is_component) {
        return Err(
            "each part of the path has a-z and 0-9, with one dot, one or two underscores or any hyphens between them",
        );
    }
    // As docker: `ubuntu` is `library/ubuntu`, on its own registry alone.
    let official = registry == DEFAULT_REGISTRY && !path.contains('/');
    let repository = if official { format!("{OFFICIAL_PREFIX}{path}") } else { path.to_owned() };
    if registry.len() + 1 + repository.len() > LONGEST_NAME {
        return Err("the name is longer than 255 characters");
    }
    let tag = tag.or(digest.is_none().then_some(DEFAULT_TAG)).map(str::to_owned);
    Ok(ImageRef { registry: registry.to_owned(), repository, tag, digest })
}

/// Separates the host from the path, as docker does: by a dot, a port, an upper-case letter,
/// or the name `localhost`.
fn split_registry(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some(("index.docker.io", path)) => (DEFAULT_REGISTRY, path),
        Some((host, path))
            if host == "localhost"
                || host.contains(['.', ':'])
                || host.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            (host, path)
        }
        _ => (DEFAULT_REGISTRY, name),
    }
}

fn is_bare_id(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn check_tag(tag: &str) -> Result<&str, &'static str> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || b".-".contains(&byte));
    good.then_some(tag)
        .ok_or("the tag has up to 128 letters, digits, _ . -, and does not begin with . or -")
}

pub(super) fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err("the registry's port is a number up to 65535");
    }
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let label = |label: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        edge(label.bytes().next())
            && edge(label.bytes().last())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let good = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    good.then_some(()).ok_or("the registry is a host's name or address")
}

pub(in crate::store) fn is_component(part: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = part.bytes().next().zip(part.bytes().last());
    edges.is_some_and(|(first, last)| alphanumeric(first) && alphanumeric(last))
        && part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit()).all(
            |between| {
                matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-')
            },
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "sha256:cc5105e3bfa1b0528ef77561c5ad99db0f92a25b8afbb38ab723b08c72e5dbb8";

    #[test]
    fn names_are_completed_and_shortened() {
        for (text, full, short) in [
            ("ubuntu:14.04.4", "docker.io/library/ubuntu:14.04.4", "ubuntu:14.04.4"),
            ("ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("docker.io/ubuntu", "docker.io/library/ubuntu:latest", "ubuntu:latest"),
            ("index.docker.io/a/b:x", "docker.io/a/b:x", "a/b:x"),
            ("dcos/dcos-builder:x", "docker.io/dcos/dcos-builder:x", "dcos/dcos-builder:x"),
            ("library/x", "docker.io/library/x:latest", "x:latest"),
            ("library/a/b:1", "docker.io/library/a/b:1", "library/a/b:1"),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b:t"),
            ("HOST/x:1", "HOST/x:1", "HOST/x:1"),
            ("[::1]:5000/a:t", "[::1]:5000/a:t", "[::1]:5000/a:t"),
            ("docker.io/a.b/c:1", "a.b/c:1", "a.b/c:1"),
            ("a__b/c-----d.e:1", "docker.io/a__b/c-----d.e:1", "a__b/c-----d.e:1"),
        ] {
            if text.starts_with("docker.io/a.b") {
                // The short form would name another registry, so it stays long.
                assert_eq!(text.parse::<ImageRef>().unwrap().familiar(), text);
                continue;
            }
            let reference: ImageRef = text.parse().unwrap();
            assert_eq!((reference.to_string().as_str(), &*reference.familiar()), (full, short));
            assert_eq!(full.parse::<ImageRef>().unwrap(), reference);
        }
    }

    #[test]
    fn digests_pin_and_replace_the_default_tag() {
        let pinned: ImageRef = format!("ubuntu@{SUM}").parse().unwrap();
        assert_eq!(pinned.to_string(), format!("docker.io/library/ubuntu@{SUM}"));
        assert_eq!((pinned.tag(), pinned.digest().unwrap().to_string()), (None, SUM.to_owned()));
        let both: ImageRef = format!("h:1/a:t@{SUM}").parse().unwrap();
        assert_eq!((both.registry(), both.repository(), both.tag()), ("h:1", "a", Some("t")));
        assert_eq!(both.to_string(), format!("h:1/a:t@{SUM}"));
    }

    #[test]
    fn what_breaks_the_grammar_is_refused() {
        let id = &SUM[7..];
        let long = "a".repeat(250);
        for bad in [
            "",
            ":",
            "/",
            "a/",
            "/a",
            "a//b",
            "a:",
            "a:-x",
            "a:b:c",
            "A",
            "a/B",
            "a..b",
            "a___b",
            "a_-b",
            "-a",
            "a-",
            "a@sha256:12",
            "a@md5:12",
            "host:x/a",
            "host:99999/a",
            "host:/a",
            "-h.x/a",
            "h..x/a",
            "[::g]/a",
            "a b",
            "a\n",
            "é",
            "../a",
            "a:..",
            "<none>:<none>",
            id,
            &long,
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
        assert!(format!("a:{}", "t".repeat(129)).parse::<ImageRef>().is_err());
        assert!(format!("{id}:x").parse::<ImageRef>().is_ok());
    }

    #[test]
    fn json_goes_through_the_parser() {
        let reference: ImageRef = serde_json::from_str("\"ubuntu\"").unwrap();
        assert_eq!(
            serde_json::to_string(&reference).unwrap(),
            "\"docker.io/library/ubuntu:latest\""
        );
        assert!(serde_json::from_str::<ImageRef>("\"A b\"").is_err());
    }
}
