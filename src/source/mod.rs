//! Getting sources: identify, fetch into the cache, check out into a build (docs/format.md, "Sources").
//!
//! ```text
//! <packages>/cache/packages/<package>/<source>/     SourceRequest::cache_dir
//!   <file name>             a download whose sums were right when it came
//!   <file name>.corrupt     a download whose sums were not; never used, kept to be looked at
//!   cache.git               a copy of a mirror's git repository: bare, all refs, no alternates
//!   .tmp-…                  under construction; swept by the next fetch, under the folder's lock
//!
//! $MKPANDA_HOME/git/<sum of the URL>/mirror.git     our mirror of a repository, for all trees
//! $MKPANDA_HOME/git/<sum>/files-<sum>/              files of a commit as git converts them
//!
//! <mirror>/sha1/<sum>                               a file, under its SHA-1
//! <mirror>/bundles/<commit>.bundle                   a commit of any repository: bundle
//! <mirror>/git/<host>/<path>.git                    a bare git repository: git_mirror_path()
//! ```
//!
//! [`identify`] returns the source's part of a package's id, [`missing()`] the sources that need
//! the network, [`fetch`] brings a source into the cache and checks the content, and
//! [`check_out()`] makes a copy for one build. The first three run in the caller's process.
//! `check_out` may run in a helper in a user namespace: it reads files, runs no program, and opens
//! no repository except its own copy, which shares no file with the cache.
//!
//! The network side of git is the host's `git`, with whatever credentials, proxies and `insteadOf`
//! its configuration has. The same git decides by its rules (`git_state`): changes of a work tree,
//! and the files that attributes convert, with the user's filters. All else is done here.

mod added;
mod bundle;
mod bundle_portable;
mod cache;
mod check_out;
mod clone;
mod clone_url;
mod error;
mod file;
mod git;
mod git_commit;
mod git_convert;
mod git_fetch;
mod git_foreign;
mod git_format;
mod git_guard;
mod git_layout;
mod git_local;
mod git_login;
mod git_mirror;
mod git_program;
mod git_refs;
mod git_repository;
mod git_selection;
mod git_state;
mod git_url;
mod head;
mod local_repository;
mod local_scope;
mod missing;
mod options;
mod pins;
mod submodules;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::base::digest::Sha1Sum;
use crate::base::event::Observer;
use crate::package::{CommitId, PackageName, PackageSource, SourceName, SourceSpec};
use crate::store::ObjectKey;

pub use added::{AddedKey, AddedPin, AddedPins, AddedSources, NotPinned};
pub use bundle::{BundleError, BundleRequest, check_bundle, of_bundle, unpack as unpack_bundle};
pub use cache::folder_lock;
pub use check_out::{CheckOutError, check_out};
pub use clone_url::clone_url;
pub use error::{SourceError, SourceProblem, SubmoduleProblem};
pub use git_selection::{GitSelection, GitSelectionError};
pub use git_url::git_mirror_path;
pub use head::head_of_checkout;
pub use local_scope::{LocalPermission, LocalScope, OutOfScope};
pub use missing::{MissingSource, missing};
pub use options::{FetchOptions, GitOptions};
pub use pins::{FilePin, FilePins};

/// Source of a package, with its paths.
#[derive(Debug, Clone)]
pub struct SourceRequest {
    /// Package of the source.
    pub package: PackageName,
    /// The package's folder, to which relative paths are relative; absolute.
    pub package_dir: PathBuf,
    /// Cache folder of the source: `<packages>/cache/packages/<package>/<source>`.
    pub cache_dir: PathBuf,
    /// The source's name.
    pub name: SourceName,
    /// The source as declared.
    pub source: PackageSource,
    /// Scope for a `git_local` source.
    pub local: LocalScope,
    /// A git repository that the original's tools keep for the source: read, never written.
    pub original_mirror: Option<PathBuf>,
}

impl SourceRequest {
    /// Name of the source in events: `<package>/<source>`.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.package, self.name)
    }

    /// Name of the source in a mirror and in a shared cache's `sources/`; `None` for `git_local`.
    pub fn mirror_key(&self) -> Option<ObjectKey> {
        match &self.source.spec {
            SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => Some(file::file_key(file)),
            SourceSpec::Git { commit, .. } => Some(bundle::bundle_key(commit)),
            SourceSpec::GitLocal { .. } => None,
        }
    }

    /// The error of a request.
    pub fn problem(&self, problem: SourceProblem) -> SourceError {
        SourceError {
            package: self.package.clone(),
            name: self.name.clone(),
            problem: Box::new(problem),
        }
    }
}

/// Source's part of a package's id (docs/format.md, "Package id").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceId {
    /// A commit, of `git` and `git_local`.
    Commit(CommitId),
    /// A file's SHA-1, of `url` and `url_extract`.
    DownloadedSha1(Sha1Sum),
}

impl SourceId {
    /// `{"commit": …}` or `{"downloaded_sha1": …}`.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Commit(commit) => json!({ "commit": commit.as_str() }),
            Self::DownloadedSha1(sum) => json!({ "downloaded_sha1": sum.as_str() }),
        }
    }
}

