//! Options for building an image: plain data, filled in by the command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::step::RunNetwork;
use crate::base::digest::Sha256Sum;
use crate::image::ImageRef;
use crate::image::platform::Platform;

/// Options for building an image.
#[derive(Debug, Clone)]
pub struct ImageBuildOptions {
    /// Location of the build context.
    pub context: ContextLocation,
    /// The Dockerfile; none is the file `Dockerfile` at the context's top.
    pub dockerfile: Option<DockerfileLocation>,
    /// Names for the image; without a name, the image has its id only.
    pub names: Vec<ImageRef>,
    /// Digest of the image's folder, if the names are shared between trees. Then the image records
    /// the digest and its base images, and gets the names only if the base images have theirs in
    /// the store, as every tree finds them, and if no command used a cache private to the scope.
    pub shared_as: Option<Sha256Sum>,
    /// Place whose images have private caches of commands (`--mount=type=cache`): the content of a
    /// cache never gets into an image of another place. `None` shares caches with all builds of the
    /// user's without a scope.
    pub cache_scope: Option<PathBuf>,
    /// Build arguments of `--build-arg`, including those taken from the environment.
    pub arguments: BTreeMap<String, String>,
    /// The stage to build; the last one by default.
    pub target: Option<String>,
    /// Target platform; this machine by default.
    pub platform: Option<Platform>,
    /// True if instructions run although their results are in the cache.
    pub no_cache: bool,
    /// Secrets by their ids.
    pub secrets: BTreeMap<String, SecretLocation>,
    /// The sockets of ssh agents by their ids.
    pub agents: BTreeMap<String, PathBuf>,
    /// Contexts by their names.
    pub contexts: BTreeMap<String, NamedContext>,
    /// The network of RUNs that say none.
    pub network: RunNetwork,
    /// Labels beside those of the Dockerfile.
    pub labels: Vec<(String, String)>,
    /// Creation time of the image, and upper limit of the files' times in its layers: seconds since
    /// the epoch.
    pub source_date_epoch: u64,
}

impl ImageBuildOptions {
    /// Options for building the `Dockerfile` of a folder, with the folder as context, for this
    /// machine.
    pub fn of_folder(folder: &Path) -> Self {
        Self {
            context: ContextLocation::Folder(folder.to_owned()),
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

    /// Returns the inputs of evaluation beside the Dockerfile.
    pub fn surroundings(&self) -> DockerfileSurroundings {
        let host = Platform::host();
        DockerfileSurroundings {
            arguments: self.arguments.clone(),
            target_platform: self.platform.clone().unwrap_or_else(|| host.clone()),
            build_platform: host,
            target: self.target.clone(),
            contexts: self.contexts.clone(),
            source_date_epoch: self.source_date_epoch,
        }
    }
}

/// Location of the build context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextLocation {
    /// A folder.
    Folder(PathBuf),
    /// A scratch folder with a fetched context: no link leads out of the folder, and its path means
    /// nothing to the user. The Dockerfile's path is relative to the folder.
    Brought(PathBuf),
    /// Nowhere: the Dockerfile came alone.
    Empty,
}

/// Location of a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerfileLocation {
    /// A file.
    File(PathBuf),
    /// A text that was read already, from stdin.
    Text(String),
}

/// Location of a secret. The content is read when a command needs the secret, and never stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretLocation {
    /// In a file.
    File(PathBuf),
    /// The value of a variable.
    Value(Hidden),
}

/// A value that is never displayed.
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
    /// A scratch folder with a fetched context: no link leads out of the folder.
    Brought(PathBuf),
    /// An image: `docker-image://NAME`.
    Image(String),
}

/// Inputs of evaluating a Dockerfile beside its text.
#[derive(Debug, Clone)]
pub struct DockerfileSurroundings {
    /// Build arguments.
    pub arguments: BTreeMap<String, String>,
    /// Platform of the image.
    pub target_platform: Platform,
    /// Platform of the builder.
    pub build_platform: Platform,
    /// The stage to build, as it was called.
    pub target: Option<String>,
    /// Contexts by their names.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Creation time of the image, in seconds since the epoch.
    pub source_date_epoch: u64,
}

impl Default for DockerfileSurroundings {
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
