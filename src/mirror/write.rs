//! Writing of the difference between a mirror's existing and wanted contents.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::archive;
use super::changes::{MirrorChanges, MirrorSummary};
use super::contents::{MirrorContents, MirrorFile, index_entries};
use super::error::MirrorError;
use super::existing::{ExistingMirror, MirrorStamp, MirrorStamps, SUBJECT, lock_path, stamp_of};
use crate::base::atomic::{self, AtomicFile, TemporaryFolder};
use crate::base::early_writer::EarlyWriter;
use crate::base::event::Observer;
use crate::base::parallel;
use crate::image::registry::IMAGES;
use crate::source::FetchOptions;
use crate::store::{LockFile, LockedFile, ObjectKey, StoreTransfer};

/// Makes a mirror hold its contents, and nothing else if `prune` is set.
pub fn write(
    existing: &ExistingMirror,
    mut contents: MirrorContents,
    prune: bool,
    fetch: &FetchOptions,
    observer: &dyn Observer,
) -> Result<MirrorSummary, MirrorError> {
    let old = if prune { BTreeMap::new() } else { old_images(existing, observer)? };
    contents.finish(old);
    let changes = MirrorChanges::plan(existing, contents, prune, fetch, observer);
    if existing.is_tar { archive::write(&changes) } else { changes.folder() }
}

fn old_images(
    existing: &ExistingMirror,
    observer: &dyn Observer,
) -> Result<BTreeMap<String, serde_json::Value>, MirrorError> {
    let name = format!("{IMAGES}/index.json");
    if !existing.has(&name) {
        return Ok(BTreeMap::new());
    }
    let mut text = Vec::new();
    let transfer = StoreTransfer { subject: SUBJECT, observer };
    existing.store.backend().get_range(&name.parse()?, 0..u64::MAX, &mut text, &transfer)?;
    Ok(index_entries(&text))
}

impl MirrorChanges<'_> {
    /// Changes a folder.
    fn folder(self) -> Result<MirrorSummary, MirrorError> {
        let place = &self.existing.place;
        fs_err::create_dir_all(place).map_err(|error| self.failed(error))?;
        self.sweep();
        let scratch = TemporaryFolder::create(place).map_err(|error| self.failed(error))?;
        let mut lock = LockFile { files: self.kept.clone() };
        let mut stamps = MirrorStamps(
            self.existing
                .stamps
                .0
                .iter()
                .filter(|(name, _)| {
                    name.parse().is_ok_and(|key: ObjectKey| self.kept.contains_key(&key))
                })
                .map(|(name, stamp)| (name.clone(), *stamp))
                .collect(),
        );
        // The index of images follows its targets.
        let (documents, blobs): (Vec<_>, Vec<_>) =
            self.new.iter().partition(|(key, _)| is_document(key));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let blobs: Vec<_> = blobs.into_iter().enumerate().collect();
        let mut written = parallel::try_each(&blobs, cores, |(number, (key, item))| {
            self.write_file(key, item, &scratch.path().join(format!("{number}.bundle")))
        })?;
        for (key, item) in documents {
            written.push(self.write_file(key, item, &scratch.path().join("document.bundle"))?);
        }
        for (key, locked, stamp) in written {
            stamps.0.extend(stamp.map(|stamp| (key.to_string(), stamp)));
            lock.files.insert(key, locked);
        }
        // The names are on the disk before the lock file says so.
        if !self.new.is_empty() {
            let folder = fs_err::File::open(place).map_err(|error| self.failed(error))?;
            nix::unistd::syncfs(folder.file()).map_err(|error| self.failed(error.into()))?;
        }
        atomic::write_if_changed(&lock_path(place), &lock.to_text())
            .map_err(|error| self.failed(error))?;
        for key in &self.dropped {
            self.remove(key).map_err(|error| self.failed(error))?;
        }
        self.existing.note(&stamps).map_err(|error| self.failed(error))?;
        Ok(self.written(&lock))
    }

    /// Writes a new file; returns its entry and its stamp.
    fn write_file(
        &self,
        key: &ObjectKey,
        item: &MirrorFile,
        bundle: &Path,
    ) -> Result<(ObjectKey, LockedFile, Option<MirrorStamp>), MirrorError> {
        let place = &self.existing.place;
        let path = place.join(key.as_str());
        check_folders(place, &path).map_err(|error| self.failed(error))?;
        let mut file = AtomicFile::create(&path).map_err(|error| self.failed(error))?;
        let mut writer = EarlyWriter::new(file.file()).map_err(|error| self.failed(error))?;
        let locked = self.fill(item, bundle, &mut writer)?;
        file.commit_unsynced().map_err(|error| self.failed(error))?;
        Ok((key.clone(), locked, stamp_of(&path)))
    }

    /// Removes a dropped file, and folders that are empty then.
    fn remove(&self, key: &ObjectKey) -> io::Result<()> {
        let path = self.existing.place.join(key.as_str());
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let above = path.ancestors().skip(1).take_while(|folder| *folder != self.existing.place);
        for folder in above {
            if fs_err::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes leftovers of killed runs; the caller holds the mirror's lock.
    fn sweep(&self) {
        let place = &self.existing.place;
        let mut folders = vec![place.clone()];
        for name in ["sha1", "bundles", "images", "images/blobs/sha256"] {
            folders.push(place.join(name));
        }
        let packages = fs_err::read_dir(place.join("packages"));
        folders.extend(packages.into_iter().flatten().flatten().map(|entry| entry.path()));
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            atomic::sweep_under_lock(folder).report(self.observer);
        }
    }
}

fn is_document(key: &ObjectKey) -> bool {
    key.as_str().starts_with(IMAGES) && !key.as_str().contains("/blobs/")
}

/// Refuses a symlink on the way to a file of the mirror.
fn check_folders(place: &Path, path: &Path) -> io::Result<()> {
    let below = path.strip_prefix(place).unwrap_or(path);
    crate::base::confinement::without_links(place, below.parent().unwrap_or(below))
}
