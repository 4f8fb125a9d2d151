//! `upstream.json`: a source whose `packages/` adds packages that the tree itself does not define.
//!
//! Getting the source is not done here: the caller reads the file, checks the source out, and reads
//! the checkout's `packages/` for its own upstream in turn, to the end of the chain.

use std::path::{Path, PathBuf};

use super::TreeError;
use super::files::read_text;
use crate::package::json::JsonNode;
use crate::package::{PackageSource, Problem, SourceSpec};

/// An upstream, as an `upstream.json` declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The file.
    pub path: PathBuf,
    /// Source; relative paths start at the packages directory of the file.
    pub source: PackageSource,
}

/// Reads the `upstream.json` of a packages directory, if present.
pub fn read_upstream(packages: &Path) -> Result<Option<Upstream>, TreeError> {
    let path = packages.join("upstream.json");
    // A link that leads nowhere is there: it is an error, not a tree without an upstream.
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    let text = read_text(packages, &path).map_err(|report| TreeError::Problems(vec![report]))?;
    let problem = |problem: Problem| TreeError::Problems(vec![problem.in_file(&path, &text)]);
    let source = parse_upstream(&text).map_err(problem)?;
    Ok(Some(Upstream { path, source }))
}

/// Reads the text of an `upstream.json`.
pub(crate) fn parse_upstream(text: &str) -> Result<PackageSource, Problem> {
    if text.trim().is_empty() {
        return Err(Problem::whole("the file is empty, and an upstream is a source")
            .hint("write a source, such as {\"kind\": \"git\", …}, or remove the file"));
    }
    PackageSource::from_json(&JsonNode::parse(text)?)
}

/// The upstreams from a tree upwards, which must come to an end.
#[derive(Debug, Clone, Default)]
pub struct UpstreamChain(Vec<String>);

impl UpstreamChain {
    /// Adds the next upstream, found in the packages directory `packages`; an error if it is
    /// already part of the chain.
    pub fn push(&mut self, packages: &Path, upstream: &Upstream) -> Result<(), TreeError> {
        let identity = identity(packages, &upstream.source);
        let known = self.0.iter().position(|known| *known == identity);
        // Before the check, so that the cycle that is shown has its first item at its end, too.
        self.0.push(identity);
        match known {
            None => Ok(()),
            Some(start) => Err(TreeError::UpstreamCycle(self.0[start..].to_vec())),
        }
    }
}

fn identity(packages: &Path, source: &PackageSource) -> String {
    match &source.spec {
        SourceSpec::Git { url, commit, .. } => format!("git {url} at {commit}"),
        SourceSpec::GitLocal { rel_path } => {
            // The same repository can be reached by many paths.
            let path = packages.join(rel_path);
            format!("git_local {}", fs_err::canonicalize(&path).unwrap_or(path).display())
        }
        SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
            format!("{} with sha1 {}", file.url, file.sha1)
        }
    }
}
