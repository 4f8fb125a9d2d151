//! What a helper is told of a step and what it answers. Paths are the caller's; the helper sees them
//! through its view.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::Limits;
use crate::base::digest::Sha256Sum;
use crate::container::machine::Machine;
use crate::container::uplink::Uplink;
use crate::dockerfile::step::{CopySource, Step};
use crate::image::store::{BuiltLayer, LayerBlob};

/// A job as the helper's dispatcher reads it, among its other kinds.
#[derive(Debug, Clone, Serialize)]
pub enum Order<'a> {
    /// A step.
    Step(&'a StepJob),
}

/// What to do, and everything that it needs; nothing else of the machine is looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepJob {
    /// What the machine gives.
    pub machine: Machine,
    /// The helper's own scratch folder, empty.
    pub scratch: PathBuf,
    /// An empty folder for the helper's view; helpers may share it, each mounts its own on it.
    pub view: PathBuf,
    /// Where unpacked layers of this mapping are.
    pub layers: PathBuf,
    /// What archives may hold.
    pub limits: Limits,
    /// What to do.
    pub work: StepWork,
}

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum StepWork {
    /// Make a layer of what a step changes.
    Layer(Box<LayerWork>),
    /// Take the digest of files that a COPY is about to take from layers.
    Digest(DigestWork),
}

/// A step that makes a layer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LayerWork {
    /// The layers below, the lowest first.
    pub below: Vec<LayerBlob>,
    /// The step.
    pub step: Step,
    /// Whose files the step's sources are, in their order: of COPY and ADD.
    pub inputs: Vec<CopyInput>,
    /// What is mounted for the command, in the order of the step's mounts.
    pub mounts: Vec<MountInput>,
    /// The command's network.
    pub network: StepNetwork,
    /// Where the layer's blob goes: an empty file of the caller's.
    pub output: PathBuf,
    /// Where the command's output goes.
    pub log: PathBuf,
    /// How long the command may take.
    pub time_limit: Option<Duration>,
    /// The latest time of files in the layer, in seconds since 1970.
    pub source_date_epoch: u64,
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

/// A tree of files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tree {
    /// A folder of the caller's.
    Folder(PathBuf),
    /// An image's or a stage's layers, the lowest first.
    Layers(Vec<LayerBlob>),
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
        /// Whether folders in the pattern are kept.
        parents: bool,
    },
    /// A file that was downloaded.
    Download {
        /// Where it lies.
        file: PathBuf,
        /// What it is called.
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
    /// Whether it is a folder, whose contents are meant.
    pub is_folder: bool,
    /// Folders before what lies in them; of a file only itself.
    pub entries: Vec<CopyEntry>,
}

/// A file or folder to be copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyEntry {
    /// Where it is below the root that it is taken from, through no symlink.
    pub path: PathBuf,
    /// Where it goes, relative to the destination; empty for a folder whose contents go there.
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

/// Files of layers whose digest is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DigestWork {
    /// The layers, the lowest first.
    pub layers: Vec<LayerBlob>,
    /// Which of them.
    pub sources: Vec<CopySource>,
    /// What of them is left out.
    pub exclude: Vec<String>,
    /// Whether folders in the sources' names are kept.
    pub parents: bool,
}

/// What a helper says of a step; its only answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepAnswer {
    /// The layer is made.
    Layer(StepLayer),
    /// The digest.
    Digest(Sha256Sum),
    /// It failed.
    Failed(StepFailure),
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLayer {
    /// The layer; nothing if the step changed no file.
    pub layer: Option<BuiltLayer>,
    /// The upper directory in the scratch folder that the layer was made of.
    pub upper: Option<String>,
    /// Whether owners that the command gave to files may be lost.
    pub flattened: bool,
}

/// Why a step failed, in words: the error itself stayed in the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepFailure {
    /// What went wrong, with its causes.
    pub message: String,
    /// What to do, if that is known.
    pub hint: Option<String>,
    /// Whether the log says more.
    pub see_log: bool,
}

impl StepFailure {
    /// A failure of which nothing more is known.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, see_log: false }
    }
}