/// Fetched source, as input of [`check_out()`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FetchedSource {
    /// A file, to appear under its own name.
    File {
        /// Path.
        path: PathBuf,
        /// Name of the file.
        file_name: String,
    },
    /// An archive, whose contents are to appear.
    Archive {
        /// Path.
        path: PathBuf,
        /// Name of the file, which determines the kind of archive.
        file_name: String,
    },
    /// A commit in a mirror of ours.
    GitMirror {
        /// The bare repository.
        path: PathBuf,
        /// The commit to check out.
        commit: CommitId,
        /// URL of the clone's `origin`: a network URL without credentials.
        remote: Option<String>,
        /// Folder with git's converted files.
        converted: Option<PathBuf>,
    },
    /// A commit in a repository of the user's.
    GitLocal {
        /// The folder with the repository's objects and refs (its `.git`, mostly).
        path: PathBuf,
        /// The commit to check out.
        commit: CommitId,
        /// Folder with git's converted files.
        converted: Option<PathBuf>,
    },
}

impl FetchedSource {
    /// Folder of the files of a commit that git converts.
    pub fn converted(&self) -> Option<&PathBuf> {
        match self {
            Self::GitMirror { converted, .. } | Self::GitLocal { converted, .. } => {
                converted.as_ref()
            }
            Self::File { .. } | Self::Archive { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn converted_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::GitMirror { converted, .. } | Self::GitLocal { converted, .. } => {
                converted.as_mut()
            }
            Self::File { .. } | Self::Archive { .. } => None,
        }
    }

    /// Path of the file or repository.
    pub fn path(&self) -> &Path {
        let (Self::File { path, .. }
        | Self::Archive { path, .. }
        | Self::GitMirror { path, .. }
        | Self::GitLocal { path, .. }) = self;
        path
    }

    /// Path of the file or repository, to be changed.
    pub fn path_mut(&mut self) -> &mut PathBuf {
        let (Self::File { path, .. }
        | Self::Archive { path, .. }
        | Self::GitMirror { path, .. }
        | Self::GitLocal { path, .. }) = self;
        path
    }
}

/// File of a `url` or `url_extract` source in the cache, if present with the declared digests. The end of
/// the run ends the reading.
pub fn cached_file(request: &SourceRequest, observer: &dyn Observer) -> Option<PathBuf> {
    let (SourceSpec::Url(file) | SourceSpec::UrlExtract(file)) = &request.source.spec else {
        return None;
    };
    let path = file::cached_path(request, file);
    file::is_as_declared(&path, file, None, observer).unwrap_or(false).then_some(path)
}

/// Returns the source's part of its package's id. For `git_local`, the part is the commit at HEAD;
/// uncommitted changes to tracked files, found by the host's git, are an error that names them.
pub fn identify(
    request: &SourceRequest,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<SourceId, SourceError> {
    match &request.source.spec {
        SourceSpec::Git { commit, .. } => Ok(SourceId::Commit(commit.clone())),
        SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
            Ok(SourceId::DownloadedSha1(file.sha1.clone()))
        }
        SourceSpec::GitLocal { rel_path } => git_local::head(request, rel_path, options, observer)
            .map(SourceId::Commit)
            .map_err(|problem| request.problem(problem)),
    }
}

/// Brings the source into the cache, unless present, and checks the content. `id` is the result of
/// [`identify`]: a `git_local` repository may have changed since. A failure leaves nothing behind
/// but `<file name>.corrupt`. Waits for other processes that fetch into the same folder.
pub fn fetch(
    request: &SourceRequest,
    id: &SourceId,
    options: &FetchOptions,
    observer: &dyn Observer,
) -> Result<FetchedSource, SourceError> {
    let fetched = match (&request.source.spec, id) {
        (SourceSpec::GitLocal { rel_path }, SourceId::Commit(commit)) => {
            git_local::fetched(request, rel_path, commit, options)
        }
        (SourceSpec::GitLocal { rel_path }, SourceId::DownloadedSha1(_)) => {
            git_local::head(request, rel_path, options, observer)
                .and_then(|commit| git_local::fetched(request, rel_path, &commit, options))
        }
        (SourceSpec::Git { url, commit, ref_origin }, _) => {
            let wanted = git_commit::CommitRequest { url, commit, ref_origin };
            git::fetch(request, &wanted, options, observer)
        }
        (SourceSpec::Url(file), _) => cache::with_folder(request, options, observer, || {
            let path = file::fetch(request, file, options, observer)?;
            Ok(FetchedSource::File { path, file_name: file.file_name().to_owned() })
        }),
        (SourceSpec::UrlExtract(file), _) => cache::with_folder(request, options, observer, || {
            let path = file::fetch(request, file, options, observer)?;
            Ok(FetchedSource::Archive { path, file_name: file.archive_name().to_owned() })
        }),
    };
    fetched
        // Here and not at the check-out, which may run in a helper without the host's git.
        .and_then(|fetched| git_convert::add_converted(fetched, request, options, observer))
        .map_err(|problem| request.problem(problem))
}
