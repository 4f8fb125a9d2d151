//! Removing images, and whatever no image needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;

use serde_json::Value;

use super::index::{Index, digest, is_called};
use super::{ImageStore, StoreError, damaged, label};
use crate::base::event::{Event, Observer};
use crate::base::go_json;
use crate::image::digest::{BlobDigest, DiffId};
use crate::image::document::{Kind, MANIFEST, REF_NAME, Target, annotation, parse_index};
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
    ) -> Result<Removed, StoreError> {
        let _store = self.lock(observer)?;
        let mut index = Index::read(&self.folder)?;
        let layers = self.diff_ids()?;
        let name: Option<ImageRef> = text.parse().ok();
        let mut gone =
            index.take_out(|entry| name.as_ref().is_some_and(|name| is_called(entry, name)));
        if gone.is_empty() {
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
    ) -> Result<Removed, StoreError> {
        if !self.folder.join("blobs/sha256").exists() {
            return Ok(Removed::default());
        }
        let _store = self.lock(observer)?;
        let mut index = Index::read(&self.folder)?;
        let layers = self.diff_ids()?;
        self.sweep_staging().report(observer);
        let gone = index.take_out(|entry| leads_to(entry, manifests));
        index.write()?;
        self.sweep(&index, &layers, &gone, kept, observer)
    }

    /// All blobs, with the disk space of each, in bytes.
    pub fn blobs(&self) -> Result<BTreeMap<BlobDigest, u64>, StoreError> {
        let entries = match fs_err::read_dir(self.folder.join("blobs/sha256")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            other => other.map_err(StoreError::Io)?,
        };
        let mut blobs = BTreeMap::new();
        for entry in entries {
            let entry = entry.map_err(StoreError::Io)?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse().ok());
            // Files other than blobs belong to other tools.
            let Some(digest) = digest else { continue };
            blobs.insert(digest, entry.metadata().map_err(StoreError::Io)?.blocks() * 512);
        }
        Ok(blobs)
    }

    fn diff_ids(&self) -> Result<BTreeSet<DiffId>, StoreError> {
        let layers = self.list()?.images.into_iter().flat_map(|image| image.layers);
        Ok(layers.map(|layer| layer.diff_id).collect())
    }

    /// Deletes unreferenced blobs. If a broken image hides its references, all blobs stay until
    /// that image is removed.
    fn sweep(
        &self,
        index: &Index,
        layers: &BTreeSet<DiffId>,
        gone: &[Value],
        kept: &BTreeSet<BlobDigest>,
        observer: &dyn Observer,
    ) -> Result<Removed, StoreError> {
        let names = gone.iter().filter_map(|entry| annotation(entry, REF_NAME)?.parse().ok());
        let mut removed = Removed { names: names.collect(), ..Removed::default() };
        let mut needed = BTreeSet::new();
        let marked = index.targets().iter().try_for_each(|target| self.mark(target, &mut needed));
        if let Err(error) = marked {
            let subject = "image store".to_owned();
            let message = format!("nothing was deleted yet: {error}; remove that image too");
            observer.event(Event::Warning { subject, message });
            return Ok(removed);
        }
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
            fs_err::remove_file(self.blob_path(&digest)).map_err(StoreError::Io)?;
        }
        let left = self.diff_ids()?;
        removed.layers = layers.difference(&left).cloned().collect();
        Ok(removed)
    }

    /// Marks all blobs that a target needs, also through indexes, which other tools write.
    fn mark(&self, target: &Target, needed: &mut BTreeSet<BlobDigest>) -> Result<(), StoreError> {
        if !needed.insert(target.digest.clone()) {
            return Ok(());
        }
        let called =
            label(&super::index::reference(target).into_iter().collect::<Vec<_>>(), &target.digest);
        let what = "the manifest";
        let inner = match target.kind {
            Kind::Other => return Ok(()),
            Kind::Manifest => {
                let bytes = self.document(&target.digest, what, &called)?;
                // Documents other than images keep all their targets, too.
                let manifest: Value = go_json::parse(&bytes, &MANIFEST)
                    .map_err(|error| damaged(&called, what, error))?;
                let layers = manifest.get("layers").and_then(Value::as_array);
                let parts = layers.into_iter().flatten().chain(manifest.get("config"));
                needed.extend(parts.filter_map(|part| digest(part)?.parse::<BlobDigest>().ok()));
                return Ok(());
            }
            Kind::Index => {
                let bytes = self.document(&target.digest, what, &called)?;
                parse_index(&bytes, None).map_err(|error| damaged(&called, what, error))?.targets
            }
        };
        for target in &inner {
            // Layouts may omit the parts for other platforms.
            if self.blob_path(&target.digest).exists() {
                self.mark(target, needed)?;
            }
        }
        Ok(())
    }
}

fn leads_to(entry: &Value, manifests: &BTreeSet<BlobDigest>) -> bool {
    let digest = digest(entry).and_then(|digest| digest.parse().ok());
    digest.is_some_and(|digest: BlobDigest| manifests.contains(&digest))
}
