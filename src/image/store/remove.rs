//! Removing images, and whatever no image needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::unix::fs::MetadataExt;

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest};

use super::index::{Index, is_called};
use super::{ImageStore, StoreError, damaged, label};
use crate::base::event::{Event, Observer};
use crate::image::digest::{BlobDigest, DiffId};
use crate::image::document::{Kind, REF_NAME, Target, annotation};
use crate::image::reference::ImageRef;

/// What a removal did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Removed {
    /// Names that mean nothing now.
    pub names: Vec<ImageRef>,
    /// Blobs that went.
    pub blobs: u64,
    /// Blobs that no image needs, and that stay because the caller does.
    pub kept: u64,
    /// What they took on the disk, in bytes.
    pub bytes: u64,
    /// Layers that no image has any more: what is unpacked of them can go.
    pub layers: Vec<DiffId>,
}

impl ImageStore {
    /// Removes a name, and with its last one the image; or, by its id, the image with all its
    /// names. What is broken can be removed too, by its name or its manifest's digest. Blobs in `kept`
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
            gone = index.take_out(|entry| entry.digest().as_ref() == text);
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

    /// Removes images by their manifests, all blobs that no image needs but those in `kept`, and what
    /// dead processes left.
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

    /// All blobs, with what the disk gives back for each, in bytes.
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
            // What isn't a blob is somebody else's.
            let Some(digest) = digest else { continue };
            blobs.insert(digest, entry.metadata().map_err(StoreError::Io)?.blocks() * 512);
        }
        Ok(blobs)
    }

    fn diff_ids(&self) -> Result<BTreeSet<DiffId>, StoreError> {
        let layers = self.list()?.images.into_iter().flat_map(|image| image.layers);
        Ok(layers.map(|layer| layer.diff_id).collect())
    }

    /// Deletes the blobs to which nothing leads. If what an image needs can't be told, because it
    /// is broken, all blobs stay until it is removed.
    fn sweep(
        &self,
        index: &Index,
        layers: &BTreeSet<DiffId>,
        gone: &[Descriptor],
        kept: &BTreeSet<BlobDigest>,
        observer: &dyn Observer,
    ) -> Result<Removed, StoreError> {
        let names = gone.iter().filter_map(|entry| annotation(entry, REF_NAME)?.parse().ok());
        let mut removed = Removed { names: names.collect(), ..Removed::default() };
        let mut needed = BTreeSet::new();
        let marked = index.targets()?.iter().try_for_each(|target| self.mark(target, &mut needed));
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

    /// Notes everything that a target needs; also through indexes, which other tools write.
    fn mark(&self, target: &Target, needed: &mut BTreeSet<BlobDigest>) -> Result<(), StoreError> {
        if !needed.insert(target.digest.clone()) {
            return Ok(());
        }
        let called =
            label(&super::index::reference(target).into_iter().collect::<Vec<_>>(), &target.digest);
        let what = "the manifest";
        let shape = |error: serde_json::Error| damaged(&called, what, error);
        let inner: Vec<Descriptor> = match target.kind {
            Kind::Other => return Ok(()),
            Kind::Manifest => {
                let bytes = self.document(&target.digest, what, &called)?;
                let manifest: ImageManifest = serde_json::from_slice(&bytes).map_err(shape)?;
                needed
                    .extend(manifest.layers().iter().chain([manifest.config()]).filter_map(digest));
                return Ok(());
            }
            Kind::Index => {
                let bytes = self.document(&target.digest, what, &called)?;
                let index: ImageIndex = serde_json::from_slice(&bytes).map_err(shape)?;
                index.manifests().clone()
            }
        };
        for descriptor in &inner {
            let target = Target::of(descriptor).map_err(|error| damaged(&called, what, error))?;
            // Layouts may leave out what is for other machines.
            if self.blob_path(&target.digest).exists() {
                self.mark(&target, needed)?;
            }
        }
        Ok(())
    }
}

/// The digest of what a descriptor leads to; blobs that aren't named by SHA-256 aren't ours.
fn digest(descriptor: &Descriptor) -> Option<BlobDigest> {
    descriptor.digest().as_ref().parse().ok()
}

fn leads_to(entry: &Descriptor, manifests: &BTreeSet<BlobDigest>) -> bool {
    digest(entry).is_some_and(|digest| manifests.contains(&digest))
}
