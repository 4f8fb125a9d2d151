//! What is asked of building an image: plain data, which the command line fills in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::step::RunNetwork;
use crate::base::digest::Sha256Sum;
use crate::image::ImageRef;
use crate::image::platform::Platform;

/// What is to be built, and how.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Where the files of COPY and ADD are.
    pub context: ContextPlace,
    /// The Dockerfile; none is the file `Dockerfile` at the context's top.
    pub dockerfile: Option<DockerfilePlace>,
    /// What the image is called; it has its id alone if there is no name.
    pub names: Vec<ImageRef>,
    /// What names stand for that other trees meet, the sum of the folder. Then the image says so, and which
    /// images it was made from, and gets the names only if those have theirs in the store, as every tree
    /// finds them, and if no command had a cache of the scope's own.
    pub shared_as: Option<Sha256Sum>,
    /// Place whose images have caches of commands (`--mount=type=cache`) of their own: what lies in one is in
    /// no image of another place. `None` shares caches with all builds of the user's that have none.
    pub cache_scope: Option<PathBuf>,
    /// `--build-arg`, those taken from the environment among them.
    pub arguments: BTreeMap<String, String>,
    /// The stage to build; the last one by default.
    pub target: Option<String>,
    /// What the image is for; this machine by default.
    pub platform: Option<Platform>,
    /// True if instructions run although their results are in the cache.
    pub no_cache: bool,
    /// Secrets by their ids.
    pub secrets: BTreeMap<String, SecretPlace>,
    /// The sockets of ssh agents by their ids.
    pub agents: BTreeMap<String, PathBuf>,
    /// Contexts by their names.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The network of RUNs that say none.
    pub network: RunNetwork,
    /// Labels that the image gets beside those of the Dockerfile.
    pub labels: Vec<(String, String)>,
    /// What the image says of its time, and the latest time of files in its layers: seconds of the
    /// epoch.
    pub source_date_epoch: u64,
}

impl BuildOptions {
    /// Builds the `Dockerfile` of a folder, whose files are the context, for this machine.
    pub fn of_folder(folder: &Path) -> Self {
        Self {
            context: ContextPlace::Folder(folder.to_owned()),
            dockerfile: None,
            names: Vec::new(),
            shared_as: None,
            cache_scope: None,
            arguments: BTreeMap::new(),
            target: None,
            platform: None,
            no_cache: false,
            secrets: BTreeMap::new(),
            agents: BTreeMap::new(),
            contexts: BTreeMap::new(),
            network: RunNetwork::Default,
            labels: Vec::new(),
            source_date_epoch: 0,
        }
    }

    /// What evaluating the Dockerfile depends on.
    pub fn surroundings(&self) -> Surroundings {
        let host = Platform::host();
        Surroundings {
            arguments: self.arguments.clone(),
            target_platform: self.platform.clone().unwrap_or_else(|| host.clone()),
            build_platform: host,
            target: self.target.clone(),
            contexts: self.contexts.clone(),
            source_date_epoch: self.source_date_epoch,
        }
    }
}

/// Where the files of COPY and ADD are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextPlace {
    /// A folder.
    Folder(PathBuf),
    /// A folder that was filled for this build from elsewhere: nothing in it leads out of it, and its own
    /// path tells nobody anything. The Dockerfile's path is relative to it.
    Brought(PathBuf),
    /// Nowhere: the Dockerfile came alone.
    Empty,
}

/// Where a Dockerfile comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfilePlace {
    /// A file.
    File(PathBuf),
    /// A text that was read already, from stdin.
    Text(String),
}

/// Where a secret is. Its content is read when a command needs it, and never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretPlace {
    /// In a file.
    File(PathBuf),
    /// In a variable, whose value this is.
    Value(Hidden),
}

/// A value that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(pub String);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

/// A context by a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// A folder.
    Folder(PathBuf),
    /// A folder that was filled for this build from elsewhere: nothing in it leads out of it.
    Brought(PathBuf),
    /// An image: `docker-image://NAME`.
    Image(String),
}

/// What evaluating a Dockerfile depends on beside its text.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// What the image is for.
    pub target_platform: Platform,
    /// What builds it.
    pub build_platform: Platform,
    /// The stage to build, as it was called.
    pub target: Option<String>,
    /// Contexts by their names.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The time that the image says it was made at, in seconds of the epoch.
    pub source_date_epoch: u64,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            arguments: BTreeMap::new(),
            target_platform: Platform::host(),
            build_platform: Platform::host(),
            target: None,
            contexts: BTreeMap::new(),
            source_date_epoch: 0,
        }
    }
}
