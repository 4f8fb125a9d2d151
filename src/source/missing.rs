//! Sources that a fetch would need the network for.

use super::git_url::GitLocation;
use super::{FetchOptions, SourceRequest, file, git};
use crate::base::event::{Interruptible, Observer, Silent};
use crate::base::http::redact;
use crate::package::{FileSource, PackageName, SourceName, SourceSpec};
use crate::store::StoreTransfer;

/// Source that is missing in the cache and in all mirrors that may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingSource {
    /// Package of the source.
    pub package: PackageName,
    /// The source's name.
    pub name: SourceName,
    /// URL without credentials.
    pub url: String,
    /// Identity: `sha1 …` or `commit …`, the content to look for in mirrors.
    pub id: String,
}

/// Returns the sources for which [`super::fetch`] would need the sources' own URLs: those that are
/// neither in the cache, with the right digests, nor in a usable mirror, nor on this machine. Reads
/// cached files to their end, as a digest in a `buildinfo.json` may have changed. Returns `None` if the
/// run is over.
pub fn missing(
    requests: &[SourceRequest],
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Option<Vec<MissingSource>> {
    // The fetch itself says what is wrong with a mirror; here it would be said twice.
    let quiet = Interruptible::new(&Silent, || observer.is_interrupted());
    let mut found = Vec::new();
    for request in requests {
        let source = missing_source(request, options, &quiet);
        if observer.is_interrupted() {
            return None;
        }
        found.extend(source);
    }
    Some(found)
}

fn missing_source(
    request: &SourceRequest,
    options: &FetchOptions,
    quiet: &dyn Observer,
) -> Option<MissingSource> {
    let (url, id) = match &request.source.spec {
        SourceSpec::GitLocal { .. } => return None,
        SourceSpec::Git { url, commit, .. } => {
            let location = GitLocation::parse(url, &request.package_dir);
            // A refused URL is not missing: the fetch reports the reason.
            let location = location.ok()?;
            if matches!(&location, GitLocation::Local(path) if path.exists())
                || git::has_commit(request, &location, (url, commit), options, quiet)
            {
                return None;
            }
            (url, format!("commit {commit}"))
        }
        SourceSpec::Url(source) | SourceSpec::UrlExtract(source) => {
            let cached = file::cached_path(request, source);
            if file::local_path(request, &source.url).is_some_and(|path| path.exists())
                || file::is_as_declared(&cached, source, options.pins.of(source), quiet)
                    .unwrap_or(false)
                || has_file(source, options, quiet)
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

/// True if a mirror that may be asked has the file.
fn has_file(source: &FileSource, options: &FetchOptions, quiet: &dyn Observer) -> bool {
    let key = file::file_key(source);
    let transfer = StoreTransfer { subject: key.as_str(), observer: quiet };
    let mut mirrors = options.mirrors.iter().filter(|mirror| options.may_ask(mirror));
    mirrors.any(|mirror| mirror.backend().head(&key, &transfer).is_ok())
}
