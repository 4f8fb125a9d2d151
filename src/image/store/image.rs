//! Images of the store, and the part of them that the helper of a build needs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ImageStore;
use crate::image::compression::LayerCompression;
use crate::image::config::{ImageConfig, RunConfig};
use crate::image::digest::{BlobDigest, DiffId, ImageId};
use crate::image::document::CheckedDescriptor;
use crate::image::manifest::ImageManifest;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Id of the image, part of the ids of packages built in the image.
    pub id: ImageId,
    /// Digest of the manifest.
    pub manifest: BlobDigest,
    /// Names; may be empty.
    pub references: Vec<ImageRef>,
    /// Platform of the image.
    pub platform: Platform,
    /// Creation time as written in the configuration (RFC 3339).
    pub created: Option<String>,
    /// Stored bytes of all blobs.
    pub size: u64,
    /// Layers, lowest first.
    pub layers: Vec<Layer>,
    /// Settings for a process in the image.
    pub config: RunConfig,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// The blob's digest.
    pub digest: BlobDigest,
    /// The blob's media type.
    pub media_type: String,
    /// The blob's compression.
    pub compression: LayerCompression,
    /// The blob's bytes.
    pub size: u64,
    /// Digest of the uncompressed content.
    pub diff_id: DiffId,
}

/// Image with its documents, as in `image inspect`.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The image.
    pub image: Image,
    /// The manifest.
    pub manifest: serde_json::Value,
    /// The configuration.
    pub config: serde_json::Value,
}

/// Description of an image's root for a helper process, sent as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootImage {
    /// The image.
    pub id: ImageId,
    /// Layers, lowest first.
    pub layers: Vec<LayerBlob>,
    /// Settings for a process in the image.
    pub config: RunConfig,
}

/// A layer as the helper unpacks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// Path of the blob. The content decides on the compression.
    pub path: PathBuf,
    /// Digest of the uncompressed content.
    pub diff_id: DiffId,
    /// True if the path is that of a FIFO, into which a download is passed on.
    pub is_fifo: bool,
}

impl Image {
    pub(super) fn new(
        target: &CheckedDescriptor,
        manifest: ImageManifest,
        config: ImageConfig,
        compressions: Vec<LayerCompression>,
        references: Vec<ImageRef>,
    ) -> Self {
        let layers: Vec<Layer> = manifest
            .layers
            .into_iter()
            .zip(config.diff_ids)
            .zip(compressions)
            .map(|((layer, diff_id), compression)| Layer {
                digest: layer.content.digest,
                media_type: layer.media_type,
                compression,
                size: layer.content.size,
                diff_id,
            })
            .collect();
        let blobs: u64 = layers.iter().map(|layer| layer.size).sum();
        Self {
            id: manifest.config.digest.sum().clone().into(),
            manifest: target.digest.clone(),
            references,
            platform: config.platform,
            created: config.created,
            size: target.size + manifest.config.size + blobs,
            layers,
            config: config.run,
        }
    }

    /// All blobs of the image.
    pub fn blobs(&self) -> impl Iterator<Item = BlobDigest> {
        let layers = self.layers.iter().map(|layer| layer.digest.clone());
        layers.chain([self.manifest.clone(), self.id.sum().clone().into()])
    }

    /// Description of the root for the helper.
    pub fn root(&self, store: &ImageStore) -> RootImage {
        let blob = |layer: &Layer| LayerBlob {
            path: store.blob_path(&layer.digest),
            diff_id: layer.diff_id.clone(),
            is_fifo: false,
        };
        RootImage {
            id: self.id.clone(),
            layers: self.layers.iter().map(blob).collect(),
            config: self.config.clone(),
        }
    }
}
