//! `mkpanda.lock`: the state of all external inputs of a tree's builds (docs/format.md,
//! "mkpanda.lock").
//!
//! ```text
//! <packages>/mkpanda.lock, or <packages>/../mkpanda.lock     beside mkpanda.toml; the nearer one counts
//! ```
//!
//! A lock can only restrict: its entries are compared with the tree's declarations and the fetched
//! contents, and movable names mean the locked state. Ids of packages do not depend on the lock.
//! The lock of an upstream is ignored.

mod fault;
mod text;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::files::read_text;
use crate::base::digest::Sha1Sum;
use crate::base::http::redact;
use crate::image::pins::{ImagePins, PinnedImages};
use crate::package::{CommitId, Report, SourceSpec};
use crate::source::{AddedPins, AddedSources, FilePin, FilePins, LocalScope};

pub use fault::{LockFault, LockFaults, MissingEntry};
pub use text::{added_line, image_line, source_line};

/// Name of the file.
pub const LOCK_NAME: &str = "mkpanda.lock";

/// Declaration of a source, as a key in a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKey {
    /// A commit of a repository elsewhere.
    Git {
        /// URL without credentials.
        url: String,
        /// The commit.
        commit: CommitId,
    },
    /// HEAD of a local repository that is not the tree's own.
    GitLocal {
        /// Path as declared.
        rel_path: String,
        /// The commit.
        commit: CommitId,
    },
    /// A file.
    File {
        /// URL without credentials.
        url: String,
        /// SHA-1 of the content.
        sha1: Sha1Sum,
    },
}

impl SourceKey {
    /// Key of a declared source; `head` is the commit of a `git_local` one.
    pub fn of(spec: &SourceSpec, head: Option<&CommitId>) -> Option<Self> {
        Some(match spec {
            SourceSpec::Git { url, commit, .. } => {
                // The lock is in the repository, where no password should be.
                Self::Git { url: redact(url), commit: commit.clone() }
            }
            SourceSpec::GitLocal { rel_path } => {
                Self::GitLocal { rel_path: rel_path.clone(), commit: head?.clone() }
            }
            SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
                Self::File { url: redact(&file.url), sha1: file.sha1.clone() }
            }
        })
    }

    /// Kind and location of the source, which stay when its content changes.
    pub fn place(&self) -> (&'static str, &str) {
        match self {
            Self::Git { url, .. } => ("git", url),
            Self::GitLocal { rel_path, .. } => ("git_local", rel_path),
            Self::File { url, .. } => ("url", url),
        }
    }

    /// Sum of the content.
    pub fn sum(&self) -> String {
        match self {
            Self::Git { commit, .. } | Self::GitLocal { commit, .. } => format!("commit {commit}"),
            Self::File { sha1, .. } => format!("sha1 {sha1}"),
        }
    }
}

impl fmt::Display for SourceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", self.sum(), redact(self.place().1))
    }
}

/// Sources of a lock; files have a pin.
pub type Sources = BTreeMap<SourceKey, Option<FilePin>>;

/// True if a source is in the tree's own repository, which also contains the lock: such a source
/// cannot be pinned. `folder` is the folder of the declaration.
pub fn is_own(packages: &Path, folder: &Path, spec: &SourceSpec) -> bool {
    let SourceSpec::GitLocal { rel_path } = spec else { return false };
    let Ok(place) = fs_err::canonicalize(folder.join(rel_path)) else { return false };
    LocalScope::of(packages, String::new()).has_folder(&place)
}

/// Contents of a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TreeLock {
    /// The file.
    pub path: PathBuf,
    /// Upstreams.
    pub upstreams: Sources,
    /// Sources of packages.
    pub sources: Sources,
    /// Images of packages.
    pub images: PinnedImages,
    /// Images that Dockerfiles of the tree name, and the triggers of these.
    pub base_images: PinnedImages,
    /// Contents that Dockerfiles of the tree add from elsewhere.
    pub added: AddedSources,
}

/// Source with its users: `package/source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSource {
    /// The source.
    pub key: SourceKey,
    /// Users of the source.
    pub users: BTreeSet<String>,
}

impl TreeLock {
    /// Path of the lock of a packages folder: the existing one, or the one beside `mkpanda.toml`.
    pub fn place(packages: &Path) -> PathBuf {
        let folders = || [Some(packages), packages.parent()].into_iter().flatten();
        let having = |name: &str| {
            let mut found = folders().map(|folder| folder.join(name));
            found.find(|path| path.symlink_metadata().is_ok())
        };
        let beside = || having("mkpanda.toml").map(|path| path.with_file_name(LOCK_NAME));
        having(LOCK_NAME).or_else(beside).unwrap_or_else(|| packages.join(LOCK_NAME))
    }

    /// Reads the lock of a packages folder, if there is one.
    pub fn read(packages: &Path) -> Result<Option<Self>, Report> {
        let path = Self::place(packages);
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let text = read_text(path.parent().unwrap_or(packages), &path)?;
        let lock = Self::parse(&text).map_err(|problem| problem.in_file(&path, &text))?;
        Ok(Some(Self { path, ..lock }))
    }

    /// Lines of entries that another lock does not have so.
    pub fn lines_not_in(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (own, others) in [(&self.upstreams, &other.upstreams), (&self.sources, &other.sources)]
        {
            let new = own.iter().filter(|(key, pin)| others.get(key) != Some(pin));
            lines.extend(new.map(|(key, pin)| source_line(key, pin.as_ref())));
        }
        let lists = [(&self.images, &other.images), (&self.base_images, &other.base_images)];
        for (own, others) in lists {
            let new = own.iter().filter(|(key, pin)| others.get(key) != Some(pin));
            lines.extend(new.map(|(key, pin)| image_line(key, pin)));
        }
        let new = self.added.iter().filter(|(key, pin)| other.added.get(key) != Some(pin));
        lines.extend(new.map(|(key, pin)| added_line(key, pin)));
        lines
    }

    /// Pinned digests of files, in addition to packages' declarations.
    pub fn file_pins(&self) -> FilePins {
        let all = self.upstreams.iter().chain(&self.sources);
        let pins = all.filter_map(|(key, pin)| match (key, pin) {
            (SourceKey::File { url, sha1 }, Some(pin)) => {
                Some((url.clone(), sha1.clone(), pin.clone()))
            }
            _ => None,
        });
        pins.collect()
    }

    /// Pinned contents of what Dockerfiles add.
    pub fn added_pins(&self, is_complete: bool) -> AddedPins {
        AddedPins { pins: self.added.clone(), is_complete }
    }

    /// Pinned images by name.
    pub fn image_pins(&self, is_complete: bool) -> ImagePins {
        let (images, bases) = (self.images.clone(), self.base_images.clone());
        ImagePins { images, bases, is_complete }
    }
}
