//! Faults of an engine, of its answers, and of this machine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tonic::{Code, Status};

use crate::build::elsewhere::{ElsewhereError, ElsewhereFailure};
use crate::build::place::BuildPlace;
use crate::portable::PortableJobError;
use crate::remote::checked::ResultError;

/// Longest text of an engine in a message.
const LONGEST: usize = 300;

/// Text of an engine on one line, for messages.
pub(super) fn plain(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let shown: String = words.join(" ").chars().take(LONGEST).collect();
    shown.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// Name of a status code, as the API's documents write it.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// A call ended with a status that is not OK.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}{}", code_name(*.code), if .said.is_empty() { String::new() } else { format!(" ({said})") })]
pub(super) struct CallError {
    /// Name of the call.
    pub(super) call: &'static str,
    /// Status code.
    pub(super) code: Code,
    /// Text of the engine.
    pub(super) said: String,
}

impl CallError {
    /// Reads a status.
    pub(super) fn of(call: &'static str, status: &Status) -> Self {
        let mut said = plain(status.message());
        // Why a connection failed is in the sources alone.
        let mut source = std::error::Error::source(status);
        while let Some(error) = source {
            let text = plain(&error.to_string());
            if !said.contains(&text) {
                said = format!("{said}: {text}");
            }
            source = error.source();
        }
        Self { call, code: status.code(), said: plain(&said) }
    }

    /// True if the same call may succeed later.
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self.code,
            Code::Unavailable
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::ResourceExhausted
                | Code::Internal
                | Code::Unknown
                | Code::Cancelled
        )
    }

    /// True if nobody may have been there to answer.
    pub(super) fn is_away(&self) -> bool {
        matches!(self.code, Code::Unavailable | Code::DeadlineExceeded)
            || (self.code == Code::Unknown && self.said.contains("transport error"))
    }
}

/// An engine did not build a package.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReapiError {
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
    /// A setting of the connection is not valid.
    #[error("the connection to {address} cannot be prepared: {problem}")]
    Connection {
        /// Address of the engine.
        address: String,
        /// Problem.
        problem: String,
    },
    /// A file of this machine cannot be read or written.
    #[error("cannot {doing}")]
    File {
        /// Operation.
        doing: &'static str,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The job cannot be made.
    #[error("the job for the engine cannot be made")]
    Job(#[source] Box<PortableJobError>),
    /// The program that carries the job out is not there.
    #[error("the program for the workers cannot be read: {}", .path.display())]
    Program {
        /// Path of the program.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The engine lacks something.
    #[error("the engine at {address} {problem}")]
    Unfit {
        /// Address of the engine.
        address: String,
        /// Problem, as the rest of a sentence.
        problem: String,
    },
    /// The engine answers with an error.
    #[error("the engine does not do it: {0}")]
    Refused(#[from] CallError),
    /// The engine is away.
    #[error("the engine has not answered for {} s", .after.as_secs())]
    Away {
        /// Time since the first call that failed.
        after: Duration,
        /// Last failure.
        #[source]
        source: CallError,
    },
    /// The action came to no result, again and again.
    #[error("the job ended {attempts} times without a result: {last}")]
    Gone {
        /// Number of attempts.
        attempts: u32,
        /// Last fault.
        last: String,
        /// True if the program may not run there.
        is_dynamic: bool,
    },
    /// The action exceeded the engine's time limit.
    #[error("the job exceeded the engine's time limit{}", .0.as_ref().map_or_else(String::new, |said| format!(": {said}")))]
    TimeLimit(Option<String>),
    /// Somebody cancelled the action.
    #[error("the job was cancelled on the engine")]
    Cancelled,
    /// No worker could carry the job out.
    #[error("no worker could carry the job out; the last one was {place}: {message}")]
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
    },
    /// A blob of the result has other bytes than its name says.
    #[error("the result of {place} is refused: {what} has other bytes than the engine says")]
    OtherBytes {
        /// Place of the build.
        place: BuildPlace,
        /// File of the result.
        what: &'static str,
    },
}

impl ReapiError {
    fn kind(&self) -> ElsewhereFailure {
        match self {
            Self::Interrupted => ElsewhereFailure::Interrupted,
            Self::Result { source, .. } if matches!(**source, ResultError::Interrupted) => {
                ElsewhereFailure::Interrupted
            }
            Self::Job(_) | Self::Result { .. } | Self::OtherBytes { .. } | Self::Cancelled => {
                ElsewhereFailure::Final
            }
            _ => ElsewhereFailure::Unable,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Job(error) => return error.hint(),
            Self::Unable { hint, .. } => return hint.clone(),
            Self::Connection { .. } => {
                "name an engine as --remote-executor grpcs://HOST:PORT, or build here: --executor local"
            }
            Self::Program { .. } => {
                "name a static mkpanda, from scripts/static FILE: --executor-program FILE"
            }
            Self::Unfit { .. } => {
                "see --remote-executor and --remote-instance, or build here: --executor local"
            }
            Self::Refused(CallError {
                code: Code::Unauthenticated | Code::PermissionDenied,
                ..
            }) => "see token_file, certificate and headers of [remote] in your config.toml",
            Self::Refused(CallError { said, .. }) if said.to_lowercase().contains("propert") => {
                "see what properties the engine knows: --remote-property NAME=VALUE"
            }
            Self::Refused(CallError { said, .. }) if said.to_lowercase().contains("timeout") => {
                "name a time that the engine permits: `time` of [remote] in your config.toml"
            }
            Self::Refused(_) => "see docs/many-machines.md, or build here: --executor local",
            Self::Away { .. } => {
                "start it again once the engine answers, or build here: --executor local"
            }
            Self::Gone { is_dynamic: true, .. } => {
                "the program needs libraries that the worker may lack; give it a static one, from scripts/static FILE: --executor-program FILE"
            }
            Self::Gone { .. } => "see the log of the worker, or build here: --executor local",
            Self::TimeLimit(_) => {
                "give jobs more time: `time` of [remote] in your config.toml, or the engine's own limit"
            }
            Self::Cancelled => "start it again, or build here: --executor local",
            Self::Interrupted
            | Self::File { .. }
            | Self::Result { .. }
            | Self::OtherBytes { .. } => return None,
        };
        Some(text.to_owned())
    }
}

impl From<ReapiError> for ElsewhereError {
    fn from(error: ReapiError) -> Self {
        Self { kind: error.kind(), hint: error.hint(), source: Box::new(error) }
    }
}
