//! Failed builds: their causes, and excerpts of their logs.

use std::path::{Path, PathBuf};

use super::elsewhere::{ElsewhereError, ElsewhereFailure};
use crate::artifact::repository::RepositoryError;
use crate::base::event::Phase;
use crate::base::remedy::for_size;
use crate::package::{PackageId, SourceName};
use crate::runner::job::JobFailure;
use crate::runner::session::{JobError, SessionError};
use crate::source::SourceError;

/// A package could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The build itself failed.
    #[error("{} failed ({}): {}", .0.id, .0.phase.as_str(), .0.failure.message)]
    Failed(Box<FailedBuild>),
    /// A source cannot be fetched.
    #[error("{id}")]
    Source {
        /// The package.
        id: PackageId,
        /// The source.
        name: SourceName,
        /// Cause.
        #[source]
        source: Box<SourceError>,
    },
    /// The repository gave something that can't be used.
    #[error("{id}")]
    Repository {
        /// The package.
        id: PackageId,
        /// Cause.
        #[source]
        source: Box<RepositoryError>,
    },
    /// The job came to no answer.
    #[error("{id}")]
    Job {
        /// Package.
        id: PackageId,
        /// Cause.
        #[source]
        source: JobError,
    },
    /// No containers can be run here.
    #[error("{id}")]
    Containers {
        /// Package.
        id: PackageId,
        /// Cause.
        #[source]
        source: Box<OpenError>,
    },
    /// An engine did not build it.
    #[error("{id}")]
    Elsewhere {
        /// Package.
        id: PackageId,
        /// Cause.
        #[source]
        source: Box<ElsewhereError>,
    },
    /// A file can't be written or read.
    #[error("{id}: can't {what}")]
    File {
        /// The package.
        id: PackageId,
        /// Intended step.
        what: &'static str,
        /// Cause, with the path.
        #[source]
        source: std::io::Error,
    },
}

impl BuildError {
    /// True if the run was interrupted, so that the package is not at fault.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Job { source, .. } => source.is_interruption(),
            Self::Elsewhere { source, .. } => source.kind == ElsewhereFailure::Interrupted,
            _ => false,
        }
    }

    /// The package.
    pub fn package(&self) -> &PackageId {
        match self {
            Self::Failed(failed) => &failed.id,
            Self::Source { id, .. }
            | Self::Repository { id, .. }
            | Self::Job { id, .. }
            | Self::Containers { id, .. }
            | Self::Elsewhere { id, .. }
            | Self::File { id, .. } => id,
        }
    }

    /// Remedies, one per line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Failed(failed) => failed.failure.hint.clone(),
            Self::Source { source, .. } => source.problem.hint(),
            Self::Repository { source, .. } => {
                let last = "put it right there, or build without --repository-url";
                let hints = source.hint().into_iter().chain([last.to_owned()]);
                Some(hints.collect::<Vec<_>>().join("\n"))
            }
            Self::Job { source, .. } => source.hint(),
            Self::Containers { source, .. } => source.hint(),
            Self::Elsewhere { source, .. } => source.hint.clone(),
            Self::File { source, .. } => for_size(source).map(str::to_owned),
        }
    }

    /// The build's log, if it says more.
    pub fn log(&self) -> Option<&Path> {
        match self {
            Self::Failed(failed) => failed.log.as_deref(),
            _ => None,
        }
    }
}

/// Failure to open the containers.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No containers can be run.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The builder's own folder can't be used.
    #[error("can't use the builder's own folder")]
    Home(#[source] std::io::Error),
}

impl OpenError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Session(error) => error.hint(),
            Self::Home(_) => None,
        }
    }
}

/// Failed build, with an excerpt of its log.
#[derive(Debug)]
pub struct FailedBuild {
    /// The package.
    pub id: PackageId,
    /// Phase of the failure.
    pub phase: Phase,
    /// Reason.
    pub failure: JobFailure,
    /// Path of the log, if longer than the excerpt.
    pub log: Option<PathBuf>,
    /// The log's last lines.
    pub tail: Vec<String>,
    /// True if what it left is kept.
    pub is_kept: bool,
}
