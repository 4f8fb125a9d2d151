//! Forms of git repositories' URLs.

use std::path::{Path, PathBuf};

use super::SourceProblem;
use crate::base::http::redact;
use crate::package::path_of_file_url;

/// Location of a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GitLocation {
    /// Local path.
    Local(PathBuf),
    /// Address for git's transports.
    Network(String),
}

impl GitLocation {
    /// Parses a URL, an address in ssh's form (`host:path`), or a path. Paths, also behind
    /// `file://`, are relative to the package's folder.
    pub(super) fn parse(url: &str, package_dir: &Path) -> Result<Self, SourceProblem> {
        if let Some((transport, _)) = url.split_once("::")
            && transport.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return match transport {
                "ext" | "fd" => Err(SourceProblem::Transport(redact(url))),
                _ => Ok(Self::Network(url.to_owned())),
            };
        }
        if let Some(path) = path_of_file_url(url) {
            // As in git, which decodes a URL's escapes.
            let absolute = path.starts_with('/').then(|| url::Url::parse(url).ok()).flatten();
            let absolute = absolute.and_then(|url| url.to_file_path().ok());
            return Ok(Self::Local(absolute.unwrap_or_else(|| package_dir.join(path))));
        }
        let before_slash = url.split('/').next().unwrap_or_default();
        if let Some((scheme, rest)) = url.split_once("://") {
            // git has a program for each scheme, with a lower-case name.
            return Ok(Self::Network(format!("{}://{rest}", scheme.to_ascii_lowercase())));
        }
        if before_slash.contains(':') {
            return Ok(Self::Network(url.to_owned()));
        }
        Ok(Self::Local(package_dir.join(url)))
    }

    /// Argument for git.
    pub(super) fn argument(&self) -> std::ffi::OsString {
        match self {
            Self::Local(path) => path.into(),
            Self::Network(url) => url.into(),
        }
    }

    /// URL of `origin` for the clone in a build: never a local path.
    pub(super) fn remote(&self) -> Option<String> {
        match self {
            Self::Local(_) => None,
            Self::Network(url) => Some(redact(url)),
        }
    }
}

/// Path of a git repository in a mirror, below its `git` folder: the URL without scheme, user and
/// `.git`, with `_` for every character except letters, digits and `. _ - /`, and `.git` at the
/// end. So `https://github.com/dcos/dcos`, `git@github.com:dcos/dcos.git` and
/// `ssh://git@github.com/dcos/dcos/` all are `github.com/dcos/dcos.git`.
pub fn git_mirror_path(url: &str) -> String {
    mirror_path(url, false)
}

/// The same, and for a host with a port also the path with the colon as it stands, which a person may have
/// written: `h:8443/x.git` beside `h_8443/x.git`.
pub(super) fn git_mirror_paths(url: &str) -> Vec<String> {
    let mut paths = vec![mirror_path(url, false), mirror_path(url, true)];
    paths.dedup();
    paths
}

fn mirror_path(url: &str, keeps_port: bool) -> String {
    let is_url = url.contains("://");
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = match rest.split_once('/') {
        Some((host, path)) if is_url => (host, path),
        _ => match rest.split_once(':') {
            Some((host, path)) if !host.contains('/') => (host, path),
            _ => ("", rest),
        },
    };
    let host = host.rsplit('@').next().unwrap_or_default();
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let part = |(is_host, part): (bool, &str)| match part {
        // Else a URL would lead out of the mirror's folder.
        "." | ".." => "_".repeat(part.len()),
        _ => part
            .chars()
            .map(|letter| {
                let plain = letter.is_ascii_alphanumeric() || "._-".contains(letter);
                let is_port = is_host && keeps_port && letter == ':';
                if plain || is_port { letter } else { '_' }
            })
            .collect(),
    };
    let parts = path.split('/').map(|part| (false, part));
    let parts = std::iter::once((true, host)).chain(parts).filter(|(_, part)| !part.is_empty());
    format!("{}.git", parts.map(part).collect::<Vec<String>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_a_mirror() {
        for (url, path) in [
            ("https://github.com/dcos/dcos", "github.com/dcos/dcos.git"),
            ("git@github.com:dcos/dcos.git", "github.com/dcos/dcos.git"),
            ("ssh://git@github.com/dcos/dcos/", "github.com/dcos/dcos.git"),
            ("https://u:p@h:8443/~me/x.y.git", "h_8443/_me/x.y.git"),
            ("file:///srv/git/r1", "srv/git/r1.git"),
            ("../r1", "__/r1.git"),
            ("https://h/../../x?y=z", "h/__/__/x_y_z.git"),
        ] {
            assert_eq!(git_mirror_path(url), path, "{url}");
        }
        let paths = git_mirror_paths("https://u:p@h:8443/~me/x:y.git");
        assert_eq!(paths, ["h_8443/_me/x_y.git", "h:8443/_me/x_y.git"]);
        assert_eq!(git_mirror_paths("git@h:x.git"), ["h/x.git"]);
    }

    #[test]
    fn local_and_network_urls() {
        let parse = |url| GitLocation::parse(url, Path::new("/p"));
        for (url, path) in
            [("../r", "/p/../r"), ("/r", "/r"), ("file:///r%20s", "/r s"), ("file://r", "/p/r")]
        {
            assert_eq!(parse(url).unwrap(), GitLocation::Local(path.into()), "{url}");
            assert_eq!(parse(url).unwrap().remote(), None);
        }
        for url in ["git@h:r", "https://h/r", "h:r", "codecommit::eu://r"] {
            assert_eq!(parse(url).unwrap().remote().as_deref(), Some(url));
        }
        for url in ["ext::sh -c x", "fd::3"] {
            assert!(matches!(parse(url), Err(SourceProblem::Transport(_))), "{url}");
        }
    }
}
