//! Failures of releases.

use std::io;
use std::path::PathBuf;

use super::config::ReleaseConfigError;
use super::layout::{Commit, LayoutError};
use super::plan::PlanError;
use crate::archive::CompressionLevel;
use crate::artifact::repository::RepositoryError;
use crate::base::escape::path_argument;
use crate::build::upload::build_again;
use crate::installer::InstallerError;
use crate::package::{PackageId, Variant};
use crate::provider::ProviderError;
use crate::store::{ObjectKey, StoreError, StoreUrlError};

/// A release cannot be made, read or stored. The messages have no credentials.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ReleaseConfigError),
    /// A storage of the configuration cannot be opened.
    #[error(transparent)]
    Storage(#[from] StoreUrlError),
    /// A place of releases is not valid.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The artifacts do not make a release.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A provider cannot be read or rendered.
    #[error(transparent)]
    Provider(Box<ProviderError>),
    /// An installer cannot be made.
    #[error(transparent)]
    Installer(Box<InstallerError>),
    /// Two providers have the same name.
    #[error("two folders of providers have the name {name}: {} and {}", folders[0].display(), folders[1].display())]
    SameProvider {
        /// Name.
        name: String,
        /// The folders.
        folders: [PathBuf; 2],
    },
    /// A package's archive is for this machine alone.
    #[error("package {package} was compressed with --compression={}, for this machine alone", level.as_str())]
    Level {
        /// Package.
        package: PackageId,
        /// Level of compression.
        level: CompressionLevel,
        /// The archive.
        archive: PathBuf,
    },
    /// The configuration is not there.
    #[error("{} is not there, so no storage of releases is known", .0.display())]
    NoConfiguration(PathBuf),
    /// A file of this machine cannot be read or written.
    #[error("cannot {operation} {}", path.display())]
    File {
        /// The operation, as a verb.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's message.
        #[source]
        source: io::Error,
    },
    /// The commit of the tree is not known.
    #[error("the commit of {} is not known: {reason}", folder.display())]
    NoCommit {
        /// Folder of the tree.
        folder: PathBuf,
        /// Reason.
        reason: String,
    },
    /// The configuration lacks a key that the command needs.
    #[error("{}: options: the key {key} is missing, which this command needs", path.display())]
    NoOption {
        /// The configuration.
        path: PathBuf,
        /// The key.
        key: &'static str,
    },
    /// Nothing would be stored anywhere.
    #[error("{}: no storage is written to: {}", path.display(), reasons.join("; "))]
    NothingWritten {
        /// The configuration.
        path: PathBuf,
        /// The reason for each storage.
        reasons: Vec<String>,
    },
    /// The preferred storage is not written to, but readers of the release are sent there.
    #[error(
        "the preferred storage {name} is not written to ({reason}), and hosts would look there for the release"
    )]
    PreferredUnwritten {
        /// The storage.
        name: String,
        /// Reason.
        reason: &'static str,
    },
    /// The bootstrap of a tree has a package that the tree lacks.
    #[error(
        "the bootstrap of tree {variant} has {package}, which is not among the packages of the tree"
    )]
    NotInTree {
        /// The tree variant.
        variant: Variant,
        /// The package.
        package: PackageId,
    },
    /// A tree variant has a name with another meaning.
    #[error(
        "a tree variant with the name {0} cannot be released: it means the default variant in metadata.json"
    )]
    VariantName(Variant),
    /// The static pkgpanda cannot be used.
    #[error("{} cannot be released as the static pkgpanda: {reason}", path.display())]
    Pkgpanda {
        /// The file.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// There is no release at a path of a storage.
    #[error("storage {storage} has no release at {path}")]
    NoRelease {
        /// The storage.
        storage: String,
        /// The path.
        path: String,
    },
    /// A `metadata.json` is not that of a release.
    #[error("{key} in storage {storage} does not describe a release: {reason}")]
    Metadata {
        /// The storage.
        storage: String,
        /// The object.
        key: ObjectKey,
        /// Reason.
        reason: String,
    },
    /// The release to be promoted is of another commit.
    #[error("{path} is a release of commit {theirs}, but the tree here is at {ours}")]
    OtherCommit {
        /// Path of the release.
        path: String,
        /// Commit of the release.
        theirs: Commit,
        /// Commit of the tree.
        ours: Commit,
        /// True if the caller has named the commit of the tree.
        is_named: bool,
    },
    /// The channel has a release of another commit.
    #[error(
        "the channel {channel} in storage {storage} has the release of commit {theirs}, and not of {ours}"
    )]
    Taken {
        /// The storage.
        storage: String,
        /// Path of the channel.
        channel: String,
        /// Commit of the channel's release.
        theirs: Commit,
        /// Commit of the tree.
        ours: Commit,
    },
    /// The release of the commit is complete, and differs from the one to be stored.
    #[error("storage {storage} has a complete release of this commit with another {key}")]
    Released {
        /// The storage.
        storage: String,
        /// The object.
        key: ObjectKey,
        /// The commit.
        commit: Commit,
    },
    /// Another run has stored an object meanwhile.
    #[error("storage {storage} got another {key} while this release was stored: from another run")]
    Raced {
        /// The storage.
        storage: String,
        /// The object.
        key: ObjectKey,
    },
    /// An object whose sum templates state has other bytes in a storage.
    #[error(
        "storage {storage} has another {key} than this release, which templates or a signature vouch for"
    )]
    Different {
        /// The storage.
        storage: String,
        /// The object.
        key: ObjectKey,
        /// File of this machine without which the same command takes the object, if that helps.
        file: Option<PathBuf>,
    },
    /// A release cannot be read from a storage.
    #[error("storage {storage}")]
    Read {
        /// The storage.
        storage: String,
        /// The store's error.
        #[source]
        source: StoreError,
    },
    /// An artifact of a release cannot be fetched.
    #[error("storage {storage}")]
    Fetch {
        /// The storage.
        storage: String,
        /// The fault.
        #[source]
        source: Box<RepositoryError>,
    },
    /// The storage lacks an artifact that the release refers to.
    #[error("storage {storage} lacks {what}, which the release {release} refers to")]
    Lost {
        /// The storage.
        storage: String,
        /// The artifact.
        what: String,
        /// Path of the release.
        release: String,
    },
    /// A stage failed.
    #[error("storage {storage}, stage {stage}: {}", state(*stage))]
    Stage {
        /// The storage.
        storage: String,
        /// Number of the stage, 1 or 2.
        stage: usize,
        /// The store's error.
        #[source]
        source: StoreError,
    },
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// State after the failure of a stage.
fn state(stage: usize) -> &'static str {
    if stage == 1 {
        "the release is not complete, and its channel is as it was"
    } else {
        "the release is complete, but not all files of the channel are of it yet"
    }
}

