//! Loading into the store: staging, then everything at once under the lock.

use std::io;
use std::path::{Path, PathBuf};

use fs_err::File;
use serde_json::{Value, json};

use super::index::{self, LayoutIndex};
use super::{Image, ImageStore, ImageStoreError};
use crate::base::atomic::{TEMPORARY_PREFIX, Unswept, sync_folder, temporaries};
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::base::removal::remove_all_closed;
use crate::image::digest::{BlobDigest, ImageId};
use crate::image::document::INDEX_DIGEST;
use crate::image::load::{
    self, Blob, LoadError, LoadInput, LoadOptions, PassedOver, StagedImage, Staging,
};
use crate::image::reference::ImageRef;

/// Lock in a staging folder, held by the writer.
const STAGING_LOCK: &str = "lock";

/// Loaded image; an image with several names is listed once per name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedImage {
    /// Name; `None` for a nameless image.
    pub reference: Option<ImageRef>,
    /// Id of the image.
    pub id: ImageId,
    /// Digest of the manifest.
    pub manifest: BlobDigest,
}

/// Folder in which blobs are staged, removed on drop.
#[derive(Debug)]
pub(in crate::image) struct StagingFolder {
    pub(in crate::image) folder: tempfile::TempDir,
    _lock: FileLock,
}

