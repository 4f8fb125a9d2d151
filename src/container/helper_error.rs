//! Errors of helpers.

use std::io;

use super::cgroup::CgroupError;
use super::refusal::Refusal;

/// A helper could not do its job.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The helper could not be started.
    #[error("can't start a helper process")]
    Start {
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The executable could not be copied for it.
    #[error("can't copy mkpanda's executable into memory, from where helpers are started")]
    Seal {
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A prerequisite of helpers is missing.
    #[error("can't start a helper process: {}", .0.cause)]
    Refused(Refusal),
    /// The helper could not be added to its cgroup.
    #[error("can't limit a helper process")]
    Limit {
        /// Cause.
        #[source]
        source: CgroupError,
    },
    /// Sending or receiving failed.
    #[error("can't talk to a helper process")]
    Talk {
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The helper ended before the job was done.
    #[error("a helper process ended early ({ending}){}", if said.is_empty() { String::new() } else { format!(": {said}") })]
    Died {
        /// Ending.
        ending: String,
        /// Output on stderr.
        said: String,
    },
    /// The helper was killed because its time limit had passed.
    #[error("a helper process was stopped, or hangs: it gave no answer in time, and was killed")]
    Overdue,
    /// It was ended because the run is.
    #[error("interrupted")]
    Interrupted,
}

impl HelperError {
    /// Change that lifts the refusal, if known.
    pub fn remedy(&self) -> Option<&str> {
        match self {
            Self::Refused(refusal) => Some(&refusal.remedy),
            _ => None,
        }
    }
}
