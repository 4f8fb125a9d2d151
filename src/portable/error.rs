//! Errors of portable jobs.

use std::io;
use std::path::PathBuf;

use super::budget::{TooLarge, too_large};
use super::unable::Unable;
use crate::archive::{PackError, ReadError, UnpackError};
use crate::base::digest::Sha256Sum;
use crate::base::escape::path_argument;
use crate::base::full_disk::{cannot_be_written, says_no_room};
use crate::base::remedy::RAISE_UNPACKED;
use crate::build::id::FolderError;
use crate::build::supply::BuildError;
use crate::package::{PackageId, SourceName};
use crate::source::{BundleError, SourceProblem};
use crate::tree::TreeError;

/// A portable job cannot be made, read or carried out.
#[derive(Debug, thiserror::Error)]
pub enum PortableJobError {
    /// The folder is not that of a job.
    #[error("{} is not the folder of a portable job: its job.json cannot be read", path.display())]
    NoJob {
        /// Folder.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The description is not valid.
    #[error("job.json is not the description of a portable job: {0}")]
    Document(serde_json::Error),
    /// The description is of another version.
    #[error("job.json is of version {found}, and this mkpanda knows version {known} only")]
    ForeignVersion {
        /// Version of the description.
        found: u64,
        /// Version that is read.
        known: u64,
    },
    /// A value of the description is not valid.
    #[error("job.json: {key}: {problem}")]
    Value {
        /// Key.
        key: &'static str,
        /// Fault.
        problem: &'static str,
    },
    /// A file of the job is not as it has to be.
    #[error("{name} of the job {problem}")]
    Entry {
        /// Name in the job's folder.
        name: String,
        /// Fault.
        problem: EntryProblem,
    },
    /// Two parts of the job contradict each other.
    #[error("the job contradicts itself: {what} is {said} in job.json, and {found} by its files")]
    Contradiction {
        /// What differs.
        what: String,
        /// Value of the description.
        said: String,
        /// Computed value.
        found: String,
    },
    /// The package's folder has no such package.
    #[error("package.tar of the job is not the folder of a package")]
    Package(#[source] Box<TreeError>),
    /// Something in the package's folder has no place in an id.
    #[error("package.tar of the job: {0}")]
    Identity(String),
    /// The build script or `extra/` cannot be hashed.
    #[error("the id of the package in package.tar cannot be computed")]
    Hash(#[source] FolderError),
    /// The package's folder cannot be unpacked.
    #[error("{name} of the job cannot be unpacked")]
    Unpack {
        /// Name in the job's folder.
        name: String,
        /// Cause.
        #[source]
        source: UnpackError,
    },
    /// The results cannot be put into a folder.
    #[error("the results cannot be put into {}: it is not a folder", .0.display())]
    OutNoFolder(PathBuf),
    /// The folder for the results is elsewhere than the job.
    #[error("the results cannot be put into {}: the job's folder was moved meanwhile", .0.display())]
    OutMoved(PathBuf),
    /// The folder for the results is that of the job.
    #[error("the results cannot be put into the job's own folder")]
    OutIsJob,
    /// The folder for the results has files of those names, and no record.
    #[error("the results cannot be put into {}: its file {name} is not the result of a job, and would be replaced", path.display())]
    OutOfOthers {
        /// Folder.
        path: PathBuf,
        /// Name in the folder.
        name: &'static str,
    },
    /// The files of the job have too many bytes.
    #[error("the job is too large")]
    TooLarge(#[source] TooLarge),
    /// A bundle cannot be unpacked.
    #[error("{name} of the job cannot be used")]
    Bundle {
        /// Name in the job's folder.
        name: String,
        /// Cause.
        #[source]
        source: BundleError,
    },
    /// This machine cannot carry the job out; another one may.
    #[error(transparent)]
    Unable(#[from] Unable),
    /// The build failed.
    #[error(transparent)]
    Build(Box<BuildError>),
    /// The place for a job is taken.
    #[error("{} is there already", .0.display())]
    Taken(PathBuf),
    /// A required package is not in the cache.
    #[error("{id} requires {needed}, which is not in the cache")]
    NotBuilt {
        /// Package of the job.
        id: PackageId,
        /// Required package.
        needed: PackageId,
    },
    /// A source cannot be put into a job.
    #[error("source {name} cannot be put into the job")]
    Source {
        /// Source.
        name: SourceName,
        /// Cause.
        #[source]
        source: Box<SourceProblem>,
    },
    /// The package's folder cannot be packed.
    #[error("the package's folder cannot be packed")]
    Pack(#[source] PackError),
    /// There is no failed build.
    #[error("{0} has no failed build here")]
    NotFailed(PackageId),
    /// A file cannot be read or written.
    #[error("cannot {doing}")]
    File {
        /// Attempted step.
        doing: &'static str,
        /// Cause, with the path.
        #[source]
        source: io::Error,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Fault of a file of a job.
#[derive(Debug, thiserror::Error)]
pub enum EntryProblem {
    /// The file is not there.
    #[error("is missing")]
    Missing,
    /// The way to the file leads through a symbolic link.
    #[error("is a symbolic link, or behind one; a job's files are in its folder")]
    LeadsOut,
    /// Something else than a file.
    #[error("is not a regular file")]
    NotAFile,
    /// The content is another one.
    #[error("was changed: its SHA-256 is {found}, and job.json says {said}")]
    OtherSum {
        /// Sum in the description.
        said: Sha256Sum,
        /// Sum of the content.
        found: Sha256Sum,
    },
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// The content cannot be used.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

/// True for an error of a machine that cannot write, rather than of what it reads.
fn cannot_write(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<git2::Error>() {
        // libgit2 has no code for it, and adds the system's words.
        return error.class() == git2::ErrorClass::Os && says_no_room(error.message());
    }
    error.downcast_ref().is_some_and(cannot_be_written)
}

impl PortableJobError {
    /// Error of making a job.
    pub(super) fn file(doing: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| match too_large(&source) {
            Some(fault) => Self::TooLarge(fault),
            None => Self::File { doing, source },
        }
    }

    /// Error of putting a source into a job.
    pub(super) fn of_source(name: &SourceName, source: SourceProblem) -> Self {
        let fault = match &source {
            SourceProblem::Io { error, .. } => too_large(error),
            _ => None,
        };
        let other = |source| Self::Source { name: name.clone(), source: Box::new(source) };
        fault.map_or_else(|| other(source), Self::TooLarge)
    }

    /// Error of using a file of the job: one of the machine's where the cause is that nothing can be written.
    pub(super) fn of_use(error: Self) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(at) = cause {
            if cannot_write(at) {
                return Unable::Files(Box::new(error)).into();
            }
            cause = at.source();
        }
        error
    }

    /// Error of packing a folder of a job.
    pub(super) fn pack(error: PackError) -> Self {
        let fault = match &error {
            PackError::Input(source) => too_large(source),
            _ => None,
        };
        fault.map_or_else(|| Self::Pack(error), Self::TooLarge)
    }

    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoJob { path, .. } if path.is_file() => Some(format!(
                "make the folder of a file first: mkdir DIR && tar -xf {} -C DIR",
                path_argument(path)
            )),
            Self::NoJob { .. } => {
                Some("make one: mkpanda job export PACKAGE DIR, in the folder of a tree".to_owned())
            }
            Self::ForeignVersion { .. } => Some(
                "use the version of mkpanda that made it, or make it again with this one"
                    .to_owned(),
            ),
            Self::Document(_)
            | Self::Value { .. }
            | Self::Entry { .. }
            | Self::Contradiction { .. }
            | Self::Bundle { .. } => Some(
                "make the job again (mkpanda job export), and copy its folder with all files"
                    .to_owned(),
            ),
            Self::Taken(_) => Some("remove it, or name another place".to_owned()),
            Self::OutNoFolder(_)
            | Self::OutMoved(_)
            | Self::OutIsJob
            | Self::OutOfOthers { .. } => {
                Some("name a folder that is empty or new: --out DIR".to_owned())
            }
            Self::NotBuilt { needed, .. } => Some(format!(
                "build it first: mkpanda -C {}, in the folder of the tree",
                needed.name()
            )),
            Self::Unpack { source: UnpackError::Read(ReadError::Limit(limit)), .. } => {
                limit.remedy().map(str::to_owned)
            }
            Self::NotFailed(_) => {
                Some("without --failed, the job is what would be built now".to_owned())
            }
            Self::Source { source, .. } => source.hint(),
            Self::Hash(error) => error.hint(),
            Self::TooLarge(_) => Some(RAISE_UNPACKED.to_owned()),
            Self::Unable(error) => error.hint(),
            Self::Build(error) => error.hint(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_the_machines_and_damage_the_jobs() {
        let of = |kind: io::ErrorKind| {
            let source = BundleError::Read(io::Error::new(kind, "file"));
            PortableJobError::of_use(PortableJobError::Bundle {
                name: "sources/x".to_owned(),
                source,
            })
        };
        for kind in [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::ReadOnlyFilesystem,
        ] {
            assert!(matches!(of(kind), PortableJobError::Unable(Unable::Files(_))), "{kind}");
        }
        assert!(matches!(of(io::ErrorKind::UnexpectedEof), PortableJobError::Bundle { .. }));
        let git_error = |message: String| {
            git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Os, message)
        };
        let of_system = |code| {
            let text = io::Error::from_raw_os_error(code).to_string();
            git_error(format!("failed to write: {text}"))
        };
        let full = of_system(libc::ENOSPC);
        let quota = of_system(libc::EDQUOT);
        let damaged = "object is corrupted";
        let damaged =
            git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Odb, damaged);
        for (error, expected) in [(full, true), (quota, true), (damaged, false)] {
            let source = BundleError::Objects(error);
            let error = PortableJobError::of_use(PortableJobError::Bundle {
                name: "sources/x".to_owned(),
                source,
            });
            assert_eq!(matches!(error, PortableJobError::Unable(_)), expected, "{error}");
        }
    }
}
