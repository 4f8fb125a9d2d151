//! What the threads of a build share: stages that are done, images that were found, room for blobs and
//! for containers.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::build::{Build, Done, is_flattened};
use super::error::{DockerfileError, StepError};
use super::inputs;
use super::workplace::{Room, ServiceError};
use crate::base::event::Observer;
use crate::container::helper::HelperPlace;
use crate::dockerfile::evaluate::{ConfigDocument, Finished};
use crate::dockerfile::graph::PlannedStage;
use crate::dockerfile::model::Place;
use crate::image::platform::Platform;
use crate::image::store::{BlobRoom, BuiltLayer, Image, LayerBlob, StoreError};

impl Build<'_> {
    /// Waits until a stage is done.
    pub(super) fn wait_for(&self, number: usize) -> Result<Done, StepError> {
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

    /// The layers of an image that isn't a stage's base.
    pub(super) fn image_layers(
        &self,
        name: &str,
        observer: &dyn Observer,
    ) -> Result<Vec<BuiltLayer>, StepError> {
        let platform = self.options.platform.clone().unwrap_or_else(Platform::host);
        let found = self.found_image(name, &platform, observer);
        found.map(|done| done.layers).map_err(|error| StepError::Service(Box::new(error)))
    }

    pub(super) fn image(
        &self,
        name: &str,
        platform: &Platform,
        place: &Place,
        observer: &dyn Observer,
    ) -> Result<Done, DockerfileError> {
        self.found_image(name, platform, observer).map_err(|error| DockerfileError::Image {
            place: format!("{}:{}", self.path.display(), place.line),
            source: Box::new(error),
        })
    }

    /// An image by its name, looked for once per platform.
    fn found_image(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Done, ServiceError> {
        let key = format!("{platform} {name}");
        if let Some(done) = self.shared().images.get(&key) {
            return Ok(done.clone());
        }
        let image = self.workplace.services.image(name, platform, observer)?;
        let done = self.done_image(&image).map_err(|error| ServiceError {
            message: format!("the image {name} can't be used"),
            hint: None,
            source: Some(error),
        })?;
        self.shared().images.insert(key, done.clone());
        Ok(done)
    }

    fn done_image(&self, image: &Image) -> Result<Done, Box<dyn std::error::Error + Send + Sync>> {
        let store = self.workplace.store;
        let config = fs_err::read(store.blob_path(&image.id.sum().clone().into()))?;
        let document = ConfigDocument::parse(&config)?;
        let layers = image.layers.iter().map(|layer| BuiltLayer {
            digest: layer.digest.clone(),
            size: layer.size,
            compression: layer.compression,
            diff_id: layer.diff_id.clone(),
        });
        let flattened = is_flattened(store, image)?;
        Ok(Done { finished: Finished::of_image(document), layers: layers.collect(), flattened })
    }

    /// Room for blobs, made when it is first needed.
    pub(super) fn blob_room(&self, observer: &dyn Observer) -> Result<&BlobRoom, StoreError> {
        if let Some(room) = self.blobs.get() {
            return Ok(room);
        }
        let _turn = self.take_turn();
        if let Some(room) = self.blobs.get() {
            return Ok(room);
        }
        let room = self.workplace.store.blob_room(observer)?;
        Ok(self.blobs.get_or_init(|| room))
    }

    /// Lets one thread at a time change the store.
    pub(super) fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for containers, made when it is first needed, with a helper of the calling thread's.
    pub(super) fn room(
        &self,
        observer: &dyn Observer,
    ) -> Result<(Arc<Room>, HelperPlace), ServiceError> {
        let mut shared = self.shared();
        if let Some(room) = &shared.room {
            let room = Arc::clone(room);
            let place = HelperPlace::new(room.machine.map.clone(), &self.workplace.interrupt);
            return Ok((room, place));
        }
        // The others wait meanwhile: there is one answer for all.
        let (room, place) = self.workplace.services.start(observer)?;
        shared.room = Some(Arc::clone(&room));
        Ok((room, place))
    }

    pub(super) fn blob_list(&self, layers: &[BuiltLayer]) -> Vec<LayerBlob> {
        inputs::blobs(|layer| self.workplace.store.blob_path(&layer.digest), layers)
    }

    pub(super) fn count(&self, was_cached: bool) {
        let mut shared = self.shared();
        shared.steps += 1;
        shared.cached += u64::from(was_cached);
    }

    /// Where the log of a stage goes.
    pub(super) fn log(&self, planned: &PlannedStage) -> PathBuf {
        let name: String = planned
            .label
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
            .collect();
        self.workplace.logs.join(Path::new(&format!("{}-{name}.log", planned.number)))
    }
}
