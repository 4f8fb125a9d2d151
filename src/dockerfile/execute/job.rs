//! Steps of a Dockerfile as jobs of a helper. Paths are the caller's; the helper sees them through its
//! view.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::container::uplink::Uplink;
use crate::dockerfile::step::{CopySource, LayerStep};
use crate::image::store::{BuiltLayer, LayerBlob};
use crate::runner::workspace::JobFolders;

/// Job that makes a layer of the changes of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerJob {
    /// Folders and conditions of the job.
    pub folders: JobFolders,
    /// Layers below, the lowest first.
    pub below: Vec<LayerBlob>,
    /// Step.
    pub step: LayerStep,
    /// Files of the step's sources, in their order: for COPY and ADD.
    pub inputs: Vec<CopyInput>,
    /// Sources of the command's mounts, in the order of the step's mounts.
    pub mounts: Vec<MountInput>,
    /// Network of the command.
    pub network: StepNetwork,
    /// Blob of the layer: an empty file of the caller.
    pub output: PathBuf,
    /// Log of the command.
    pub log: PathBuf,
    /// Longest run time of the command.
    pub time_limit: Option<Duration>,
    /// Largest log, in bytes.
    pub log_limit: u64,
    /// Latest time of files in the layer, in seconds of the epoch.
    pub source_date_epoch: u64,
}

/// Job that computes the digest of files that a COPY takes from layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DigestJob {
    /// Folders and conditions of the job.
    pub folders: JobFolders,
    /// Layers, the lowest first.
    pub layers: Vec<LayerBlob>,
    /// Sources of the COPY.
    pub sources: Vec<CopySource>,
    /// Patterns of excluded files.
    pub exclude: Vec<String>,
    /// True if folders in the names of the sources are kept.
    pub parents: bool,
}

/// The network of a command, as the machine gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepNetwork {
    /// Loopback only.
    None,
    /// The machine's.
    Host,
    /// A network namespace of its own, connected by a program.
    Own(Uplink),
}

/// A source to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyInput {
    /// Files of a folder of the caller's, which were listed already.
    Listed {
        /// The folder.
        folder: PathBuf,
        /// Files matched by the source.
        matches: Vec<Match>,
    },
    /// Pattern to be resolved in layers.
    Pattern {
        /// The layers, the lowest first.
        layers: Vec<LayerBlob>,
        /// The pattern.
        pattern: String,
        /// Patterns to leave out.
        exclude: Vec<String>,
        /// True if folders in the pattern are kept.
        parents: bool,
    },
    /// A downloaded file.
    Download {
        /// Path.
        file: PathBuf,
        /// Name.
        name: String,
    },
    /// A checked out folder, whose contents are copied.
    CheckOut {
        /// The folder.
        folder: PathBuf,
    },
    /// The text stands in the step.
    Document,
}

/// A match of a COPY source: a file, or a folder with the entries to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// True for a folder, whose contents are copied.
    pub is_folder: bool,
    /// Entries, each folder before its contents; for a file, the file itself.
    pub entries: Vec<CopyEntry>,
}

/// A file or folder to be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyEntry {
    /// Path below the root of the origin, without symlinks.
    #[serde(with = "super::bytes")]
    pub path: PathBuf,
    /// Path relative to the destination; empty for a folder whose contents go there.
    #[serde(with = "super::bytes")]
    pub place: PathBuf,
}

/// Input of a command's mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountInput {
    /// A tree; the step determines the part to mount.
    Tree(CopyInput),
    /// A cache folder of the caller, and its initial content.
    Cache {
        /// The folder.
        folder: PathBuf,
        /// Tree with the initial content, of which the step selects a part; none for an empty
        /// cache.
        begins_as: Option<CopyInput>,
    },
    /// Memory.
    Tmpfs,
    /// Content of a secret; `None` if missing.
    Secret(Option<SecretBytes>),
    /// Socket of an agent; `None` if missing.
    Socket(Option<PathBuf>),
}

/// Content of a secret for a command, never displayed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretBytes(pub Vec<u8>);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes")
    }
}

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLayer {
    /// The layer; nothing if the step changed no file.
    pub layer: Option<BuiltLayer>,
    /// The upper directory in the scratch folder that the layer was made of.
    pub upper: Option<String>,
    /// True if owners that the command gave to files may be lost.
    pub flattened: bool,
}
