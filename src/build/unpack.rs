//! Unpacking an image's layers while they are pulled, by a helper, which has the namespace for it.
//!
//! What containers can have here is found out when the first layer is about to come; where there
//! can be none, images are pulled all the same, and whoever can unpacks them.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::archive::Limits;
use crate::base::causes::with_causes;
use crate::base::event::Silent;
use crate::container::helper::{HelperPlace, Interrupt};
use crate::container::idmap::Tier;
use crate::container::machine::Machine;
use crate::image::digest::DiffId;
use crate::image::registry::{UnpackFailure, Unpacker};
use crate::image::store::LayerBlob;

use super::home::{Home, RunScratch, give_folder};
use super::isolation::{self, Wanted};
use super::job::{Answer, Job, UnpackJob};

/// Unpacks layers for the isolation tier that builds have.
#[derive(Debug)]
pub struct LayerUnpacker<'a> {
    wanted: Wanted,
    home: Home,
    limits: Limits,
    interrupt: &'a Arc<Interrupt>,
    ready: OnceLock<Option<Ready>>,
}

#[derive(Debug)]
struct Ready {
    machine: Machine,
    layers: PathBuf,
    // Before the scratch folder, in which it has its view.
    helper: Mutex<Option<HelperPlace>>,
    scratch: RunScratch,
}

impl<'a> LayerUnpacker<'a> {
    /// Starts nothing yet.
    pub fn new(wanted: Wanted, home: Home, limits: Limits, interrupt: &'a Arc<Interrupt>) -> Self {
        Self { wanted, home, limits, interrupt, ready: OnceLock::new() }
    }

    fn ready(&self) -> Option<&Ready> {
        self.ready
            .get_or_init(|| {
                self.start()
                    .inspect_err(|reason| tracing::info!(reason, "nothing is unpacked"))
                    .ok()
            })
            .as_ref()
    }

    fn start(&self) -> Result<Ready, String> {
        if let Err(error) = isolation::sweep_orphans(&self.wanted, &self.home, self.interrupt) {
            tracing::warn!(%error, "can't sweep what dead runs have left");
        }
        let scratch = self.home.start_run().map_err(|error| error.to_string())?;
        let (machine, helper) = isolation::detect(&self.wanted, &scratch, self.interrupt, &Silent)
            .map_err(|error| with_causes(&error))?;
        let layers = self.home.layers(&machine.map.digest());
        give_folder(&layers, &machine.map).map_err(|error| error.to_string())?;
        Ok(Ready { machine, layers, helper: Mutex::new(Some(helper)), scratch })
    }
}

impl Unpacker for LayerUnpacker<'_> {
    fn has(&self, layer: &DiffId) -> bool {
        // Where nothing can be unpacked, nothing has to be.
        self.ready().is_none_or(|ready| ready.layers.join(layer.hex()).is_dir())
    }

    fn unpack(&self, layers: &[LayerBlob]) -> Result<(), UnpackFailure> {
        let Some(ready) = self.ready() else { return Ok(()) };
        let job = Job::Unpack(UnpackJob {
            map: ready.machine.map.clone(),
            view: ready.scratch.view().to_owned(),
            folder: ready.layers.clone(),
            layers: layers.to_vec(),
            single_id: ready.machine.tier() == Tier::Single,
            limits: self.limits,
        });
        let waiting = ready.helper.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut helper =
            waiting.unwrap_or_else(|| HelperPlace::new(ready.machine.map.clone(), self.interrupt));
        let heard = helper.run(&job, None, &Cell::default(), |answer| match answer {
            Answer::Unpacked => Some(Ok(())),
            Answer::Failed(failure) => Some(Err(failure)),
            _ => None,
        });
        match heard {
            Ok((Ok(()), _process)) => Ok(()),
            Ok((Err(failure), _process)) => {
                Err(UnpackFailure { message: failure.message, hint: failure.hint })
            }
            Err(error) => Err(UnpackFailure { message: with_causes(&error), hint: None }),
        }
    }
}
