//! What a helper is told and what it answers: plain data, the same for a helper on this machine as
//! for one elsewhere. Paths are the caller's; the helper sees them through its view.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::Limits as ArchiveLimits;
use crate::base::event::Phase;
use crate::container::idmap::IdMap;
use crate::container::machine::{Machine, Probed};
use crate::container::namespace::Network;
use crate::dockerfile::execute::job::StepJob;
use crate::image::config::RunConfig;
use crate::image::host::HostRoot;
use crate::image::store::{LayerBlob, RootImage};
use crate::package::{PackageId, SourceName};
use crate::source::Fetched;

use super::jobserver::Access;

/// A helper's job.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Job {
    /// Find out what containers can have here.
    Probe(ProbeJob),
    /// Build a package.
    Build(Box<BuildJob>),
    /// Remove folders whose files may belong to a namespace's ids.
    Remove(RemoveJob),
    /// Find out what folders take on the disk whose files may belong to a namespace's ids.
    Measure(RemoveJob),
    /// Copy a folder whose files may belong to a namespace's ids.
    Copy(CopyJob),
    /// Carry out a step of a Dockerfile.
    Step(Box<StepJob>),
    /// Unpack layers.
    Unpack(UnpackJob),
}

/// Where to try what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProbeJob {
    /// The map to try.
    pub map: IdMap,
    /// The helper's own scratch folder, empty.
    pub scratch: PathBuf,
    /// An empty folder for the helper's view.
    pub view: PathBuf,
}

/// What to remove, or to measure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoveJob {
    /// The map in which the files were made.
    pub map: IdMap,
    /// The folder in which they lie.
    pub folder: PathBuf,
    /// An empty folder for the helper's view.
    pub view: PathBuf,
    /// Their names.
    pub names: Vec<String>,
}

/// What to copy where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CopyJob {
    /// The map in which the files were made.
    pub map: IdMap,
    /// The folder.
    pub from: PathBuf,
    /// Where its contents go: an empty folder of the container's root's.
    pub to: PathBuf,
    /// An empty folder for the helper's view.
    pub view: PathBuf,
}

/// Which layers to unpack where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnpackJob {
    /// The map in whose ids files are made.
    pub map: IdMap,
    /// An empty folder for the helper's view.
    pub view: PathBuf,
    /// Where unpacked layers of this mapping are.
    pub folder: PathBuf,
    /// The layers; a path may be a FIFO.
    pub layers: Vec<LayerBlob>,
    /// Whether the map has one id only.
    pub single_id: bool,
    /// What a layer may unpack to.
    pub limits: ArchiveLimits,
}

/// Everything that a build needs; nothing else of the machine is looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildJob {
    /// The package.
    pub id: PackageId,
    /// What the machine gives.
    pub machine: Machine,
    /// The network.
    pub network: Network,
    /// The helper's own scratch folder, empty.
    pub scratch: PathBuf,
    /// An empty folder for the helper's view; helpers may share it, each mounts its own on it.
    pub view: PathBuf,
    /// Where unpacked layers of this mapping are.
    pub layers: PathBuf,
    /// Where unpacked packages are.
    pub packages: PathBuf,
    /// The package's folder.
    pub package_folder: PathBuf,
    /// The build script, relative to it.
    pub build_script: String,
    /// Whether it has an `extra/`.
    pub has_extra: bool,
    /// The image.
    pub image: BuildRoot,
    /// The sources, fetched.
    pub sources: Vec<(SourceName, Fetched)>,
    /// All packages that it needs, in their order, with their archives.
    pub dependencies: Vec<Dependency>,
    /// `buildinfo.full.json`.
    pub buildinfo_full: String,
    /// `pkginfo.json`.
    pub pkginfo: String,
    /// The variables that the build script gets beside the image's.
    pub environment: Vec<(String, String)>,
    /// The latest time that anything in the package may have, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// How many cores the build is told of; without a jobserver also how many threads compress.
    pub threads: u32,
    /// The run's jobserver, if there is one.
    pub jobserver: Option<Access>,
    /// Where the archive goes: an empty file of the caller's.
    pub output: PathBuf,
    /// Where the log goes.
    pub log: PathBuf,
    /// How long the build script may take.
    pub time_limit: Option<Duration>,
    /// What archives may hold.
    pub limits: ArchiveLimits,
    /// Whether `src` and `result` are left in the scratch folder.
    pub keep: bool,
}

/// What a build's root is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BuildRoot {
    /// An image's layers.
    Layers(RootImage),
    /// The machine itself.
    Host {
        /// What of it is shown.
        root: HostRoot,
        /// How a command runs in it.
        config: RunConfig,
    },
}

/// A package that another one needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Dependency {
    /// Its id.
    pub id: PackageId,
    /// Its archive.
    pub archive: PathBuf,
}

/// What a helper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// A phase began.
    Phase(Phase),
    /// What was found out; the last answer.
    Probed(Probed),
    /// The package is built; the last answer.
    Built(Built),
    /// Everything is removed; the last answer.
    Removed,
    /// What all of it takes on the disk, in bytes; the last answer.
    Measured(u64),
    /// Everything is copied; the last answer.
    Copied,
    /// The layers are unpacked; the last answer.
    Unpacked,
    /// The job failed; the last answer.
    Failed(Failure),
}

/// A built package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// The archive's SHA-1.
    pub sha1: crate::base::digest::Sha1Sum,
    /// The archive's SHA-256.
    pub sha256: crate::base::digest::Sha256Sum,
    /// The archive's size in bytes.
    pub bytes: u64,
    /// The size of what is in it.
    pub unpacked: u64,
    /// What the build's record should say besides.
    pub notes: Vec<String>,
}

/// Why a job failed, in words: the error itself stayed in the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The phase in which it failed.
    pub phase: Phase,
    /// What went wrong, with its causes.
    pub message: String,
    /// What to do, if that is known.
    pub hint: Option<String>,
    /// Whether the log says more: the build script itself failed, or the container.
    pub see_log: bool,
}
