//! An image of the store, and what of it the helper that runs a build has to know.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ImageStore;
use crate::image::compression::Compression;
use crate::image::config::{ImageConfig, RunConfig};
use crate::image::digest::{BlobDigest, DiffId, ImageId};
use crate::image::document::Target;
use crate::image::manifest::Manifest;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Image {
    /// Its id, which goes into the ids of the packages built in it.
    pub id: ImageId,
    /// Its manifest's digest.
    pub manifest: BlobDigest,
    /// Its names; may be none.
    pub references: Vec<ImageRef>,
    /// What it was made for.
    pub platform: Platform,
    /// When it was made, as it says itself (RFC 3339).
    pub created: Option<String>,
    /// Bytes of all its blobs, as they are stored.
    pub size: u64,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// How a process runs in it.
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
    pub compression: Compression,
    /// The blob's bytes.
    pub size: u64,
    /// The digest of its uncompressed content.
    pub diff_id: DiffId,
}

/// An image with its documents, as `image inspect` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The image.
    pub image: Image,
    /// Its manifest.
    pub manifest: serde_json::Value,
    /// Its configuration.
    pub config: serde_json::Value,
}

/// What a helper process needs to make an image its root: sent to it as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootImage {
    /// The image.
    pub id: ImageId,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerBlob>,
    /// How a process runs in it.
    pub config: RunConfig,
}

/// A layer as the helper unpacks it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerBlob {
    /// Path of the blob. The content decides on the compression.
    pub path: PathBuf,
    /// The digest of its uncompressed content.
    pub diff_id: DiffId,
}

impl Image {
    pub(super) fn new(
        target: &Target,
        manifest: Manifest,
        config: ImageConfig,
        compressions: Vec<Compression>,
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

    /// All blobs that it is made of.
    pub fn blobs(&self) -> impl Iterator<Item = BlobDigest> {
        let layers = self.layers.iter().map(|layer| layer.digest.clone());
        layers.chain([self.manifest.clone(), self.id.sum().clone().into()])
    }

    /// What the helper needs of it.
    pub fn root(&self, store: &ImageStore) -> RootImage {
        let blob = |layer: &Layer| LayerBlob {
            path: store.blob_path(&layer.digest),
            diff_id: layer.diff_id.clone(),
        };
        RootImage {
            id: self.id.clone(),
            layers: self.layers.iter().map(blob).collect(),
            config: self.config.clone(),
        }
    }
}
