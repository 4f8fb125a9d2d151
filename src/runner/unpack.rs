//! Unpacking of an image's layers during the pull, by a helper inside the namespace.
//!
//! The tier is detected when the first layer is about to arrive; without a usable tier, images are
//! pulled all the same, and are unpacked by a later run.

use std::cell::Cell;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::base::causes::with_causes;
use crate::base::event::Silent;
use crate::container::helper::HelperSlot;
use crate::image::digest::DiffId;
use crate::image::registry::{UnpackFailure, Unpacker};
use crate::image::store::LayerBlob;

use super::job::run_job;
use super::jobs::unpack::UnpackJob;
use super::session::{RunLimits, RunnerSettings, Session};

/// Unpacks layers for the isolation tier that builds have.
#[derive(Debug)]
pub struct LayerUnpacker {
    settings: RunnerSettings,
    ready: OnceLock<Option<Ready>>,
}

#[derive(Debug)]
struct Ready {
    // Declared before the session, whose scratch folder contains its view.
    helper: Mutex<Option<HelperSlot>>,
    session: Session,
}

impl LayerUnpacker {
    /// Starts nothing yet.
    pub fn new(settings: RunnerSettings) -> Self {
        // Nothing of an image is run.
        let settings = RunnerSettings { limits: RunLimits::default(), ..settings };
        Self { settings, ready: OnceLock::new() }
    }

    fn ready(&self) -> Option<&Ready> {
        let start = || match Session::open(&self.settings, &Silent) {
            Ok((session, helper)) => Some(Ready { helper: Mutex::new(Some(helper)), session }),
            Err(error) => {
                tracing::info!(reason = with_causes(&error), "layers are not unpacked");
                None
            }
        };
        self.ready.get_or_init(start).as_ref()
    }
}

impl Unpacker for LayerUnpacker {
    fn has(&self, layer: &DiffId) -> bool {
        // Without a tier for unpacking, nothing is unpacked.
        self.ready().is_none_or(|ready| ready.session.layers().join(layer.hex()).is_dir())
    }

    fn unpack(&self, layers: &[LayerBlob]) -> Result<(), UnpackFailure> {
        let Some(Ready { helper, session }) = self.ready() else { return Ok(()) };
        let job = UnpackJob {
            map: session.machine().map.clone(),
            view: session.view().to_owned(),
            folder: session.layers().to_owned(),
            layers: layers.to_vec(),
            limits: self.settings.archives,
        };
        // The first caller gets the helper that tried the tier; layers that arrive meanwhile get
        // one each.
        let waiting = helper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut helper = waiting.unwrap_or_else(|| session.helper());
        match run_job(&mut helper, &job, None, &Cell::default(), |_phase| ()) {
            Ok((Ok(()), _process)) => Ok(()),
            Ok((Err(failure), _process)) => {
                Err(UnpackFailure { message: failure.message, hint: failure.hint })
            }
            Err(error) => Err(UnpackFailure { message: with_causes(&error), hint: None }),
        }
    }
}
