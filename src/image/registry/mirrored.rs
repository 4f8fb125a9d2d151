//! Images of mirrors that are stores (`mirror_layout`): a mirror is asked before a registry is; its faults are
//! warnings.

use std::sync::Arc;

use super::client::Client;
use super::error::{RegistryError, Verb};
use super::mirror_layout::{MirrorLayout, MirrorProblem};
use super::options::{ImageMirrors, Pull, PullOptions, PulledImage};
use crate::base::event::Observer;
use crate::image::document::CheckedDescriptor;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::store::ImageStore;
use crate::store::{Store, StoreTransfer};

impl Client {
    /// Adds mirrors, which are asked before a registry.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: ImageMirrors) -> Self {
        self.mirrors = Arc::new(mirrors);
        self
    }

    /// True if there are mirrors.
    pub fn has_mirrors(&self) -> bool {
        !self.mirrors.stores.is_empty()
    }

    /// Pulls an image from the first mirror with that image; `None` if no mirror has the image.
    pub fn pull_mirrored(
        &self,
        store: &ImageStore,
        reference: &ImageRef,
        options: &PullOptions,
        observer: &dyn Observer,
    ) -> Result<Option<PulledImage>, RegistryError> {
        let pull = Pull { store, reference, options, unpacker: None, observer };
        let subject = reference.familiar();
        let transfer = StoreTransfer { subject: &subject, observer };
        for mirror in &self.mirrors.stores {
            let of_tree = self.mirrors.of_tree;
            let taken = mirror.item("a mirror", &transfer, MirrorProblem::kind, |place| {
                MirrorLayout { place, transfer: &transfer }.take(&pull, of_tree)
            });
            let taken = taken.map_err(|problem| RegistryError {
                verb: Verb::Pull,
                reference: Box::new(reference.clone()),
                host: mirror.backend().name(),
                problem: Box::new(problem.into_problem()),
            })?;
            if let Some(pulled) = taken.flatten() {
                return Ok(Some(pulled));
            }
        }
        Ok(None)
    }

    /// Takes the image of an index, which was read from a store, into the image store, without a name. The
    /// index leads to blobs of a layout in the store; `None` if it has no image for the platform, or the store
    /// fails.
    pub fn pull_indexed(
        &self,
        store: &ImageStore,
        (place, (name, index)): (&Store, (&str, &[u8])),
        reference: &ImageRef,
        options: &PullOptions,
        observer: &dyn Observer,
    ) -> Result<Option<PulledImage>, RegistryError> {
        let pull = Pull { store, reference, options, unpacker: None, observer };
        let subject = reference.familiar();
        let transfer = StoreTransfer { subject: &subject, observer };
        let taken = place.item("the cache", &transfer, MirrorProblem::kind, |place| {
            let layout = MirrorLayout { place, transfer: &transfer };
            let is_it = |target: &CheckedDescriptor| target.may_be_for(&options.platform);
            layout.take_first(&pull, &layout.select(name, index, &options.platform, is_it)?, true)
        });
        let failed = |problem: MirrorProblem| RegistryError {
            verb: Verb::Pull,
            reference: Box::new(reference.clone()),
            host: place.backend().name(),
            problem: Box::new(problem.into_problem()),
        };
        Ok(taken.map_err(failed)?.flatten())
    }

    /// True if the index of a mirror has an image of that name.
    pub fn is_mirrored(
        &self,
        reference: &ImageRef,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> bool {
        let subject = reference.familiar();
        let transfer = StoreTransfer { subject: &subject, observer };
        self.mirrors.stores.iter().any(|mirror| {
            let layout = MirrorLayout { place: mirror.backend(), transfer: &transfer };
            layout.find(reference, platform).is_ok_and(|found| !found.is_empty())
        })
    }
}
