//! URLs of stores in registries: `oci://registry[:port]/repository`.

use std::fmt;
use std::str::FromStr;

use crate::base::http::redact;
use crate::base::text::read_as_text;
use crate::store::registry::RegistryHost;
use crate::store::registry::reference::is_component;

/// Scheme with its separator.
const SCHEME: &str = "oci://";
/// Upper limit of the length of host and repository, with the slash between them: that of references.
const LONGEST: usize = 255;

/// URL of a store in a registry. The first part is always the host, also where a name of an image would
/// begin with a part of its path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OciUrl {
    host: RegistryHost,
    repository: String,
}

/// Text that is not the URL of a store in a registry. Credentials in the text are not shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid URL of a store in a registry: {rule}")]
pub struct OciUrlError {
    text: String,
    rule: &'static str,
}

impl OciUrl {
    /// The registry.
    pub fn host(&self) -> &RegistryHost {
        &self.host
    }

    /// The path of the repository within the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }
}

impl FromStr for OciUrl {
    type Err = OciUrlError;

    fn from_str(text: &str) -> Result<Self, OciUrlError> {
        parse(text).map_err(|rule| OciUrlError { text: redact(text), rule })
    }
}

impl fmt::Display for OciUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.host, self.repository)
    }
}

read_as_text!(OciUrl);

fn parse(text: &str) -> Result<OciUrl, &'static str> {
    let rest = text
        .strip_prefix(SCHEME)
        .ok_or("it begins with oci://, as in oci://registry.example:5000/team/cache")?;
    if rest.contains(['?', '#']) {
        return Err("it has neither a query nor a fragment");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, repository) = rest.split_once('/').unwrap_or((rest, ""));
    if host.contains('@') {
        return Err(
            "it has no credentials: those that `mkpanda login HOST` or `podman login HOST` keeps are used",
        );
    }
    let host: RegistryHost = host
        .parse()
        .map_err(|_error| "behind oci:// stands a registry's host, with a port if it needs one")?;
    if repository.is_empty() {
        return Err("behind the host stands a repository, as in oci://registry.example/cache");
    }
    if repository.contains([':', '@']) {
        return Err("it has neither a tag nor a digest: each object gets a tag of its own");
    }
    if !repository.split('/').all(is_component) {
        return Err(
            "each part of the repository has a-z and 0-9, with one dot, one or two underscores or any hyphens between them",
        );
    }
    if host.as_str().len() + 1 + repository.len() > LONGEST {
        return Err("host and repository are longer than 255 characters");
    }
    Ok(OciUrl { host, repository: repository.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_host_and_a_repository() {
        for (text, host, repository) in [
            ("oci://registry.example:5000/team/cache", "registry.example:5000", "team/cache"),
            ("oci://registry/cache", "registry", "cache"),
            ("oci://docker.io/me/cache/", "docker.io", "me/cache"),
            ("oci://index.docker.io/me/cache", "docker.io", "me/cache"),
            ("oci://[::1]:5000/a/b/c", "[::1]:5000", "a/b/c"),
            ("oci://127.0.0.1:5000/a__b/c-----d.e", "127.0.0.1:5000", "a__b/c-----d.e"),
        ] {
            let url: OciUrl = text.parse().unwrap();
            assert_eq!((url.host().as_str(), url.repository()), (host, repository));
            assert_eq!(url.to_string().parse::<OciUrl>().unwrap(), url);
            assert_eq!(url.to_string(), format!("oci://{host}/{repository}"));
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_broken_rule() {
        let long = format!("oci://h/{}", "a".repeat(254));
        for (text, rule) in [
            ("", "begins with oci://"),
            ("registry.example/cache", "begins with oci://"),
            ("OCI://h/r", "begins with oci://"),
            ("oci:DIR", "begins with oci://"),
            ("oci://", "a registry's host"),
            ("oci:///cache", "a registry's host"),
            ("oci://h:99999/r", "a registry's host"),
            ("oci://h_/r", "a registry's host"),
            ("oci://h", "stands a repository"),
            ("oci://h/", "stands a repository"),
            ("oci://h/r:latest", "neither a tag nor a digest"),
            ("oci://h/r@sha256:00", "neither a tag nor a digest"),
            ("oci://h/r?x=1", "neither a query nor a fragment"),
            ("oci://h/r#x", "neither a query nor a fragment"),
            ("oci://h/R", "each part of the repository"),
            ("oci://h/a//b", "each part of the repository"),
            ("oci://h/../b", "each part of the repository"),
            ("oci://h/a b", "each part of the repository"),
            ("oci://h/a%2fb", "each part of the repository"),
            (long.as_str(), "longer than 255"),
        ] {
            let error = text.parse::<OciUrl>().unwrap_err().to_string();
            assert!(error.contains(rule), "{error}");
        }
    }

    #[test]
    fn credentials_in_a_url_are_refused_and_not_shown() {
        let error = "oci://user:secret@h/r".parse::<OciUrl>().unwrap_err().to_string();
        assert!(error.contains("podman login") && !error.contains("secret"), "{error}");
    }
}
