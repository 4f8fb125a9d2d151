//! Errors of builds by Slurm.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::status::JobStatus;
use crate::base::escape::path_argument;
use crate::build::elsewhere::{ElsewhereError, ElsewhereFailure};
use crate::build::place::BuildPlace;
use crate::portable::PortableJobError;
use crate::remote::checked::ResultError;

/// A program of Slurm gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The program is not there.
    #[error("there is no {name} in PATH")]
    Missing {
        /// Program.
        name: &'static str,
    },
    /// The program cannot be started.
    #[error("{name} cannot be run")]
    Start {
        /// Program.
        name: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The program did not end in time.
    #[error("{name} gave no answer")]
    NoAnswer {
        /// Program.
        name: &'static str,
    },
    /// The program failed.
    #[error("{name} failed: {said}")]
    Refused {
        /// Program.
        name: &'static str,
        /// Text of its stderr.
        said: String,
    },
}

impl ClientError {
    /// True if the cluster's controller may answer later.
    pub(super) fn may_pass(&self) -> bool {
        const WORDS: [&str; 5] = [
            "unable to contact slurm controller",
            "socket timed out",
            "connection refused",
            "zero bytes were transmitted",
            "controller not running",
        ];
        match self {
            Self::Missing { .. } | Self::Start { .. } => false,
            Self::NoAnswer { .. } => true,
            Self::Refused { said, .. } => {
                let said = said.to_lowercase();
                WORDS.iter().any(|word| said.contains(word))
            }
        }
    }
}

/// A job of Slurm, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndedJob {
    /// Place of the last run.
    pub(super) place: BuildPlace,
    /// Last known state.
    pub(super) status: Option<JobStatus>,
    /// File with the output of all runs.
    pub(super) output: PathBuf,
}

impl std::fmt::Display for EndedJob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { place, status, output } = self;
        write!(f, "{place}")?;
        match status {
            Some(JobStatus { state, reason, .. }) if reason.is_empty() => write!(f, " is {state}")?,
            Some(JobStatus { state, reason, .. }) => write!(f, " is {state} ({reason})")?,
            None => f.write_str(" is unknown to Slurm")?,
        }
        write!(f, "; its output is in {}", output.display())
    }
}

/// Slurm did not build a package.
#[derive(Debug, thiserror::Error)]
pub(super) enum SlurmError {
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// The shared folder cannot be used.
    #[error("the folder that is shared with Slurm's machines cannot be used")]
    Folder(#[source] io::Error),
    /// Another user may change the shared folder.
    #[error("other users may change {}, from which Slurm's machines take jobs and programs", .0.display())]
    OpenFolder(PathBuf),
    /// The job cannot be made.
    #[error("the job for Slurm cannot be made")]
    Job(#[source] Box<PortableJobError>),
    /// Slurm does not take the job.
    #[error("Slurm does not take the job")]
    Submit(#[source] ClientError),
    /// The controller is away.
    #[error("Slurm has not answered for {} min", .after.as_secs() / 60)]
    Away {
        /// Time since the last answer.
        after: Duration,
        /// Cause.
        #[source]
        source: ClientError,
    },
    /// The job ended without a result, again and again.
    #[error("the job ended {attempts} times without a result: {last}")]
    Gone {
        /// Number of submissions.
        attempts: u32,
        /// Last one.
        last: Box<EndedJob>,
    },
    /// The job was stopped.
    #[error("the job was stopped without a result: {0}")]
    Stopped(Box<EndedJob>),
    /// No machine could carry the job out.
    #[error("no machine could carry the job out; the last one was {place}: {message}")]
    Unable {
        /// Place of the last attempt.
        place: BuildPlace,
        /// Message of the last attempt.
        message: String,
        /// Remedy of the last attempt.
        hint: Option<String>,
    },
    /// The result is refused.
    #[error("the result of {place} is refused")]
    Result {
        /// Place of the build.
        place: BuildPlace,
        /// Fault.
        #[source]
        source: Box<ResultError>,
        /// Folder with the result.
        aside: Option<PathBuf>,
    },
}

impl SlurmError {
    fn kind(&self) -> ElsewhereFailure {
        match self {
            Self::Interrupted => ElsewhereFailure::Interrupted,
            Self::Result { source, .. } if matches!(**source, ResultError::Interrupted) => {
                ElsewhereFailure::Interrupted
            }
            Self::OpenFolder(_) | Self::Job(_) | Self::Result { .. } => ElsewhereFailure::Final,
            Self::Stopped(ended)
                if ended.status.as_ref().is_some_and(|status| status.state == "CANCELLED") =>
            {
                ElsewhereFailure::Final
            }
            _ => ElsewhereFailure::Unable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Folder(_) => {
                Some("name a folder that all machines of the cluster see: --executor-folder DIR".to_owned())
            }
            Self::OpenFolder(path) => Some(format!(
                "close it: chmod go-w {}; if it is another user's, name one of your own: --executor-folder DIR",
                path_argument(path)
            )),
            Self::Job(error) => error.hint(),
            Self::Submit(ClientError::Missing { .. }) => Some(
                "install Slurm's client programs (Debian: apt-get install slurm-client), or build here: --executor local"
                    .to_owned(),
            ),
            Self::Submit(_) => {
                Some("see `options` and `time` of [executor] in your config.toml".to_owned())
            }
            Self::Away { .. } => Some(
                "start it again once Slurm answers: jobs that are in the queue go on, and their results are found"
                    .to_owned(),
            ),
            Self::Gone { last, .. } => Some(format!("see its output: cat {}", path_argument(&last.output))),
            Self::Stopped(ended) => {
                let state = ended.status.as_ref().map(|status| status.state.as_str());
                let text = match state {
                    Some("TIMEOUT" | "DEADLINE") => "give jobs more time: `time` of [executor] in your config.toml",
                    Some("OUT_OF_MEMORY") => {
                        "ask for more memory: options = [\"--mem=8G\"] below [executor] in your config.toml"
                    }
                    _ => "start it again: results that are there are used",
                };
                Some(text.to_owned())
            }
            Self::Unable { hint, .. } => hint.clone(),
            Self::Result { aside: Some(aside), .. } => Some(format!(
                "look at it: ls -l {}; another run builds the package again",
                path_argument(aside)
            )),
            Self::Interrupted | Self::Result { .. } => None,
        }
    }
}

impl From<SlurmError> for ElsewhereError {
    fn from(error: SlurmError) -> Self {
        Self { kind: error.kind(), hint: error.hint(), source: Box::new(error) }
    }
}
