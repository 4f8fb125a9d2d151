//! Reasons why a machine cannot carry a job out.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::base::digest::Sha256Sum;
use crate::build::supply::BuildError;
use crate::container::idmap::Tier;
use crate::image::platform::Platform;
use crate::runner::session::SessionError;

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
    #[error("the job's image is for {wanted}, and this machine runs {here}")]
    OtherPlatform {
        /// Platform of the image.
        wanted: Box<Platform>,
        /// Platform of this machine.
        here: Box<Platform>,
    },
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
    /// Another run uses the folder for the results.
    #[error("another run of a job writes its results into {}", .0.display())]
    OutInUse(PathBuf),
    /// The helper did not come to an answer.
    #[error(transparent)]
    Helper(Box<BuildError>),
    /// The disk is full.
    #[error("{message}")]
    NoRoom {
        /// Fault, with the folder.
        message: String,
        /// Remedy.
        hint: Option<String>,
    },
    /// Files of the job cannot be unpacked here.
    #[error("this machine cannot carry the job out")]
    Files(#[source] Box<dyn Error + Send + Sync>),
}

impl Unable {
    /// Error of a folder or file of the run.
    pub(super) fn file(doing: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self::File { doing, source }
    }

    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Session(error) => return error.hint(),
            Self::Helper(error) => return error.hint(),
            Self::NoRoom { hint, .. } => return hint.clone(),
            Self::Tier { wanted, .. } => {
                return Some(format!(
                    "permit the tier {wanted} here: --isolation {wanted}, or leave the setting `isolation` out"
                ));
            }
            Self::OtherPlatform { wanted, .. } => {
                return Some(format!(
                    "carry it out on a machine with {wanted}, or export the package again with an image for this one"
                ));
            }
            Self::OtherSystem { .. } | Self::NoHost(_) => {
                "carry it out on a machine with the same packages, or build in an image, which goes with the job"
            }
            Self::OwnHome(_) => "name a folder for it: MKPANDA_HOME=DIR",
            Self::Files(_) => {
                "make room there, or name another folder: --scratch DIR, MKPANDA_HOME=DIR"
            }
            Self::InJob { .. } => "name a folder outside of it: --scratch DIR, MKPANDA_HOME=DIR",
            Self::OutInUse(_) => "wait until it has ended, or name another folder: --out DIR",
            Self::File { .. } => return None,
        };
        Some(text.to_owned())
    }
}
