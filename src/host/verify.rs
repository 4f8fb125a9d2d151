//! Comparison of a package's files with the original contents of the package, or with a
//! repository's.

use std::collections::BTreeMap;
use std::io::{self, Seek};

use super::interruptible::UntilInterrupted;
use super::record::{PackageItem, PackageManifest};
use super::repository::{HostRepositoryError, PackageRepository};
use crate::archive::{EntryPath, ReadError};
use crate::artifact::repository::{self as remote, Repository};
use crate::base::event::Observer;
use crate::package::PackageId;
use crate::package::paths::package_path;

/// A package can't be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The package is missing, or the repository cannot be locked.
    #[error(transparent)]
    Repository(Box<HostRepositoryError>),
    /// The package has no record.
    #[error("there is no record of the files that package {0} had when it was added")]
    NotRecorded(PackageId),
    /// The package's files or records cannot be read.
    #[error("can't read package {id}")]
    Unreadable {
        /// The package.
        id: PackageId,
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The package cannot be fetched from the repository.
    #[error(transparent)]
    Fetch(Box<remote::RepositoryError>),
    /// The repository's package is damaged.
    #[error("can't read the repository's package {id}")]
    Archive {
        /// The package.
        id: PackageId,
        /// Reason.
        #[source]
        source: ReadError,
    },
}

impl VerifyError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Repository(error) => error.hint(),
            Self::Fetch(error) => error.hint(),
            Self::NotRecorded(_) => Some(
                "compare with a repository's package: pkgpanda verify --repository-url=URL"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

impl From<HostRepositoryError> for VerifyError {
    fn from(error: HostRepositoryError) -> Self {
        Self::Repository(Box::new(error))
    }
}

/// Difference between a file and its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileDifference {
    /// The file is missing.
    Missing,
    /// An extra file exists.
    Extra,
    /// The file has changed; in words.
    Changed(String),
}

impl PackageRepository<'_> {
    /// Compares a package's files with those of the package in a repository, or with the recorded
    /// ones; returns the differences.
    pub fn verify(
        &self,
        id: &PackageId,
        from: Option<&Repository>,
        observer: &dyn Observer,
    ) -> Result<BTreeMap<EntryPath, FileDifference>, VerifyError> {
        if !self.has(id) {
            let (id, folder) = (id.clone(), self.folder.to_owned());
            return Err(HostRepositoryError::NotThere { id, folder }.into());
        }
        let unreadable = |source| VerifyError::Unreadable { id: id.clone(), source };
        let expected = match from {
            Some(from) => self.offered(id, from, observer)?,
            None => PackageManifest::read(self.folder, id)
                .map_err(unreadable)?
                .ok_or_else(|| VerifyError::NotRecorded(id.clone()))?,
        };
        let found = PackageManifest::of_folder(&self.place(id)).map_err(unreadable)?;
        Ok(compare(expected, found))
    }

    /// Returns the contents of the package in a repository.
    fn offered(
        &self,
        id: &PackageId,
        from: &Repository,
        observer: &dyn Observer,
    ) -> Result<PackageManifest, VerifyError> {
        // Downloads are in a folder that the holder of the lock sweeps.
        let _lock = self.lock()?;
        let target = self.folder.join(format!("{id}.tar.xz"));
        let file = from
            .fetch(&package_path(id), &target, observer)
            .map_err(|error| VerifyError::Fetch(Box::new(error)))?;
        let mut file = file.ok_or_else(|| HostRepositoryError::NotOffered(id.clone()))?;
        file.file()
            .rewind()
            .map_err(|source| VerifyError::Unreadable { id: id.clone(), source })?;
        PackageManifest::of_archive(UntilInterrupted { inner: file.file(), observer })
            .map_err(|source| VerifyError::Archive { id: id.clone(), source })
    }
}

fn compare(
    expected: PackageManifest,
    mut found: PackageManifest,
) -> BTreeMap<EntryPath, FileDifference> {
    let mut differences = BTreeMap::new();
    for (path, item) in expected.0 {
        let difference = match found.0.remove(&path) {
            None => Some(FileDifference::Missing),
            Some(other) => difference(&item, &other).map(FileDifference::Changed),
        };
        if let Some(difference) = difference {
            differences.insert(path, difference);
        }
    }
    differences.extend(found.0.into_keys().map(|path| (path, FileDifference::Extra)));
    differences
}

/// Describes the difference between two entries, in words.
fn difference(expected: &PackageItem, found: &PackageItem) -> Option<String> {
    use PackageItem::{Fifo, File, Folder, Link};
    let mode = |one: u32, other: u32| {
        (one != other).then(|| format!("its mode is {other:04o} instead of {one:04o}"))
    };
    match (expected, found) {
        (Folder { mode: one }, Folder { mode: other })
        | (Fifo { mode: one }, Fifo { mode: other }) => mode(*one, *other),
        (
            File { mode: one, size, sha256 },
            File { mode: other, size: other_size, sha256: other_sum },
        ) => {
            if size != other_size {
                return Some(format!("it has {other_size} bytes instead of {size}"));
            }
            if sha256 != other_sum {
                return Some("its content is another".to_owned());
            }
            mode(*one, *other)
        }
        (Link { target: one }, Link { target: other }) => {
            (one != other).then(|| format!("it leads to {other} instead of {one}"))
        }
        _ => Some(format!("it is {} instead of {}", word(found), word(expected))),
    }
}

fn word(item: &PackageItem) -> &'static str {
    match item {
        PackageItem::Folder { .. } => "a folder",
        PackageItem::File { .. } => "a file",
        PackageItem::Link { .. } => "a symlink",
        PackageItem::Fifo { .. } => "a FIFO",
        PackageItem::Other {} => "something else",
    }
}
