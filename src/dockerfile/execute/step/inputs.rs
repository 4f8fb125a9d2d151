//! The folders of the caller's that a step needs, and where they are in the helper's view.

use std::path::{Path, PathBuf};

use super::super::job::{CopyInput, MountInput, StepJob, StepWork};
use crate::container::view::View;
use crate::image::store::LayerBlob;

/// Folders to be bound, each once.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    folders: Vec<PathBuf>,
}

impl Inputs {
    /// All that a job needs.
    pub(super) fn of(job: &StepJob) -> Self {
        let mut inputs = Self::default();
        inputs.add(&job.scratch);
        inputs.add(&job.layers);
        match &job.work {
            StepWork::Digest(work) => inputs.add_layers(&work.layers),
            StepWork::Layer(work) => {
                inputs.add_layers(&work.below);
                work.inputs.iter().for_each(|input| inputs.add_input(input));
                for mount in &work.mounts {
                    match mount {
                        MountInput::Tree(input) => inputs.add_input(input),
                        MountInput::Cache { folder } => inputs.add(folder),
                        MountInput::Socket(Some(socket)) => inputs.add_parent(socket),
                        MountInput::Tmpfs | MountInput::Secret(_) | MountInput::Socket(None) => {}
                    }
                }
            }
        }
        inputs
    }

    fn add_input(&mut self, input: &CopyInput) {
        match input {
            CopyInput::Listed { folder, .. } | CopyInput::CheckOut { folder } => self.add(folder),
            CopyInput::Pattern { layers, .. } => self.add_layers(layers),
            CopyInput::Download { file, .. } => self.add_parent(file),
            CopyInput::Document => {}
        }
    }

    fn add_layers(&mut self, layers: &[LayerBlob]) {
        for layer in layers {
            self.add_parent(&layer.path);
        }
    }

    fn add(&mut self, folder: &Path) {
        if !self.folders.iter().any(|known| folder.starts_with(known)) {
            self.folders.push(folder.to_owned());
        }
    }

    fn add_parent(&mut self, file: &Path) {
        self.add(file.parent().unwrap_or(file));
    }

    /// The folders, in the view's order.
    pub(super) fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// A text with the caller's paths in place of the view's: those mean nothing outside.
    pub(super) fn named_outside(&self, view: &View, text: &str) -> String {
        let mut text = text.to_owned();
        for (index, folder) in self.folders.iter().enumerate() {
            let inside = view.input(index).display().to_string();
            let outside = folder.display().to_string();
            for end in ["/", "`", ":", ")", " ", ","] {
                text = text.replace(&format!("{inside}{end}"), &format!("{outside}{end}"));
            }
        }
        // The container's own paths, as the Dockerfile has them.
        text.replace(&format!("{}/", view.root().display()), "/")
    }

    /// Where a path of the caller's is in the view. Only paths below added folders have a place.
    pub(super) fn place(&self, view: &View, path: &Path) -> PathBuf {
        let found = self.folders.iter().enumerate().find_map(|(index, folder)| {
            let rest = path.strip_prefix(folder).ok()?;
            // An empty rest would append a slash, which a file's path may not have.
            Some(if rest.as_os_str().is_empty() {
                view.input(index)
            } else {
                view.input(index).join(rest)
            })
        });
        found.unwrap_or_else(|| path.to_owned())
    }
}
