//! Inputs of a pull: its options, and the unpacker of its layers.

use super::error::RegistryProblem;
use crate::archive::Limits;
use crate::base::event::Observer;
use crate::image::digest::DiffId;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::store::{ImageStore, LayerBlob};

/// How to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullOptions {
    /// The platform that the image must be for.
    pub platform: Platform,
    /// What it may take.
    pub limits: Limits,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self { platform: Platform::host(), limits: Limits::default() }
    }
}

/// Why layers can't be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackFailure {
    /// Cause.
    pub message: String,
    /// Remedy.
    pub hint: Option<String>,
}

/// Unpacks layers while they come: something of another process, as unpacking needs its namespace.
pub trait Unpacker: Sync {
    /// True if that layer is unpacked already.
    fn has(&self, layer: &DiffId) -> bool;

    /// Unpacks layers, all of which have a place that can be read once, such as a FIFO. It may take
    /// several at a time, and takes them in this order. A layer whose content hasn't its diff id is a
    /// failure.
    fn unpack(&self, layers: &[LayerBlob]) -> Result<(), UnpackFailure>;
}

/// What a pull works with.
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