impl StagingFolder {
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl ImageStore {
    /// Loads images. All of the wanted ones are checked before the first is in the store; one that cannot be
    /// used is left out with a warning, if another one can.
    pub fn load(
        &self,
        input: LoadInput<'_>,
        options: &LoadOptions,
        observer: &dyn Observer,
    ) -> Result<Vec<LoadedImage>, LoadError> {
        let name = input.name();
        let found = (|| {
            let staged = self.staging_folder(observer)?;
            let mut staging = Staging::new(staged.folder.path(), options.limits);
            let load::SelectedImages { found, passed_over } =
                load::read(input, options, &mut staging)?;
            self.commit(&found, observer)?;
            for PassedOver { message, is_damaged } in passed_over {
                let message = format!("left out: {message}");
                observer.event(if is_damaged {
                    Event::Warning { subject: name.clone(), message }
                } else {
                    Event::Note { message }
                });
            }
            Ok(found)
        })();
        match found {
            Ok(found) => Ok(found.into_iter().flat_map(loaded).collect()),
            Err(problem) => Err(LoadError { input: name, problem }),
        }
    }

    /// Takes the store's lock.
    pub(super) fn lock(&self, observer: &dyn Observer) -> Result<FileLock, ImageStoreError> {
        let waiting = || {
            let message = "waiting for another process that changes the image store".to_owned();
            observer.event(Event::Note { message });
        };
        FileLock::acquire(&self.lock, waiting).map_err(ImageStoreError::Io)
    }

    /// Makes a staging folder, and removes the staging folders of dead processes.
    pub(in crate::image) fn staging_folder(
        &self,
        observer: &dyn Observer,
    ) -> Result<StagingFolder, ImageStoreError> {
        let _store = self.lock(observer)?;
        index::create(&self.folder)?;
        self.sweep_staging().report(observer);
        let folder = tempfile::Builder::new()
            .prefix(TEMPORARY_PREFIX)
            .tempdir_in(&self.folder)
            .map_err(ImageStoreError::Io)?;
        let path = folder.path().join(STAGING_LOCK);
        // While the store's lock is held, under which alone others take this folder for a dead one.
        let lock = FileLock::acquire(&path, || ()).map_err(ImageStoreError::Io)?;
        Ok(StagingFolder { folder, _lock: lock })
    }

    /// Removes leftovers of dead processes; the caller holds the store's lock.
    pub(super) fn sweep_staging(&self) -> Unswept {
        let mut unswept = Unswept::default();
        match self.dead_staging() {
            // A file is a document that was being written, under the lock that is held here.
            Ok(dead) => dead.iter().for_each(|(path, _mine)| unswept.note(remove_all_closed(path))),
            Err(error) => unswept.note(Err(error)),
        }
        unswept
    }

    /// Staging folders of dead processes, with their locks, and leftover temporary files.
    fn dead_staging(&self) -> io::Result<Vec<(PathBuf, Option<FileLock>)>> {
        let mut dead = Vec::new();
        for path in temporaries(&self.folder)? {
            if !fs_err::symlink_metadata(&path).is_ok_and(|data| data.is_dir()) {
                dead.push((path, None));
                continue;
            }
            match FileLock::try_acquire_made(&path.join(STAGING_LOCK)) {
                // Its maker is just removing it, or died between making the folder and the lock.
                Err(error) if error.kind() == io::ErrorKind::NotFound => dead.push((path, None)),
                Ok(taken) => dead.extend(taken.map(|mine| (path, Some(mine)))),
                // A folder with such a name that no load made.
                Err(error) => tracing::warn!(%error, "a staging folder cannot be locked"),
            }
        }
        Ok(dead)
    }

    /// Folders of dead processes, which the next load or removal removes.
    pub fn orphans(&self) -> Result<Vec<PathBuf>, ImageStoreError> {
        let dead = self.dead_staging().map_err(ImageStoreError::Io)?;
        Ok(dead.into_iter().filter(|(_, lock)| lock.is_some()).map(|(path, _)| path).collect())
    }

    /// Moves checked blobs into the store.
    pub(in crate::image) fn commit(
        &self,
        found: &[StagedImage],
        observer: &dyn Observer,
    ) -> Result<(), ImageStoreError> {
        let _store = self.lock(observer)?;
        for blob in found.iter().flat_map(|image| image.content.iter().chain([&image.manifest])) {
            self.keep(blob).map_err(ImageStoreError::Io)?;
        }
        // Before the index: an entry must never lead to a blob that a power cut took.
        sync_folder(&self.folder.join("blobs/sha256")).map_err(ImageStoreError::Io)?;
        let mut index = LayoutIndex::read(&self.folder)?;
        for image in found {
            let entry = entry(image);
            if image.names.is_empty() {
                index.add(entry.clone(), None);
            }
            for name in &image.names {
                if let Some(before) = index.add(entry.clone(), Some(name)) {
                    let name = name.familiar();
                    let message = format!("{name} was another image; its manifest is {before}");
                    observer.event(Event::Note { message });
                }
            }
        }
        index.write()
    }

    /// Gives an image of the store further names.
    pub fn name(
        &self,
        image: &Image,
        names: &[ImageRef],
        observer: &dyn Observer,
    ) -> Result<(), ImageStoreError> {
        let _store = self.lock(observer)?;
        let mut index = LayoutIndex::read(&self.folder)?;
        let gone = || ImageStoreError::not_found(image.manifest.to_string());
        let entry = index.entry(&image.manifest).ok_or_else(gone)?;
        for name in names {
            index.add(entry.clone(), Some(name));
        }
        index.write()
    }

    /// Moves a blob into the store, unless present. An existing blob of another size is damaged and
    /// gets replaced.
    pub(super) fn keep(&self, blob: &Blob) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let target = self.blob_path(&blob.digest);
        let there = |path: &Path| {
            fs_err::metadata(path).is_ok_and(|known| known.is_file() && known.len() == blob.size)
        };
        if there(&target) {
            return Ok(());
        }
        let file = File::open(&blob.path)?;
        // Helpers read blobs under other ids.
        file.set_permissions(PermissionsExt::from_mode(0o644))?;
        // A name with the digest promises the content, also after a power cut.
        file.sync_all()?;
        fs_err::rename(&blob.path, target)
    }
}

fn entry(image: &StagedImage) -> Value {
    let mut entry = json!({
        "mediaType": image.media_type,
        "digest": image.manifest.digest,
        "size": image.manifest.size,
    });
    // An entry says nothing of a platform that its image doesn't tell.
    if image.platform.is_complete() {
        entry["platform"] = json!({
            "os": image.platform.os,
            "architecture": image.platform.architecture,
        });
        if let Some(variant) = &image.platform.variant {
            entry["platform"]["variant"] = json!(variant);
        }
    }
    if let Some(index) = &image.index {
        entry["annotations"] = json!({ INDEX_DIGEST: index });
    }
    entry
}

fn loaded(image: StagedImage) -> Vec<LoadedImage> {
    let StagedImage { names, id, manifest, .. } = image;
    let loaded =
        |reference| LoadedImage { reference, id: id.clone(), manifest: manifest.digest.clone() };
    if names.is_empty() {
        return vec![loaded(None)];
    }
    names.into_iter().map(Some).map(loaded).collect()
}
