//! Removing images, and whatever no image needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use super::index::{LayoutIndex, digest, is_called};
use super::{ImageStore, ImageStoreError};
use crate::base::event::{Event, Observer};
use crate::image::digest::{BlobDigest, DiffId};
use crate::image::document::{REF_NAME, annotation};
use crate::image::reference::ImageRef;

/// Result of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Removed names.
    pub names: Vec<ImageRef>,
    /// Number of deleted blobs.
    pub blobs: u64,
    /// Number of unneeded blobs that stay at the caller's request.
    pub kept: u64,
    /// Disk space of the deleted blobs, in bytes.
    pub bytes: u64,
    /// Layers without an image: their unpacked folders can be removed.
    pub layers: Vec<DiffId>,
}

impl ImageStore {
    /// Removes a name, and the image with its last name; or, given an id, the image with all its
    /// names. A broken image can be removed by its name or its manifest's digest. Blobs in `kept`
    /// stay.
    pub fn remove(
        &self,
        text: &str,
        kept: &BTreeSet<BlobDigest>,
        observer: &dyn Observer,
    ) -> Result<Removed, ImageStoreError> {
        let _store = self.lock(observer)?;
        let mut index = LayoutIndex::read(&self.folder)?;
        let layers = self.diff_ids()?;
        let name: Option<ImageRef> = text.parse().ok();
        let mut gone =
            index.take_out(|entry| name.as_ref().is_some_and(|name| is_called(entry, name)));
        if gone.is_empty() {
            // By text, so that an entry of which nothing else can be understood can be removed,
            // too.
            gone = index.take_out(|entry| digest(entry) == Some(text));
        }
        if gone.is_empty() {
            let id = self.find_any(text)?.id;
            let manifests: BTreeSet<BlobDigest> = self
                .list()?
                .images
                .into_iter()
                .filter(|image| image.id == id)
                .map(|image| image.manifest)
                .collect();
            gone = index.take_out(|entry| leads_to(entry, &manifests));
        }
        index.write()?;
        self.sweep(&index, &layers, &gone, kept, observer)
    }

    /// Removes images by their manifests, all unneeded blobs except those in `kept`, and leftovers
    /// of dead processes.
    pub fn remove_manifests(
        &self,
        manifests: &BTreeSet<BlobDigest>,
        kept: &BTreeSet<BlobDigest>,
        observer: &dyn Observer,
    ) -> Result<Removed, ImageStoreError> {
        if !self.folder.join("blobs/sha256").exists() {
            return Ok(Removed::default());
        }
        let _store = self.lock(observer)?;
        let mut index = LayoutIndex::read(&self.folder)?;
        let layers = self.diff_ids()?;
        self.sweep_staging().report(observer);
        let gone = index.take_out(|entry| leads_to(entry, manifests));
        index.write()?;
        self.sweep(&index, &layers, &gone, kept, observer)
    }

    /// All blobs, with the disk space of each, in bytes.
    pub fn blobs(&self) -> Result<BTreeMap<BlobDigest, u64>, ImageStoreError> {
        let entries = match fs_err::read_dir(self.folder.join("blobs/sha256")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            other => other.map_err(ImageStoreError::Io)?,
        };
        let mut blobs = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(ImageStoreError::Io)?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
            // Files other than blobs belong to other tools.
            let Some(digest) = digest else { continue };
            // `st_blocks` counts units of 512 bytes, whatever the filesystem's block size is
            // (inode(7)).
            blobs.insert(digest, entry.metadata().map_err(ImageStoreError::Io)?.blocks() * 512);
        }
        Ok(blobs)
    }

    fn diff_ids(&self) -> Result<BTreeSet<DiffId>, ImageStoreError> {
        let layers = self.list()?.images.into_iter().flat_map(|image| image.layers);
        Ok(layers.map(|layer| layer.diff_id).collect())
    }

    /// Deletes the blobs to which nothing leads. If what an entry needs cannot be told, because it is
    /// broken or odd, all blobs stay until it is removed.
    fn sweep(
        &self,
        index: &LayoutIndex,
        layers: &BTreeSet<DiffId>,
        gone: &[Value],
        kept: &BTreeSet<BlobDigest>,
        observer: &dyn Observer,
    ) -> Result<Removed, ImageStoreError> {
        let names = gone.iter().filter_map(|entry| annotation(entry, REF_NAME)?.parse().ok());
        let mut removed = Removed { names: names.collect(), ..Removed::default() };
        let needed = match self.needed(index) {
            Ok(needed) => needed,
            Err(error) => {
                let subject = "image store".to_owned();
                let remedy = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                let message = format!("no blob was deleted: {error}{remedy}");
                observer.event(Event::Warning { subject, message });
                return Ok(removed);
            }
        };
        for (digest, bytes) in self.blobs()? {
            if needed.contains(&digest) {
                continue;
            }
            if kept.contains(&digest) {
                removed.kept += 1;
                continue;
            }
            removed.bytes += bytes;
            removed.blobs += 1;
            fs_err::remove_file(self.blob_path(&digest)).map_err(ImageStoreError::Io)?;
        }
        let left = self.diff_ids()?;
        removed.layers = layers.difference(&left).cloned().collect();
        Ok(removed)
    }
}

fn leads_to(entry: &Value, manifests: &BTreeSet<BlobDigest>) -> bool {
    let digest = digest(entry).and_then(|digest| digest.parse().ok());
    digest.is_some_and(|digest: BlobDigest| manifests.contains(&digest))
}
