//! Inputs of a pull: its options, and the unpacker of its layers.

use super::error::RegistryProblem;
use crate::archive::{ArchiveLimits, LimitExceeded};
use crate::base::event::Observer;
use crate::image::digest::{BlobDigest, DiffId, ImageId};
use crate::image::document::LONGEST_DOCUMENT;
use crate::image::load::LoadProblem;
use crate::image::manifest::ImageManifest;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::store::{ImageStore, LayerBlob};
use crate::store::Store;

/// Options of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullOptions {
    /// The platform that the image must be for.
    pub platform: Platform,
    /// Limits of the image.
    pub limits: ArchiveLimits,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { platform: Platform::host(), limits: ArchiveLimits::default() }
    }
}

/// Reason why layers cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackFailure {
    /// Cause.
    pub message: String,
    /// Remedy.
    pub hint: Option<String>,
}

/// Unpacks layers during the download, in another process, as unpacking needs its namespace.
pub trait Unpacker: Sync {
    /// True if that layer is unpacked already.
    fn has(&self, layer: &DiffId) -> bool;

    /// Unpacks layers, each from a path that can be read once, such as a FIFO. Several layers may
    /// be read at a time, and they are started in the given order. A layer whose content does not
    /// match its diff id is a failure.
    fn unpack(&self, layers: &[LayerBlob]) -> Result<(), UnpackFailure>;
}

/// Stores in which images are looked for before their registries are asked.
#[derive(Debug, Clone, Default)]
pub struct ImageMirrors {
    /// The stores, in this order.
    pub stores: Vec<Store>,
    /// True if a tree's word named them: then their images get no names in the store.
    pub of_tree: bool,
}

/// Result of a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// Name of the image.
    pub reference: ImageRef,
    /// Id of the image.
    pub id: ImageId,
    /// Digest of the manifest.
    pub manifest: BlobDigest,
    /// True if the store had the image under this name.
    pub was_there: bool,
}

/// Context of a pull.
pub(super) struct Pull<'p> {
    pub(super) store: &'p ImageStore,
    pub(super) reference: &'p ImageRef,
    pub(super) options: &'p PullOptions,
    pub(super) unpacker: Option<&'p dyn Unpacker>,
    pub(super) observer: &'p dyn Observer,
}

pub(super) fn unpacked(outcome: Result<(), UnpackFailure>) -> Result<(), RegistryProblem> {
    outcome.map_err(|UnpackFailure { message, hint }| RegistryProblem::Unpack { message, hint })
}

impl Pull<'_> {
    /// Fails before the download if the sizes in the manifest exceed the limits.
    pub(super) fn check_sizes(&self, manifest: &ImageManifest) -> Result<(), LoadProblem> {
        let config = manifest.config.size;
        if config > LONGEST_DOCUMENT {
            let what = "the configuration".to_owned();
            return Err(LoadProblem::LongDocument { what, bytes: config });
        }
        let sizes = manifest.layers.iter().map(|layer| layer.content.size);
        let limit = self.options.limits.max_bytes;
        // The sizes are the manifest's words, and could sum up to little by overflowing.
        let sum = sizes.fold(config, u64::saturating_add);
        // Compressed sizes, so only the least that it will be; the unpacker counts the bytes
        // themselves.
        if sum > limit || manifest.layers.len() as u64 > self.options.limits.max_entries {
            return Err(LoadProblem::Limit(LimitExceeded::Bytes(limit)));
        }
        Ok(())
    }
}
