//! What building an image does to a file tree: the instructions that make a layer, with all
//! variables expanded and all names resolved, as data. It is made by the evaluation of a stage, is
//! what the build cache's keys are made of, and is carried out by a helper.
//!
//! Instructions that only change the image's configuration make no step.

use serde::{Deserialize, Serialize};

pub use super::chmod::Chmod;
use crate::source::GitPlace;

/// An instruction that may change files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
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
    pub documents: Vec<Document>,
    /// All variables that it gets, build arguments among them.
    pub environment: Vec<(String, String)>,
    /// Variables that it gets too, but that change nothing about what it does: proxies. They belong
    /// into no cache key and no history.
    pub proxies: Vec<(String, String)>,
    /// Where it runs, absolute.
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
pub struct Document {
    /// The name after `<<`: for COPY and ADD the file's name.
    pub name: String,
    /// Its text, expanded unless it was quoted.
    pub content: String,
}

/// The network of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunNetwork {
    /// Loopback only.
    None,
    /// One of its own that reaches the outside.
    Default,
    /// The machine's.
    Host,
}

/// A mount for one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunMount {
    /// Files of the context, a stage or an image. What is written to it is lost.
    Bind {
        /// Whose files.
        from: Origin,
        /// Which, relative to its root.
        source: String,
        /// Absolute path.
        target: String,
        /// True if the command may write.
        writable: bool,
    },
    /// A folder that outlives the build.
    Cache {
        /// Name.
        id: String,
        /// Absolute path.
        target: String,
        /// Who may use it at once.
        sharing: Sharing,
        /// What it begins as, and where in there.
        from: Option<(Origin, String)>,
        /// The folder of the cache that is mounted, where nothing says what it begins as; none for all.
        source: Option<String>,
        /// True if the command may not write.
        read_only: bool,
        /// The mode of the folder.
        mode: u32,
        /// Its owner.
        owner: (u32, u32),
    },
    /// Memory.
    Tmpfs {
        /// Absolute path.
        target: String,
        /// Its size in bytes.
        size: Option<u64>,
    },
    /// A file that is in no layer, no log and no cache key.
    Secret {
        /// What it is called on the command line.
        id: String,
        /// Where; none for a variable alone.
        target: Option<String>,
        /// The variable that has its content.
        variable: Option<String>,
        /// True if the build fails without it.
        required: bool,
        /// The file's mode.
        mode: u32,
        /// Its owner.
        owner: (u32, u32),
    },
    /// The caller's ssh agent.
    Ssh {
        /// What it is called on the command line.
        id: String,
        /// Where its socket is.
        target: Option<String>,
        /// True if the build fails without it.
        required: bool,
        /// The socket's mode.
        mode: u32,
        /// Its owner.
        owner: (u32, u32),
    },
}

/// How several commands share a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// At once.
    Shared,
    /// Each its own, if another is in use.
    Private,
    /// One after another.
    Locked,
}

/// Whose files are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Origin {
    /// The build context.
    Context,
    /// A stage, by its number.
    Stage(usize),
    /// An image, by its name as written.
    Image(String),
    /// A context that was named on the command line.
    Named(String),
}

/// Files to take over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyStep {
    /// Whose files those of [`CopySource::Path`] are.
    pub from: Origin,
    /// What, in this order.
    pub sources: Vec<CopySource>,
    /// Where, absolute and normal; with a trailing slash if it must be a folder.
    pub destination: String,
    /// `--chown` as written, expanded.
    pub chown: Option<String>,
    /// `--chmod`.
    pub chmod: Option<Chmod>,
    /// `--link`: the layer doesn't depend on what lies below it.
    pub link: bool,
    /// `--parents`: the folders in the sources' names are kept.
    pub parents: bool,
    /// `--exclude`: patterns as in `.dockerignore`.
    pub exclude: Vec<String>,
    /// Which archives are unpacked: ADD.
    pub unpack: Unpack,
}

/// Which archives are unpacked instead of being copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unpack {
    /// None: COPY, and ADD with `--unpack=false`.
    Nothing,
    /// Those that are files, not those that are downloaded: ADD.
    Local,
    /// All: ADD with `--unpack`.
    All,
}

/// One of the things to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopySource {
    /// A path below the origin's root, with `*`, `?` and `[…]`.
    Path(String),
    /// A file to download.
    Url {
        /// From where.
        url: String,
        /// The digest that it must have: `sha256:…`.
        checksum: Option<String>,
    },
    /// A git repository to check out.
    Git(GitPlace),
    /// A here-document.
    Document(Document),
}

/// A folder to be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderStep {
    /// Where, absolute and normal.
    pub path: String,
    /// USER as written: whose the folder is.
    pub user: String,
}
