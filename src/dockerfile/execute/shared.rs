//! State shared by the threads of a build: finished stages, images, room for blobs and for
//! containers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use super::error::{DockerfileError, StepError};
use super::job::Match;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::dockerfile::builder::ImageBuilder;
use crate::dockerfile::cache::BuildCache;
use crate::dockerfile::context::ContextFiles;
use crate::dockerfile::evaluate::{EvaluatedStage, Scope};
use crate::dockerfile::graph::PlannedStage;
use crate::dockerfile::model::Dockerfile;
use crate::dockerfile::options::ImageBuildOptions;
use crate::image::pins::ImagePins;
use crate::image::store::{BlobRoom, BuiltLayer, Image, ImageStore, ImageStoreError, LayerBlob};
use crate::runner::scratch::InputsFolder;
use crate::runner::session::Session;
use crate::runner::uses::Registration;
use crate::source::AddedPins;

/// The annotation of images in whose layers owners may be lost that a command gave to files.
pub(super) const OWNERS: &str = "org.mkpanda.owners";
pub(super) const FLATTENED: &str = "flattened";

/// The annotation with the ids of the images that an image was made from, by their names.
pub(super) const BASES: &str = "org.mkpanda.bases";

/// The annotation with the sum of the folder that an image was made from.
pub(super) const FOLDER: &str = "org.mkpanda.folder";

/// The annotation with the contents that an image was made from by `ADD`, by their places.
pub(super) const ADDED: &str = "org.mkpanda.added";

