//! Errors of building an image, in terms of the Dockerfile.

use std::io;
use std::path::PathBuf;

use super::provision_error::ProvisionError;
use crate::base::escape::shell_argument;
use crate::base::http::HttpError;
use crate::dockerfile::context::ContextError;
use crate::dockerfile::git::GitFilesError;
use crate::image::config::ImageConfigError;
use crate::image::store::ImageStoreError;
use crate::package::Report;
use crate::runner::job::JobFailure;
use crate::runner::session::JobError;
use crate::source::NotPinned;

/// An image can't be built.
#[derive(Debug, thiserror::Error)]
pub enum DockerfileError {
    /// The Dockerfile can't be read.
    #[error("can't read the Dockerfile")]
    Read {
        /// Reason.
        #[source]
        source: io::Error,
    },
    /// The build context has no Dockerfile.
    #[error("the build context has no file {0}")]
    NoDockerfile(String),
    /// The build context can't be used.
    #[error("the build context can't be used")]
    Context {
        /// Reason.
        #[source]
        source: ContextError,
    },
    /// The Dockerfile has a problem.
    #[error("{0}")]
    Problem(Box<Report>),
    /// A step failed.
    #[error("{place}: {instruction}\n{problem}")]
    Step {
        /// `path:line`.
        place: String,
        /// The instruction.
        instruction: String,
        /// Cause.
        problem: Box<StepError>,
    },
    /// A base image cannot be pulled.
    #[error("{place}: {source}")]
    Image {
        /// `path:line`.
        place: String,
        /// Reason.
        source: Box<ProvisionError>,
    },
    /// A base image's configuration can't be used.
    #[error("the configuration of {image} can't be used")]
    Config {
        /// The image.
        image: String,
        /// Reason.
        #[source]
        source: ImageConfigError,
    },
    /// The store failed.
    #[error("the image can't be stored")]
    Store {
        /// Reason.
        #[source]
        source: Box<ImageStoreError>,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// Failure of a step.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The helper says so.
    #[error("{}{}", failure.message, shown(tail))]
    Failed {
        /// Failure of the job.
        failure: JobFailure,
        /// The log.
        log: PathBuf,
        /// Last lines of the output.
        tail: Vec<String>,
    },
    /// The helper itself failed.
    #[error("the step's helper failed: {}", crate::base::causes::with_causes(.0))]
    Job(JobError),
    /// An image or room for containers cannot be provided.
    #[error("{}", crate::base::causes::with_causes(.0))]
    Provision(Box<ProvisionError>),
    /// A file can't be used.
    #[error("can't {what}: {source}")]
    File {
        /// Intended step.
        what: &'static str,
        /// Cause.
        source: io::Error,
    },
    /// The store failed.
    #[error("{}", crate::base::causes::with_causes(.0.as_ref()))]
    Store(Box<ImageStoreError>),
    /// Files to be copied cannot be found or read.
    #[error("{}", crate::base::causes::with_causes(.0))]
    Files(ContextError),
    /// There is no context.
    #[error("{0}: there is no build context to take it from")]
    NoContext(String),
    /// A secret that is required wasn't given.
    #[error("the secret {0:?} is required, and wasn't given")]
    NoSecret(String),
    /// An agent that is required wasn't given.
    #[error("the ssh agent {0:?} is required, and wasn't given")]
    NoAgent(String),
    /// An agent doesn't answer.
    #[error("the ssh agent {id:?} at {} doesn't answer: {source}", path.display())]
    Agent {
        /// Name.
        id: String,
        /// Path of the socket.
        path: PathBuf,
        /// Reason.
        source: io::Error,
    },
    /// There is no way into a network.
    #[error("the command's network needs pasta or slirp4netns, and neither is installed")]
    NoUplink,
    /// A download failed.
    #[error("{}", crate::base::causes::with_causes(.0))]
    Download(HttpError),
    /// A git repository cannot be fetched.
    #[error("{}", crate::base::causes::with_causes(.0))]
    Git(GitFilesError),
    /// The download does not match its checksum.
    #[error("{url} has the digest {found}, but {by} says {expected}")]
    Checksum {
        /// From where.
        url: String,
        /// Digest of the download.
        found: String,
        /// Expected digest.
        expected: String,
        /// Origin of the expected digest: the Dockerfile or the lock.
        by: &'static str,
    },
    /// The lock lacks a source.
    #[error("{0}")]
    NotPinned(NotPinned),
    /// The network is to be left alone.
    #[error("{0} would have to be fetched, and --offline forbids it")]
    Offline(String),
    /// Another stage failed and reports the cause.
    #[error("a stage that it needs failed")]
    Needed,
}

fn shown(tail: &[String]) -> String {
    tail.iter().flat_map(|line| ["\n  | ", line]).collect()
}

impl DockerfileError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Problem(report) => report.hint().map(str::to_owned),
            Self::Step { problem, .. } => problem.hint(),
            Self::Image { source, .. } => source.hint(),
            Self::Store { source } => source.hint(),
            Self::Context { source } => source.hint().map(str::to_owned),
            Self::NoDockerfile(_) => {
                Some("-f FILE says where it is, below the context's top".to_owned())
            }
            Self::Read { .. } | Self::Config { .. } | Self::Interrupted => None,
        }
    }
}

impl StepError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Failed { failure, log, .. } => {
                let whole =
                    failure.see_log.then(|| format!("its whole output is in {}", log.display()));
                let hints: Vec<String> = failure.hint.clone().into_iter().chain(whole).collect();
                (!hints.is_empty()).then(|| hints.join("\n"))
            }
            Self::Job(error) => error.hint(),
            Self::Provision(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Download(error) => error.hint().map(str::to_owned),
            Self::Git(error) => error.hint(),
            Self::NoSecret(id) => Some(format!("give it: --secret id={id},src=FILE")),
            Self::NoAgent(id) => Some(format!("give it: --ssh {id}=SOCKET")),
            Self::Agent { .. } => Some("start one: eval $(ssh-agent); ssh-add".to_owned()),
            Self::NoUplink => Some("install the package passt or slirp4netns, or let commands use the machine's network: --network=host; --network=none if they need none".to_owned()),
            Self::Files(error) => error.hint().map(str::to_owned),
            Self::NotPinned(_) => Some("add what is new: mkpanda lock".to_owned()),
            Self::Checksum { url, by: "mkpanda.lock", .. } => {
                Some(format!("if it was meant to change: mkpanda lock --update {}", shell_argument(url)))
            }
            _ => None,
        }
    }
}
