//! What a fetch would need the network for.

use super::git_url::GitLocation;
use super::{FetchOptions, SourceRequest, file, git};
use crate::base::http::redact;
use crate::package::{PackageName, SourceName, SourceSpec};
use crate::store::Store;

/// A source that is neither in the cache nor in a mirror's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSource {
    /// The package that wants it.
    pub package: PackageName,
    /// The source's name.
    pub name: SourceName,
    /// Where it would come from, without credentials.
    pub url: String,
    /// What it is known by: `sha1 …` or `commit …`; what a mirror would have to have.
    pub id: String,
}

/// The sources for which [`super::fetch`] would need the network: all those that are neither in
/// the cache, with the right sums, nor in a mirror's folder, nor on this machine. Mirrors with URLs
/// are the network. Reads cached files to their end, as a sum in a `buildinfo.json` may have changed.
pub fn missing(requests: &[SourceRequest], options: &FetchOptions) -> Vec<MissingSource> {
    requests.iter().filter_map(|request| missing_source(request, options)).collect()
}

fn missing_source(request: &SourceRequest, options: &FetchOptions) -> Option<MissingSource> {
    let folders = || options.mirrors.iter().filter_map(Store::local_folder);
    let (url, id) = match &request.source.spec {
        SourceSpec::GitLocal { .. } => return None,
        SourceSpec::Git { url, commit, .. } => {
            let location = GitLocation::parse(url, &request.package_dir);
            // A URL that is refused is not missing: the fetch says what is wrong with it.
            let location = location.ok().filter(|it| matches!(it, GitLocation::Network(_)))?;
            if git::has_commit(request, &location, url, commit, options) {
                return None;
            }
            (url, format!("commit {commit}"))
        }
        SourceSpec::Url(source) | SourceSpec::UrlExtract(source) => {
            let cached = file::cached_path(request, source);
            let mut copies = folders().map(|folder| folder.join(file::mirrored_path(source)));
            if file::local_path(request, &source.url).is_some()
                || file::is_right(&cached, source).unwrap_or(false)
                || copies.any(|copy| copy.is_file())
            {
                return None;
            }
            (&source.url, format!("sha1 {}", source.sha1))
        }
    };
    Some(MissingSource {
        package: request.package.clone(),
        name: request.name.clone(),
        url: redact(url),
        id,
    })
}
