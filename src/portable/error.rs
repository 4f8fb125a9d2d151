//! Errors of portable jobs.

use std::io;
use std::path::PathBuf;

use super::budget::{TooLarge, too_large};
use crate::archive::{PackError, ReadError, UnpackError};
use crate::base::digest::Sha256Sum;
use crate::base::escape::path_argument;
use crate::base::remedy::raise_limit;
use crate::build::id::FolderError;
use crate::build::supply::BuildError;
use crate::container::idmap::Tier;
use crate::package::{PackageId, SourceName};
use crate::runner::session::SessionError;
use crate::source::{BundleError, SourceProblem};
use crate::tree::TreeError;

/// A portable job cannot be made, read or carried out.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
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
    #[error("package.tar of the job has no id")]
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
    /// The folder for the results is that of the job.
    #[error("the results cannot be put into the job's own folder")]
    OutIsJob,
    /// The folder for the results has files of those names, and no record.
    #[error("the results cannot be put into {}: its {name} would be replaced, and is not that of a job", path.display())]
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

/// Reason why this machine cannot carry a job out.
#[derive(Debug, thiserror::Error)]
pub enum Unable {
    /// No container can be run, or limits cannot be kept.
    #[error("this machine cannot carry the job out")]
    Session(#[source] Box<SessionError>),
    /// The job wants another tier than this machine's user.
    #[error("the job wants the tier {wanted}, and this machine's settings demand {demanded}")]
    Tier {
        /// Tier of the job.
        wanted: Tier,
        /// Tier of the settings.
        demanded: Tier,
    },
    /// The job is for the embedded builder of another system.
    #[error(
        "the job is to be built in the embedded builder of another system: {wanted}, and this is {found}"
    )]
    OtherSystem {
        /// Id of the job's system.
        wanted: Sha256Sum,
        /// Id of this system.
        found: Sha256Sum,
    },
    /// There is no embedded builder here.
    #[error("the job is to be built in the embedded builder, which this machine does not have")]
    NoHost(#[source] io::Error),
    /// The image is for another processor.
    #[error("the job's image is for {0}, and this machine is another")]
    OtherPlatform(String),
    /// Folders of the run cannot be made or filled.
    #[error("this machine cannot carry the job out: cannot {doing}")]
    File {
        /// Attempted step.
        doing: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// There is no variable that names a home, and no folder for one.
    #[error("this machine cannot carry the job out: cannot make the builder's own folder")]
    OwnHome(#[source] io::Error),
    /// A folder of the run would be in the job's folder.
    #[error("{what} {} is in the job's folder, where nothing but results is written", path.display())]
    InJob {
        /// Purpose of the folder.
        what: &'static str,
        /// Folder.
        path: PathBuf,
    },
    /// The helper did not come to an answer.
    #[error(transparent)]
    Helper(Box<BuildError>),
    /// The disk is full.
    #[error("{0}")]
    NoRoom(String),
    /// Files of the job cannot be unpacked here.
    #[error("this machine cannot carry the job out")]
    Files(#[source] Box<JobError>),
}

/// True for an error of a machine that cannot write, rather than of what it reads.
fn cannot_write(error: &(dyn std::error::Error + 'static)) -> bool {
    if let Some(error) = error.downcast_ref::<git2::Error>() {
        // libgit2 has no code for it, and adds the system's words.
        let full =
            [libc::ENOSPC, libc::EDQUOT].map(|code| nix::errno::Errno::from_raw(code).desc());
        return error.class() == git2::ErrorClass::Os
            && full.iter().any(|words| error.message().contains(words));
    }
    error.downcast_ref::<io::Error>().is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
        )
    })
}

impl JobError {
    /// Error of making a job.
    pub(super) fn file(doing: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| match too_large(&source) {
            Some(fault) => Self::TooLarge(fault),
            None => Self::File { doing, source },
        }
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
            Self::ForeignVersion { .. } => {
                Some("use the version of mkpanda that made it, or have it made again".to_owned())
            }
            Self::Entry { .. } | Self::Contradiction { .. } => {
                Some("have it made again, and carried over whole".to_owned())
            }
            Self::Taken(_) => Some("remove it, or name another place".to_owned()),
            Self::OutNoFolder(_) | Self::OutIsJob | Self::OutOfOthers { .. } => {
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
            Self::TooLarge(_) => Some(
                concat!("if it is meant to be that large, ", raise_limit!("unpacked", "UNPACKED"))
                    .to_owned(),
            ),
            Self::Unable(error) => error.hint(),
            _ => None,
        }
    }
}

impl Unable {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Session(error) => error.hint(),
            Self::OtherSystem { .. } | Self::NoHost(_) => Some(
                "carry it out on a machine with the same packages, or build in an image, which goes with the job"
                    .to_owned(),
            ),
            Self::OwnHome(_) => Some("name a folder for it: MKPANDA_HOME=DIR".to_owned()),
            Self::Files(error) => error.hint(),
            Self::Helper(error) => match &**error {
                BuildError::Failed(failed) => failed.failure.hint.clone(),
                _ => None,
            },
            Self::InJob { .. } => {
                Some("name a folder outside of it: --scratch DIR, MKPANDA_HOME=DIR".to_owned())
            }
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
            JobError::of_use(JobError::Bundle { name: "sources/x".to_owned(), source })
        };
        for kind in [
            io::ErrorKind::StorageFull,
            io::ErrorKind::QuotaExceeded,
            io::ErrorKind::ReadOnlyFilesystem,
        ] {
            assert!(matches!(of(kind), JobError::Unable(Unable::Files(_))), "{kind}");
        }
        assert!(matches!(of(io::ErrorKind::UnexpectedEof), JobError::Bundle { .. }));
        let full = "failed to write: No space left on device";
        let full = git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Os, full);
        let damaged = "object is corrupted";
        let damaged =
            git2::Error::new(git2::ErrorCode::GenericError, git2::ErrorClass::Odb, damaged);
        for (error, expected) in [(full, true), (damaged, false)] {
            let source = BundleError::Objects(error);
            let error = JobError::of_use(JobError::Bundle { name: "sources/x".to_owned(), source });
            assert_eq!(matches!(error, JobError::Unable(_)), expected, "{error}");
        }
    }
}
