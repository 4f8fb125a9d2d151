//! Unpacking layers, some of which may still be on their way.

use std::path::Path;

use nix::sys::stat::{Mode, umask};

use crate::container::inputs::Inputs;
use crate::container::namespace::{self, Network};
use crate::container::overlay::knows_attribute_whiteouts;
use crate::container::view::View;
use crate::image::layers::{UnpackOptions, ensure_unpacked};
use crate::image::store::LayerBlob;

use super::super::job::{Answer, Failure, UnpackJob};
use super::{Finished, unprepared};

/// Unpacks layers, from inside the namespace in whose ids builds will read them.
pub(super) fn unpack(job: &UnpackJob) -> Result<Finished, Failure> {
    let mut inputs = Inputs::default();
    inputs.add(&job.folder);
    job.layers.iter().for_each(|layer| inputs.add_parent(&layer.path));
    namespace::enter(Network::None).map_err(unprepared)?;
    umask(Mode::from_bits_truncate(0o022));
    let view = View::create(&job.view, inputs.folders(), &job.map).map_err(unprepared)?;
    namespace::become_root(&job.map).map_err(unprepared)?;
    let layers: Vec<LayerBlob> = job
        .layers
        .iter()
        .map(|layer| LayerBlob { path: inputs.place(&view, &layer.path), ..layer.clone() })
        .collect();
    let options = UnpackOptions { single_id: job.single_id, limits: job.limits };
    let knows = |folder: &Path| knows_attribute_whiteouts(&view, folder);
    ensure_unpacked(&inputs.place(&view, &job.folder), &layers, &options, knows).map_err(
        |error| {
            let failure = unprepared(error);
            Failure { message: inputs.named_outside(&view, &failure.message), ..failure }
        },
    )?;
    Ok(Finished::With(Answer::Unpacked))
}
