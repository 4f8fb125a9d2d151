//! The source of a new package, with its sums.

use std::io::{self, Seek};
use std::path::{Path, PathBuf};

use crate::base::digest::{Sha1Sum, Sha256Sum, Tee};
use crate::base::event::Observer;
use crate::base::http::{HttpClient, HttpError, redact};
use crate::base::regular::open_regular;
use crate::package::json::JsonNode;
use crate::package::{PackageSource, Problem, path_of_file_url};

/// Source of a new package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSource {
    /// URL.
    pub url: String,
    /// SHA-1.
    pub sha1: Sha1Sum,
    /// SHA-256, if the file was read.
    pub sha256: Option<Sha256Sum>,
}

/// A source cannot be declared.
#[derive(Debug, thiserror::Error)]
pub enum DeclareError {
    /// The declaration would not be valid.
    #[error("--from {url}: {}", problem.message)]
    Invalid {
        /// The URL.
        url: String,
        /// Fault.
        problem: Problem,
    },
    /// The URL is that of a git repository.
    #[error("--from takes a file or an archive, and {0} is a git repository")]
    Git(String),
    /// The sum is not valid.
    #[error("--sha1: {0}")]
    Sum(#[source] crate::base::digest::ParseDigestError),
    /// The file cannot be fetched.
    #[error("the source cannot be fetched")]
    Fetch(#[source] HttpError),
    /// The file cannot be read.
    #[error("the source {url} cannot be read")]
    Read {
        /// The URL.
        url: String,
        /// Cause.
        #[source]
        source: io::Error,
    },
}

impl DeclareError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Invalid { problem, .. } => problem.hint.clone(),
            Self::Git(url) => Some(format!(
                "make the package without --from, find the commit (git ls-remote {url}), and add\n  \"sources\": {{\"NAME\": {{\"kind\": \"git\", \"git\": \"{url}\", \"ref\": \"COMMIT\", \"ref_origin\": \"BRANCH\"}}}}"
            )),
            Self::Sum(_) => Some("sha1sum FILE prints it".to_owned()),
            Self::Fetch(error) => error.hint().map(str::to_owned),
            Self::Read { .. } => None,
        }
    }
}

/// Ends of names of archives that are unpacked.
const ARCHIVES: [&str; 10] = [
    ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar.zst", ".tzst", ".zip",
];

/// Path of a file on this machine that a URL names, relative to a package's folder.
pub fn local_file(folder: &Path, url: &str) -> Option<PathBuf> {
    path_of_file_url(url).map(|path| folder.join(path))
}

impl NewSource {
    /// Kind of the source: an archive is unpacked.
    pub fn kind(&self) -> &'static str {
        let name = self.url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
        let is_archive = ARCHIVES.iter().any(|end| name.ends_with(end));
        if is_archive { "url_extract" } else { "url" }
    }

    /// Creates a source with a known sum.
    pub fn with_sum(url: &str, sha1: &str) -> Result<Self, DeclareError> {
        Self { url: url.to_owned(), sha1: sha1.parse().map_err(DeclareError::Sum)?, sha256: None }
            .checked()
    }

    /// Creates a source from a file of this machine.
    pub fn of_file(url: &str, file: &Path) -> Result<Self, DeclareError> {
        let failed = |source| DeclareError::Read { url: redact(url), source };
        Self::of_reader(url, open_regular(file).map_err(failed)?)
    }

    /// Creates a source with the sums of the downloaded file, which is not kept.
    pub fn fetched(
        url: &str,
        http: &HttpClient,
        observer: &dyn Observer,
    ) -> Result<Self, DeclareError> {
        // Before anything is fetched.
        Self { url: url.to_owned(), sha1: Sha1Sum::of(b""), sha256: None }.checked()?;
        let failed = |source| DeclareError::Read { url: redact(url), source };
        // On disk, since a source may be larger than the memory.
        let mut file = tempfile::tempfile().map_err(failed)?;
        http.download(url, url, &mut file, observer).map_err(DeclareError::Fetch)?;
        file.rewind().map_err(failed)?;
        Self::of_reader(url, file)
    }

    fn of_reader(url: &str, reader: impl io::Read) -> Result<Self, DeclareError> {
        let failed = |source| DeclareError::Read { url: redact(url), source };
        let mut tee = Tee::with_sha1(reader);
        io::copy(&mut tee, &mut io::sink()).map_err(failed)?;
        let sums = tee.finish().1;
        Self { url: url.to_owned(), sha1: sums.sha1, sha256: Some(sums.sha256) }.checked()
    }

    /// Returns the source if a description may have it.
    fn checked(self) -> Result<Self, DeclareError> {
        // Told apart by the URL: a server of such a URL answers with a page, whose sum would be
        // pinned.
        let is_git = ["git@", "git://", "git+"].iter().any(|start| self.url.starts_with(start))
            || self.url.strip_suffix(".git").is_some();
        if is_git {
            return Err(DeclareError::Git(redact(&self.url)));
        }
        let text = serde_json::json!({
            "kind": self.kind(), "url": self.url, "sha1": self.sha1.as_str(),
        });
        let parsed =
            JsonNode::parse(&text.to_string()).and_then(|node| PackageSource::from_json(&node));
        match parsed {
            Ok(_) => Ok(self),
            Err(problem) => Err(DeclareError::Invalid { url: redact(&self.url), problem }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_unpacked_and_bad_urls_refused() {
        let sum = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        for (url, kind) in [
            ("https://h/zlib-1.3.tar.gz", "url_extract"),
            ("https://h/x.TGZ?y=1", "url_extract"),
            ("https://h/tool", "url"),
            ("file://x.zip", "url_extract"),
        ] {
            assert_eq!(NewSource::with_sum(url, sum).unwrap().kind(), kind, "{url}");
        }
        for bad in ["https://h/", "ftp://h/x", "x", "https://h/x.git", "git@h:x"] {
            assert!(NewSource::with_sum(bad, sum).is_err(), "{bad}");
        }
        assert!(NewSource::with_sum("https://h/x", "12").is_err());
    }
}
