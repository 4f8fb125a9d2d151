//! Steps of a Dockerfile as jobs of a helper. Paths are the caller's; the helper sees them through its
//! view.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::container::uplink::Uplink;
use crate::dockerfile::step::{CopySource, Step};
use crate::image::store::{BuiltLayer, LayerBlob};
use crate::runner::workspace::JobPlace;

/// Job that makes a layer of the changes of a step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerJob {
    /// Folders and conditions of the job.
    pub place: JobPlace,
    /// Layers below, the lowest first.
    pub below: Vec<LayerBlob>,
    /// Step.
    pub step: Step,
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
    pub place: JobPlace,
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
    /// Its own, connected by a program.
    Own(Uplink),
}

/// One of the things to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopyInput {
    /// Files of a folder of the caller's, which were listed already.
    Listed {
        /// The folder.
        folder: PathBuf,
        /// What was meant by the source.
        matches: Vec<Match>,
    },
    /// What a pattern finds in layers.
    Pattern {
        /// The layers, the lowest first.
        layers: Vec<LayerBlob>,
        /// The pattern.
        pattern: String,
        /// What is left out.
        exclude: Vec<String>,
        /// True if folders in the pattern are kept.
        parents: bool,
    },
    /// A file that was downloaded.
    Download {
        /// Path.
        file: PathBuf,
        /// Name.
        name: String,
    },
    /// A folder that was checked out, whose contents are meant.
    CheckOut {
        /// The folder.
        folder: PathBuf,
    },
    /// The text stands in the step.
    Document,
}

/// Something that a source of a COPY means: a file, or a folder with what of it is copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Match {
    /// True if it is a folder, whose contents are meant.
    pub is_folder: bool,
    /// Folders before what lies in them; of a file only itself.
    pub entries: Vec<CopyEntry>,
}

/// A file or folder to be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyEntry {
    /// Where it is below the root that it is taken from, through no symlink.
    #[serde(with = "super::bytes")]
    pub path: PathBuf,
    /// Where it goes, relative to the destination; empty for a folder whose contents go there.
    #[serde(with = "super::bytes")]
    pub place: PathBuf,
}

/// What is mounted for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountInput {
    /// A tree, of which the step says which part.
    Tree(CopyInput),
    /// A folder of the caller's that outlives the build, and what it begins as.
    Cache {
        /// The folder.
        folder: PathBuf,
        /// The tree of which the step says which part; empty without one.
        begins_as: Option<CopyInput>,
    },
    /// Memory.
    Tmpfs,
    /// A secret's content; nothing if there is none.
    Secret(Option<SecretBytes>),
    /// An agent's socket; nothing if there is none.
    Socket(Option<PathBuf>),
}

/// A secret on its way to the command that needs it. It is never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretBytes(pub Vec<u8>);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes")
    }
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLayer {
    /// The layer; nothing if the step changed no file.
    pub layer: Option<BuiltLayer>,
    /// The upper directory in the scratch folder that the layer was made of.
    pub upper: Option<String>,
    /// True if owners that the command gave to files may be lost.
    pub flattened: bool,
}
