//! Errors of commands as displayed: an error with its causes, then hints.

use std::path::PathBuf;

use crate::base::http::redact_text;
use crate::base::suggestion::did_you_mean;
use crate::bootstrap::SupplyError;
use crate::build::gc::GcError;
use crate::build::project::{ProjectError, SupplyFailure, UnknownInput};
use crate::build::shell::ShellError;
use crate::dockerfile::contexts::BringError;
use crate::dockerfile::execute::DockerfileError;
use crate::exchange::{ExchangeFailure, IndexError};
use crate::image::load::LoadError;
use crate::image::location::LocationError;
use crate::image::reference::ReferenceError;
use crate::image::registry::RegistryError;
use crate::image::save::SaveError;
use crate::image::store::ImageStoreError;
use crate::mirror::{MirrorError, MirrorFault};
use crate::package::{NameError, VariantError};
use crate::pipeline::PipelineError;
use crate::portable::PortableJobError;
use crate::release::ReleaseError;
use crate::runner::isolation::IsolationError;
use crate::store::StoreError;
use crate::tidy::TidyError;

use super::inspect_error::InspectError;
use super::settings_error::SettingsError;
use super::shell_error::ShellCommandError;
use super::signing::SigningError;
use super::tool_error::ToolError;

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The name of a variant is not valid.
    #[error(transparent)]
    Variant(#[from] VariantError),
    /// The folder's name can't be a package's.
    #[error("{} is not the folder of a package: {source}", path.display())]
    FolderName {
        /// The folder.
        path: PathBuf,
        /// Reason.
        source: NameError,
    },
    /// There is no package here.
    #[error("{} is not the folder of a package: it has no buildinfo.json", .0.display())]
    NoPackage(PathBuf),
    /// The folder can't be entered.
    #[error("can't work in {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Reason.
        source: std::io::Error,
    },
    /// Building failed.
    #[error(transparent)]
    Project(Box<ProjectError>),
    /// A bootstrap failed.
    #[error(transparent)]
    Bootstrap(Box<SupplyError>),
    /// Building an image failed.
    #[error(transparent)]
    Dockerfile(Box<DockerfileError>),
    /// A build context cannot be fetched.
    #[error(transparent)]
    BuildContext(Box<BringError>),
    /// An option of building an image makes no sense.
    #[error("{option} {:?}: {problem}", redact_text(text))]
    ImageOption {
        /// The option.
        option: &'static str,
        /// Given text.
        text: String,
        /// Fault.
        problem: String,
    },
    /// Loading an image failed.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The image store failed.
    #[error(transparent)]
    Store(#[from] ImageStoreError),
    /// Pulling or pushing failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An image can't be saved.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The text says nowhere where an image could be.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// An option that the place has no use for.
    #[error("{option} is of no use for {place}")]
    Useless {
        /// The option.
        option: &'static str,
        /// The place.
        place: String,
    },
    /// The name of an image is not valid.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// Unpacked layers can't be removed.
    #[error("the image is removed, but not what was unpacked of it: {0}")]
    Layers(#[from] IsolationError),
    /// The image differs from its Dockerfile, and others would get the difference.
    #[error(
        "{0} is not pushed: it was built with one id, so owners may be lost that its commands gave to files"
    )]
    Flattened(String),
    /// Space can't be given back.
    #[error(transparent)]
    Gc(#[from] GcError),
    /// More is needed than there may be.
    #[error("{} are still there, more than the {} that were asked for", super::ui::size(*left), super::ui::size(*most))]
    TooMuch {
        /// Remaining size in bytes.
        left: u64,
        /// Largest number.
        most: u64,
    },
    /// A key cannot be made or used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Some sources or images can't be fetched.
    #[error("{}", not_fetched(.0.len()))]
    Supplies(Vec<SupplyFailure>),
    /// A mirror failed.
    #[error(transparent)]
    Mirror(Box<MirrorError>),
    /// Files of a mirror are not as its lock file says.
    #[error("the mirror {} is damaged:\n  {}", place.display(), listed(faults))]
    MirrorFaults {
        /// The mirror.
        place: PathBuf,
        /// All faults.
        faults: Vec<MirrorFault>,
    },
    /// No shared cache is named.
    #[error("no shared cache is named that {0}")]
    NoCache(&'static str),
    /// The folder of a cache is not there.
    #[error("{} is not a folder, so there is no cache in it", .0.display())]
    NoCacheFolder(PathBuf),
    /// Artifacts were not exchanged.
    #[error("{}", not_exchanged(.0.len()))]
    Exchange(Vec<ExchangeFailure>),
    /// Artifacts were not sent to a store that had failed before.
    #[error("{0} artifacts were not sent, as their store failed for others before")]
    NotSent(usize),
    /// Artifacts were not looked for in a cache that had failed before.
    #[error(
        "{0} artifacts were not found, and not looked for in a cache that had failed for others before"
    )]
    NotFetched(usize),
    /// Artifacts of a cache are faulty.
    #[error("{store} has artifacts that are not as they should be ({count} findings)")]
    CacheFaults {
        /// Name of the store.
        store: String,
        /// Number of findings.
        count: usize,
    },
    /// A store cannot be listed or read.
    #[error(transparent)]
    Cache(Box<StoreError>),
    /// An index cannot be made.
    #[error(transparent)]
    Index(Box<IndexError>),
    /// A tree's cache cannot be cleaned.
    #[error(transparent)]
    Tidy(Box<TidyError>),
    /// A release failed.
    #[error(transparent)]
    Release(Box<ReleaseError>),
    /// Names to be pinned anew, without a match.
    #[error("--update: nothing that the tree takes from elsewhere is called {}", unknown_names(.0))]
    NothingToUpdate(Vec<UnknownInput>),
    /// The lock cannot be written.
    #[error("{} cannot be written", path.display())]
    LockFile {
        /// The lock.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// A command that only looks has found a fault, or nothing to show.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A tree cannot be looked at, or has faults, or nothing new can be made.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// A shell cannot be started.
    #[error(transparent)]
    Shell(#[from] ShellCommandError),
    /// A pipeline cannot be made, or a job of one failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// A portable job cannot be made or carried out.
    #[error(transparent)]
    Job(Box<PortableJobError>),
    /// This machine cannot carry a job out, for a cause that other commands have, too.
    #[error(transparent)]
    Unable(Box<Self>),
    /// Signals can't be caught.
    #[error("can't catch signals: {0}")]
    Signals(std::io::Error),
}

impl From<SupplyError> for CliError {
    fn from(error: SupplyError) -> Self {
        Self::Bootstrap(Box::new(error))
    }
}

impl From<ShellError> for CliError {
    fn from(error: ShellError) -> Self {
        ShellCommandError::Shell(Box::new(error)).into()
    }
}

impl From<PortableJobError> for CliError {
    fn from(error: PortableJobError) -> Self {
        Self::Job(Box::new(error))
    }
}

impl From<ProjectError> for CliError {
    fn from(error: ProjectError) -> Self {
        Self::Project(Box::new(error))
    }
}

fn listed(faults: &[MirrorFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

fn unknown_names(unknown: &[UnknownInput]) -> String {
    unknown.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(" or ")
}

fn hint_of_names(unknown: &[UnknownInput]) -> String {
    let near: Vec<&str> = unknown.iter().filter_map(|input| input.near.as_deref()).collect();
    if near.is_empty() {
        return "names are PACKAGE/SOURCE, a package, a URL as mkpanda.lock has it, or an image"
            .to_owned();
    }
    did_you_mean(&near.join(" and "))
}

fn not_exchanged(count: usize) -> String {
    if count == 1 {
        "1 artifact was not transferred".to_owned()
    } else {
        format!("{count} artifacts were not transferred")
    }
}

fn not_fetched(count: usize) -> String {
    if count == 1 {
        "1 source or image could not be fetched".to_owned()
    } else {
        format!("{count} sources and images could not be fetched")
    }
}

/// Exit code of a machine that cannot carry a job out: `EX_TEMPFAIL` of sysexits(3).
const UNABLE: u8 = 75;

/// Exit code of an interrupted run: the shell's code for SIGINT.
const INTERRUPTED: u8 = 130;

impl CliError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            _ if self.is_interruption() => INTERRUPTED,
            Self::Job(error) if matches!(**error, PortableJobError::Unable(_)) => UNABLE,
            Self::Unable(_) => UNABLE,
            _ => 1,
        }
    }

    /// True if the run was interrupted.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Project(error) => matches!(**error, ProjectError::Interrupted),
            Self::Dockerfile(error) => matches!(**error, DockerfileError::Interrupted),
            Self::BuildContext(error) => matches!(**error, BringError::Interrupted),
            Self::Job(error) => matches!(**error, PortableJobError::Interrupted),
            Self::Registry(error) => error.is_interruption(),
            Self::Release(error) => error.is_interruption(),
            Self::Signing(error) => matches!(error, SigningError::Interrupted),
            Self::Cache(error) => matches!(**error, StoreError::Interrupted),
            Self::Index(error) => {
                matches!(**error, IndexError::Store(StoreError::Interrupted))
            }
            Self::Tidy(error) => {
                matches!(&**error, TidyError::Project(project) if matches!(**project, ProjectError::Interrupted))
            }
            _ => false,
        }
    }

    /// Remedy, if one is known.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::Settings(error) => error.hint(),
            Self::Project(error) => error.hint(),
            Self::Job(error) => error.hint(),
            Self::Unable(error) => error.hint(),
            Self::Pipeline(error) => error.hint(),
            Self::Bootstrap(error) => error.hint(),
            Self::Release(error) => error.hint(),
            Self::Dockerfile(error) => error.hint(),
            Self::BuildContext(error) => error.hint(),
            Self::Load(error) => error.problem.hint().map(str::to_owned),
            Self::Store(error) => error.hint(),
            Self::Registry(error) => error.hint(),
            Self::Signing(error) => error.hint(),
            Self::Save(error) => error.hint(),
            Self::Mirror(error) => error.hint(),
            Self::MirrorFaults { .. } => {
                Some("carry it over again, or make it again where there is a network: mkpanda mirror create".to_owned())
            }
            Self::NoCache(_) => Some(
                "name one as an argument or by --cache=PLACE\nor in your config.toml:\n    [[cache]]\n    url = \"PLACE\""
                    .to_owned(),
            ),
            Self::CacheFaults { .. } => Some(
                "push again from where they were built, which adds what is missing; find out what damaged the others, and remove them before"
                    .to_owned(),
            ),
            Self::Cache(error) => error.hint(),
            Self::Index(error) => error.hint(),
            Self::Gc(error) => error.hint(),
            Self::Tidy(error) => error.hint(),
            Self::Tool(error) => error.hint(),
            Self::Shell(error) => error.hint(),
            Self::NothingToUpdate(names) => Some(hint_of_names(names)),
            Self::Flattened(_) => Some(
                "build it where the isolation tier is `ranges` (`newuidmap`, /etc/subuid, /etc/subgid) and push that; for yourself, `mkpanda image save` it".to_owned(),
            ),
            Self::Inspect(error) => error.hint(),
            Self::NoPackage(_) => {
                Some("go to a package's folder, or build a tree: mkpanda tree\nor make a tree with a first package: mkpanda init NAME".to_owned())
            }
            _ => None,
        }
    }
}