/// True unless an image records another folder, other base images than the current ones of those
/// names in the store or the lock, or other contents of `ADD` than the lock has.
pub fn is_still_of(
    store: &ImageStore,
    image: &Image,
    folder: &Sha256Sum,
    (pins, added): (&ImagePins, &AddedPins),
) -> Result<bool, ImageStoreError> {
    if let Some(text) = store.annotation(image, ADDED)?
        && !serde_json::from_str(&text).is_ok_and(|contents| added.accept(&contents))
    {
        return Ok(false);
    }
    if store.annotation(image, FOLDER)?.is_some_and(|sum| sum != folder.as_str()) {
        return Ok(false);
    }
    let Some(text) = store.annotation(image, BASES)? else { return Ok(true) };
    let Ok(bases) = serde_json::from_str::<BTreeMap<String, String>>(&text) else {
        return Ok(false);
    };
    for (name, id) in bases {
        let Ok(reference) = name.parse() else { return Ok(false) };
        if let Some(is_right) = pins.accept_base(&reference, &id) {
            if is_right {
                continue;
            }
            return Ok(false);
        }
        if store.find(&reference)?.is_some_and(|found| found.id.to_string() != id) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True if owners set by commands of an image's build may be lost, because the build had one id.
pub fn is_flattened(store: &ImageStore, image: &Image) -> Result<bool, ImageStoreError> {
    Ok(store.annotation(image, OWNERS)?.as_deref() == Some(FLATTENED))
}

/// A finished stage.
#[derive(Debug, Clone)]
pub(super) struct FinishedStage {
    pub(super) finished: EvaluatedStage,
    pub(super) layers: Vec<BuiltLayer>,
    pub(super) flattened: bool,
}

/// Source in the build context: pattern, exclusions, and true if parent folders are kept.
pub(super) type SourcePattern = (String, Vec<String>, bool);

#[derive(Debug, Default)]
pub(super) struct BuildState {
    pub(super) done: BTreeMap<usize, FinishedStage>,
    pub(super) images: BTreeMap<String, FinishedStage>,
    /// The ids of these images, by their names in the Dockerfile.
    pub(super) bases: BTreeMap<String, String>,
    /// Contents of sources of `ADD` that may change, by their places.
    pub(super) added: BTreeMap<String, String>,
    /// True if a base image came from a location without names in the store.
    pub(super) has_nameless_base: bool,
    /// True if a command had a cache that builds of other scopes don't have.
    pub(super) has_own_caches: bool,
    pub(super) failed: Option<DockerfileError>,
    /// Matches of sources in the build context, with their digests: several instructions may use
    /// the same source.
    pub(super) chosen: BTreeMap<SourcePattern, (Vec<Match>, Sha256Sum)>,
    pub(super) has_failed: bool,
    pub(super) session: Option<Arc<Session>>,
    /// Folder for downloads and copies, made when it is first needed.
    pub(super) inputs: Option<InputsFolder>,
    pub(super) steps: u64,
    pub(super) cached: u64,
}

/// A build under way.
#[derive(Debug)]
pub(super) struct ImageBuild<'a> {
    pub(super) options: &'a ImageBuildOptions,
    pub(super) builder: &'a ImageBuilder<'a>,
    pub(super) cache: BuildCache,
    pub(super) dockerfile: Dockerfile,
    pub(super) scope: Scope,
    /// Build context, without ignored files.
    pub(super) context: Option<ContextFiles>,
    pub(super) path: PathBuf,
    pub(super) text: String,
    logs: PathBuf,
    shared: Mutex<BuildState>,
    registration: Mutex<Option<Registration>>,
    pub(super) changed: Condvar,
    pub(super) blobs: OnceLock<BlobRoom>,
    /// The store's lock is one between processes: threads take turns before.
    pub(super) turn: Mutex<()>,
}

impl<'a> ImageBuild<'a> {
    /// Creates a build without results. `file` is the Dockerfile's path and text.
    pub(super) fn new(
        builder: &'a ImageBuilder<'a>,
        options: &'a ImageBuildOptions,
        dockerfile: Dockerfile,
        scope: Scope,
        context: Option<ContextFiles>,
        file: (PathBuf, String),
        logs: PathBuf,
    ) -> Self {
        let (path, text) = file;
        Self {
            options,
            builder,
            cache: BuildCache::new(builder.runner.home.build_cache()),
            dockerfile,
            scope,
            context,
            path,
            text,
            logs,
            shared: Mutex::default(),
            registration: Mutex::default(),
            changed: Condvar::new(),
            blobs: OnceLock::new(),
            turn: Mutex::default(),
        }
    }

    pub(super) fn shared(&self) -> MutexGuard<'_, BuildState> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registration of the build, made with the first use.
    pub(super) fn registration(&self) -> MutexGuard<'_, Option<Registration>> {
        self.registration.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Folder of the stages' logs.
    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// Waits until a stage is done.
    pub(super) fn wait_for(&self, number: usize) -> Result<FinishedStage, StepError> {
        let mut shared = self.shared();
        loop {
            if let Some(done) = shared.done.get(&number) {
                return Ok(done.clone());
            }
            if shared.has_failed {
                return Err(StepError::Needed);
            }
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The layers of a stage, once it is done.
    pub(super) fn stage_layers(&self, number: usize) -> Result<Vec<BuiltLayer>, StepError> {
        self.wait_for(number).map(|done| done.layers)
    }

    /// Room for blobs, made when it is first needed.
    pub(super) fn blob_room(&self, observer: &dyn Observer) -> Result<&BlobRoom, ImageStoreError> {
        if let Some(room) = self.blobs.get() {
            return Ok(room);
        }
        let _turn = self.take_turn();
        if let Some(room) = self.blobs.get() {
            return Ok(room);
        }
        let room = self.builder.store.blob_room(observer)?;
        Ok(self.blobs.get_or_init(|| room))
    }

    /// Lets one thread at a time change the store.
    pub(super) fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn blob_list(&self, layers: &[BuiltLayer]) -> Vec<LayerBlob> {
        let blob = |layer: &BuiltLayer| LayerBlob {
            path: self.builder.store.blob_path(&layer.digest),
            diff_id: layer.diff_id.clone(),
            is_fifo: false,
        };
        layers.iter().map(blob).collect()
    }

    pub(super) fn count(&self, was_cached: bool) {
        let mut shared = self.shared();
        shared.steps += 1;
        shared.cached += u64::from(was_cached);
    }

    /// Path of the log of a stage.
    pub(super) fn log(&self, planned: &PlannedStage) -> PathBuf {
        let name: String = planned
            .label
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
            .collect();
        self.logs.join(format!("{}-{name}.log", planned.number))
    }
}
