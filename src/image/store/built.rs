//! Images that are built here: layers enter the store one after another, as soon as they are made,
//! so that the next run finds the layers of a failed or killed build; configuration and manifest
//! come last, with the names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err::File;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::commit::StagingFolder;
use super::{Image, ImageStore, ImageStoreError};
use crate::archive::ArchiveLimits;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::image::compression::LayerCompression;
use crate::image::config::ImageConfig;
use crate::image::digest::{BlobDigest, DiffId, ImageId};
use crate::image::load::{Blob, LoadProblem, StagedImage, Staging};
use crate::image::reference::ImageRef;
use crate::store::registry::media_type;

/// Layer that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltLayer {
    /// The blob's digest.
    pub digest: BlobDigest,
    /// The blob's bytes.
    pub size: u64,
    /// The blob's compression.
    pub compression: LayerCompression,
    /// Digest of the uncompressed content.
    pub diff_id: DiffId,
}

/// Room for the blobs of an image that is being made.
#[derive(Debug)]
pub struct BlobRoom {
    store: ImageStore,
    staged: StagingFolder,
}

/// An image that was made is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBuild {
    /// Id of the image.
    pub id: ImageId,
    /// Digest of the manifest.
    pub manifest: BlobDigest,
}

impl ImageStore {
    /// Makes room for the blobs of an image.
    pub fn blob_room(&self, observer: &dyn Observer) -> Result<BlobRoom, ImageStoreError> {
        Ok(BlobRoom { store: self.clone(), staged: self.staging_folder(observer)? })
    }

    /// True if a layer's blob is present with the right size.
    pub fn has_layer(&self, layer: &BuiltLayer) -> bool {
        let found = fs_err::metadata(self.blob_path(&layer.digest));
        found.is_ok_and(|found| found.is_file() && found.len() == layer.size)
    }

    /// Returns the image of that configuration and these layers, if the store has the image under
    /// all the names.
    pub fn find_build(
        &self,
        config: &[u8],
        layers: &[BuiltLayer],
        annotations: &BTreeMap<String, String>,
        names: &[ImageRef],
    ) -> Result<Option<StoredBuild>, ImageStoreError> {
        let id = Sha256Sum::of(config);
        let manifest = manifest(&id, config.len() as u64, layers, annotations);
        let manifest = BlobDigest::from(Sha256Sum::of(&manifest));
        let targets = super::index::LayoutIndex::read(&self.folder)?.targets();
        let has = |name: Option<&ImageRef>| {
            targets.iter().any(|target| {
                target.digest == manifest
                    && (name.is_none() || super::index::reference(target).as_ref() == name)
            })
        };
        let is_there = has(None) && names.iter().all(|name| has(Some(name)));
        let is_whole = is_there
            && layers.iter().all(|layer| self.has_layer(layer))
            && self.blob_path(&id.clone().into()).is_file();
        Ok(is_whole.then(|| StoredBuild { id: id.into(), manifest }))
    }

    /// An annotation of an image's manifest.
    pub fn annotation(&self, image: &Image, key: &str) -> Result<Option<String>, ImageStoreError> {
        let bytes = self.document(&image.manifest, "the manifest", &image.manifest.to_string())?;
        let manifest: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| ImageStoreError::Io(error.into()))?;
        Ok(manifest["annotations"][key].as_str().map(str::to_owned))
    }
}

fn blob(layer: &BuiltLayer, path: PathBuf) -> Blob {
    let BuiltLayer { digest, size, compression, diff_id } = layer.clone();
    Blob::known(path, digest, size, compression, diff_id)
}

impl BlobRoom {
    /// Makes an empty file for a blob.
    pub fn file(&self, name: &str) -> Result<PathBuf, ImageStoreError> {
        let path = self.staged.path().join(name);
        File::create(&path).map_err(ImageStoreError::Io)?;
        Ok(path)
    }

    /// Takes a layer's blob into the store.
    pub fn keep_layer(
        &self,
        path: &Path,
        layer: &BuiltLayer,
        observer: &dyn Observer,
    ) -> Result<(), ImageStoreError> {
        let blob = blob(layer, path.to_owned());
        // A removal that runs at the same time lists blobs under this lock, and would delete a new
        // one.
        let _store = self.store.lock(observer)?;
        self.store.keep(&blob).map_err(ImageStoreError::Io)
    }

    /// Commits an image whose layers are in the store, and adds its names.
    pub fn commit(
        &self,
        config: &[u8],
        layers: &[BuiltLayer],
        annotations: &BTreeMap<String, String>,
        names: &[ImageRef],
        observer: &dyn Observer,
    ) -> Result<StoredBuild, ImageStoreError> {
        let mut staging = Staging::new(self.staged.path(), ArchiveLimits::default());
        let mut stage = |bytes: &[u8]| {
            staging.add_bytes(bytes).map_err(|problem| match problem {
                LoadProblem::Write(error) | LoadProblem::Read(error) => ImageStoreError::Io(error),
                other => ImageStoreError::Io(std::io::Error::other(other)),
            })
        };
        let parsed = ImageConfig::parse(config).map_err(|problem| {
            let image = names.first().map_or_else(|| "the image".to_owned(), ImageRef::familiar);
            ImageStoreError::Config { image, problem }
        })?;
        let config = stage(config)?;
        let manifest = manifest(config.digest.sum(), config.size, layers, annotations);
        let manifest = stage(&manifest)?;
        let id = ImageId::from(config.digest.sum().clone());
        let stored = StoredBuild { id: id.clone(), manifest: manifest.digest.clone() };
        let mut content = vec![config];
        for layer in layers {
            content.push(blob(layer, self.store.blob_path(&layer.digest)));
        }
        let image = StagedImage {
            names: names.to_vec(),
            called: Vec::new(),
            id,
            media_type: media_type::MANIFEST.to_owned(),
            manifest,
            index: None,
            platform: parsed.platform,
            content,
        };
        self.store.commit(&[image], observer)?;
        Ok(stored)
    }
}

fn manifest(
    config: &Sha256Sum,
    size: u64,
    layers: &[BuiltLayer],
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    let layers: Vec<_> = layers
        .iter()
        .map(|layer| {
            let ending = match layer.compression {
                LayerCompression::None => "",
                LayerCompression::Gzip => "+gzip",
                LayerCompression::Zstd => "+zstd",
            };
            json!({
                "mediaType": format!("{}{ending}", media_type::LAYER),
                "digest": layer.digest,
                "size": layer.size,
            })
        })
        .collect();
    let mut manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "config": { "mediaType": media_type::CONFIG, "digest": config.prefixed(), "size": size },
        "layers": layers,
    });
    if !annotations.is_empty() {
        manifest["annotations"] = json!(annotations);
    }
    // Keys are sorted, so the same image has the same digest in every run.
    serde_json::to_vec(&manifest).expect("texts and numbers can be written")
}
