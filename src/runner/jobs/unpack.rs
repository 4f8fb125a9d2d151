//! Unpacking of layers, some of which may still be arriving.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::archive::ArchiveLimits;
use crate::container::idmap::{IdMap, Tier};
use crate::container::inputs::BoundFolders;
use crate::container::namespace::Network;
use crate::image::store::LayerBlob;
use crate::runner::job::{Job, JobFailure, Performed};
use crate::runner::workspace;

/// Job that unpacks layers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UnpackJob {
    /// Id map in whose ids the files are made.
    pub map: IdMap,
    /// Empty folder for the helper's view.
    pub view: PathBuf,
    /// Folder of unpacked layers of this map.
    pub folder: PathBuf,
    /// Layers to unpack; a path may be a FIFO.
    pub layers: Vec<LayerBlob>,
    /// Limits of one layer.
    pub limits: ArchiveLimits,
}

impl Job for UnpackJob {
    const KIND: &'static str = "unpack";
    type Answer = ();

    fn perform(&self) -> Performed<'_, ()> {
        let unpack = || {
            let mut inputs = BoundFolders::default();
            inputs.add(&self.folder);
            self.layers.iter().for_each(|layer| inputs.add_parent(&layer.path));
            let view = workspace::enter(&self.map, &self.view, inputs.folders(), Network::None)?;
            let is_single = self.map.tier == Tier::Single;
            workspace::unpack_layers(
                &view,
                &inputs,
                &self.folder,
                &self.layers,
                is_single,
                self.limits,
            )
            .map(drop)
            .map_err(|error| {
                let hint = error.hint().map(str::to_owned);
                let failure = JobFailure { hint, ..JobFailure::of(error) };
                JobFailure { message: inputs.named_outside(&view, &failure.message), ..failure }
            })
        };
        unpack().into()
    }
}
