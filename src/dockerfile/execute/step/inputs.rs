//! The folders of the caller's that a step needs.

use super::super::job::{CopyInput, MountInput, StepJob, StepWork};
use crate::container::inputs::Inputs;
use crate::container::view::View;
use crate::image::store::LayerBlob;

/// All that a job needs.
pub(super) fn of(job: &StepJob) -> Inputs {
    let mut inputs = Inputs::default();
    inputs.add(&job.scratch);
    inputs.add(&job.layers);
    match &job.work {
        StepWork::Digest(work) => add_layers(&mut inputs, &work.layers),
        StepWork::Layer(work) => {
            add_layers(&mut inputs, &work.below);
            work.inputs.iter().for_each(|input| add_input(&mut inputs, input));
            for mount in &work.mounts {
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
        }
    }
    inputs
}

fn add_input(inputs: &mut Inputs, input: &CopyInput) {
    match input {
        CopyInput::Listed { folder, .. } | CopyInput::CheckOut { folder } => inputs.add(folder),
        CopyInput::Pattern { layers, .. } => add_layers(inputs, layers),
        CopyInput::Download { file, .. } => inputs.add_parent(file),
        CopyInput::Document => {}
    }
}

fn add_layers(inputs: &mut Inputs, layers: &[LayerBlob]) {
    for layer in layers {
        inputs.add_parent(&layer.path);
    }
}

/// A text with the caller's paths in place of the view's, and the container's own as the Dockerfile has
/// them.
pub(super) fn named_outside(inputs: &Inputs, view: &View, text: &str) -> String {
    inputs.named_outside(view, text).replace(&format!("{}/", view.root().display()), "/")
}
