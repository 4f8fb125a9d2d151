//! File changes of an image build: the instructions that make a layer, with all variables expanded
//! and all names resolved, as data. Steps result from evaluating a stage, enter the keys of the
//! build cache, and are carried out by a helper.
//!
//! Instructions that only change the image's configuration make no step.

use serde::{Deserialize, Serialize};

pub use super::chmod::Chmod;
use crate::source::GitSelection;

/// An instruction that may change files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerStep {
    /// RUN.
    Run(RunStep),
    /// COPY and ADD.
    Copy(CopyStep),
    /// WORKDIR: makes the folder if it is missing.
    Folder(FolderStep),
}

/// A command to run in the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    /// The program and its arguments; the shell form has the stage's SHELL in front.
    pub command: Vec<String>,
    /// Here-documents that the command finds as executable files: `/dev/pipes/<name>`, read-only.
    pub documents: Vec<StepDocument>,
    /// Variables of the command, including build arguments.
    pub environment: Vec<(String, String)>,
    /// Proxy variables of the command, which do not affect its result: they are part of no cache
    /// key and no history.
    pub proxies: Vec<(String, String)>,
    /// Working directory, absolute.
    pub workdir: String,
    /// USER as written: `name`, `uid`, `name:group`, `uid:gid`; empty for root.
    pub user: String,
    /// `--mount`.
    pub mounts: Vec<RunMount>,
    /// `--network`; none if the build's default is meant.
    pub network: Option<RunNetwork>,
}

/// A here-document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDocument {
    /// The name after `<<`: for COPY and ADD the file's name.
    pub name: String,
    /// Text, expanded unless the name was quoted.
    pub content: String,
}

/// Network of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunNetwork {
    /// Loopback only.
    None,
    /// A network namespace with access to the outside.
    Default,
    /// The machine's.
    Host,
}

/// A mount for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMount {
    /// Files of the context, a stage or an image. Writes are lost.
    Bind {
        /// Origin of the files.
        from: CopyOrigin,
        /// Path relative to the origin's root.
        source: String,
        /// Absolute path.
        target: String,
        /// True if the command may write.
        writable: bool,
    },
    /// Cache folder that persists between builds.
    Cache {
        /// Name.
        id: String,
        /// Absolute path.
        target: String,
        /// Sharing between concurrent commands.
        sharing: Sharing,
        /// Initial content of an empty cache, and the path in its origin.
        from: Option<(CopyOrigin, String)>,
        /// Folder of the cache to mount, for a cache without initial content; none for the whole
        /// cache.
        source: Option<String>,
        /// True if the command may not write.
        read_only: bool,
        /// The mode of the folder.
        mode: u32,
        /// Owner of the folder.
        owner: (u32, u32),
    },
    /// Memory.
    Tmpfs {
        /// Absolute path.
        target: String,
        /// Size in bytes.
        size: Option<u64>,
    },
    /// A file that is in no layer, no log and no cache key.
    Secret {
        /// Id on the command line.
        id: String,
        /// Path of the file; none for a variable alone.
        target: Option<String>,
        /// Variable with the content.
        variable: Option<String>,
        /// True if the build fails without it.
        required: bool,
        /// The file's mode.
        mode: u32,
        /// Owner of the file.
        owner: (u32, u32),
    },
    /// The caller's ssh agent.
    Ssh {
        /// Id on the command line.
        id: String,
        /// Path of the socket.
        target: Option<String>,
        /// True if the build fails without it.
        required: bool,
        /// The socket's mode.
        mode: u32,
        /// Owner of the socket.
        owner: (u32, u32),
    },
}

/// Sharing of a cache between commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// At once.
    Shared,
    /// Each its own, if another is in use.
    Private,
    /// Commands wait for each other.
    Locked,
}

/// Origin of files.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CopyOrigin {
    /// The build context.
    Context,
    /// Number of a stage.
    Stage(usize),
    /// An image, by its name as written.
    Image(String),
    /// A context that was named on the command line.
    Named(String),
}

/// Files to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStep {
    /// Origin of the files of [`CopySource::Path`].
    pub from: CopyOrigin,
    /// Sources, in this order.
    pub sources: Vec<CopySource>,
    /// Destination, absolute and normal; with a trailing slash if the destination must be a folder.
    pub destination: String,
    /// `--chown` as written, expanded.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--link`: the layer is independent of the layers below.
    pub link: bool,
    /// `--parents`: the folders in the sources' names are kept.
    pub parents: bool,
    /// `--exclude`: patterns as in `.dockerignore`.
    pub exclude: Vec<String>,
    /// Archives to unpack: ADD.
    pub unpack: Unpack,
}

/// Archives to unpack instead of copying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unpack {
    /// None: COPY, and ADD with `--unpack=false`.
    Nothing,
    /// Local archives, without downloaded ones: ADD.
    Local,
    /// All: ADD with `--unpack`.
    All,
}

/// A source to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopySource {
    /// A path below the origin's root, with `*`, `?` and `[…]`.
    Path(String),
    /// A file to download.
    Url {
        /// From where.
        url: String,
        /// Required digest: `sha256:…`.
        checksum: Option<String>,
    },
    /// A git repository to check out.
    Git(GitSelection),
    /// A here-document.
    Document(StepDocument),
}

/// A folder to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderStep {
    /// Path, absolute and normal.
    pub path: String,
    /// USER as written: whose the folder is.
    pub user: String,
}