impl From<InstallerError> for ReleaseError {
    fn from(error: InstallerError) -> Self {
        Self::Installer(Box::new(error))
    }
}

impl From<ProviderError> for ReleaseError {
    fn from(error: ProviderError) -> Self {
        Self::Provider(Box::new(error))
    }
}

impl ReleaseError {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Config(error) => return error.hint.clone(),
            Self::Provider(error) => return error.hint(),
            Self::Installer(error) => return error.hint(),
            Self::Level { archive, .. } => build_again(archive),
            Self::SameProvider { .. } => "rename one of the two folders".to_owned(),
            Self::NoCommit { .. } => {
                "run mkpanda in a git checkout, or name the commit: DCOS_IMAGE_COMMIT=…".to_owned()
            }
            Self::NoOption { key, .. } => {
                format!(
                    "add to the configuration:\noptions:\n  {key}: https://s3.amazonaws.com/BUCKET/PREFIX"
                )
            }
            Self::NoConfiguration(_) => {
                "run mkpanda in the checkout, which is the folder with packages/ and this file, or name the file: -c FILE".to_owned()
            }
            Self::NothingWritten { .. } => {
                "see the plan alone: mkpanda release --noop …".to_owned()
            }
            Self::Pkgpanda { .. } => {
                "name a static build: mkpanda release --pkgpanda FILE … (scripts/static makes one)"
                    .to_owned()
            }
            Self::NoRelease { .. } => "see what there is: mkpanda release list".to_owned(),
            Self::OtherCommit { theirs, is_named: false, .. } if theirs.is_of_git() => {
                format!("git checkout {theirs}")
            }
            Self::OtherCommit { theirs, .. } => {
                format!(
                    "check the release's tree out, and name its commit: DCOS_IMAGE_COMMIT={theirs}"
                )
            }
            Self::Taken { .. } => {
                "to move the channel to this release: mkpanda release --replace …".to_owned()
            }
            Self::Released { commit, .. } => format!(
                "people may be reading that release, so it stays; give this one another name: DCOS_IMAGE_COMMIT={commit}.2 mkpanda release --replace …"
            ),
            Self::Raced { .. } => {
                "wait until the other run has ended, and run the same command again".to_owned()
            }
            Self::Different { key, .. } if key.as_str().ends_with(".minisig") => {
                "sign by the key that signed the storage's artifacts, or release into another repository"
                    .to_owned()
            }
            Self::Different { file: Some(file), .. } => format!(
                "to take the storage's: rm {}, and run the same command again",
                path_argument(file)
            ),
            Self::Different { storage, key, .. } => format!(
                "if no release needs it there, remove {key} from storage {storage}, and run the same command again"
            ),
            Self::Read { source, .. } => return source.hint(),
            Self::Fetch { source, .. } => return source.hint(),
            Self::Stage { source, .. } => {
                let again = "run the same command again: it continues where it stopped";
                return Some(match source.hint() {
                    None => again.to_owned(),
                    Some(hint) => format!("{hint}\n{again}"),
                });
            }
            _ => return None,
        };
        Some(text)
    }

    /// True if the run was interrupted.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted)
    }

    /// Makes the error of reading from a storage.
    pub(super) fn reading(storage: &str) -> impl Fn(StoreError) -> Self + '_ {
        move |source| Self::Read { storage: storage.to_owned(), source }
    }
}
