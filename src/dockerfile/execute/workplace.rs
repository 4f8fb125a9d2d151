//! What building an image needs of the machine, and how its caller gives it: nothing is started before
//! it is needed, so that a build whose steps are all in the cache starts no helper.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::archive::Limits;
use crate::base::event::Observer;
use crate::container::helper::{HelperPlace, Interrupt};
use crate::container::machine::Machine;
use crate::image::platform::Platform;
use crate::image::store::{BuiltLayer, Image, ImageStore};
use crate::source::FetchOptions;

/// What the machine gives.
#[derive(Debug)]
pub struct Workplace<'a> {
    /// The image store.
    pub store: &'a ImageStore,
    /// The build cache's folder.
    pub cache: PathBuf,
    /// Where folders are that outlive builds: `--mount=type=cache`.
    pub caches: PathBuf,
    /// Where logs go: a file per stage.
    pub logs: PathBuf,
    /// How sources are fetched.
    pub fetch: &'a FetchOptions,
    /// Where programs of the machine are looked for.
    pub search_path: String,
    /// What archives may hold.
    pub limits: Limits,
    /// Whether what commands say is shown while they say it.
    pub shows_output: bool,
    /// How long a command may take.
    pub time_limit: Option<Duration>,
    /// Ends everything.
    pub interrupt: Arc<Interrupt>,
    /// What is done by the caller.
    pub services: &'a dyn Services,
}

/// Something that a build uses from now on.
#[derive(Debug, Clone, Copy)]
pub enum Using<'a> {
    /// A layer: its blob, and what is unpacked of it.
    Layer(&'a BuiltLayer),
    /// A folder that outlives the build: a cache, or that of the logs.
    Folder(&'a Path),
}

/// What the caller does for a build.
pub trait Services: Sync + std::fmt::Debug {
    /// Sees to it that nobody removes something while the build goes on. If it was there before, it may
    /// be gone now.
    fn using(&self, what: Using<'_>, observer: &dyn Observer) -> Result<(), ServiceError>;

    /// The image that a FROM or `--from` names, made to be in the store, and to stay there.
    fn image(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Image, ServiceError>;

    /// A folder of the build's scratch space for downloads and copies of inputs; it goes with the build.
    fn inputs_folder(&self) -> Result<PathBuf, ServiceError>;

    /// Whether the machine seems to give ranges of ids, looked at without starting anything.
    fn may_have_ranges(&self) -> bool;

    /// Finds out what containers can have here, and makes room for them. Called once at most. The
    /// helper belongs to the thread that calls.
    fn start(&self, observer: &dyn Observer) -> Result<(Arc<Room>, HelperPlace), ServiceError>;
}

/// Where containers find room.
#[derive(Debug)]
pub struct Room {
    /// What they can have.
    pub machine: Machine,
    /// The run's scratch folder.
    pub scratch: PathBuf,
    /// An empty folder, on which each helper mounts its view.
    pub view: PathBuf,
    /// Where unpacked layers of this mapping are: the container's root may write there.
    pub layers: PathBuf,
    /// Removes a folder whose files may belong to a container's ids.
    pub remove: fn(&Machine, &Path, &Path),
}

/// Something that the caller does for a build failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServiceError {
    /// What failed.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Why.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}
