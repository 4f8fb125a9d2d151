//! Folders of the caller that a step needs.

use super::super::job::{CopyInput, LayerJob, MountInput};
use crate::container::inputs::BoundFolders;
use crate::image::store::LayerBlob;

/// Folders of a step.
pub(super) fn of(job: &LayerJob) -> BoundFolders {
    // First of all, so that nothing of it is bound twice.
    let mut inputs = BoundFolders::default();
    inputs.add(&job.folders.scratch);
    inputs.add(&job.folders.layers);
    add_layers(&mut inputs, &job.below);
    job.inputs.iter().for_each(|input| add_input(&mut inputs, input));
    for mount in &job.mounts {
        match mount {
            MountInput::Tree(input) => add_input(&mut inputs, input),
            MountInput::Cache { folder, begins_as } => {
                inputs.add(folder);
                if let Some(input) = begins_as {
                    add_input(&mut inputs, input);
                }
            }
            MountInput::Socket(Some(socket)) => inputs.add_parent(socket),
            MountInput::Tmpfs | MountInput::Secret(_) | MountInput::Socket(None) => {}
        }
    }
    inputs
}

/// Folders of the blobs of layers.
pub(super) fn of_layers(layers: &[LayerBlob]) -> BoundFolders {
    let mut inputs = BoundFolders::default();
    add_layers(&mut inputs, layers);
    inputs
}

fn add_input(inputs: &mut BoundFolders, input: &CopyInput) {
    match input {
        CopyInput::Listed { folder, .. } | CopyInput::CheckOut { folder } => inputs.add(folder),
        CopyInput::Pattern { layers, .. } => add_layers(inputs, layers),
        CopyInput::Download { file, .. } => inputs.add_parent(file),
        CopyInput::Document => {}
    }
}

fn add_layers(inputs: &mut BoundFolders, layers: &[LayerBlob]) {
    for layer in layers {
        inputs.add_parent(&layer.path);
    }
}
