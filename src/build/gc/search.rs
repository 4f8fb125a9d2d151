//! Search for removable items.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::blobs::Blobs;
use super::{Garbage, GarbageItem, GarbageKind, GcError, GcOptions};
use crate::base::lock::FileLock;
use crate::dockerfile::cache::BuildCache;
use crate::image::digest::BlobDigest;
use crate::image::layers::files_of_unpacked;
use crate::image::store::{Image, ImageStore};
use crate::package::PackageId;
use crate::runner::home::Home;
use crate::runner::isolation::{self, TierRequest};
use crate::runner::measure::{Meter, Usage, last_use};
use crate::runner::uses::Uses;

/// Period in which a mirror of a git repository counts as used after a run has opened it: builds
/// copy from the mirror soon after.
const MIRROR_USE: Duration = Duration::from_secs(60 * 60);

pub(super) fn search(
    home: &Home,
    isolation: &TierRequest,
    store: &ImageStore,
    uses: &Uses,
    options: &GcOptions,
) -> Result<Garbage, GcError> {
    let blobs = Blobs::of(store).map_err(GcError::Store)?;
    let meter = Meter::default();
    let mut search =
        GarbageSearch { home, isolation, uses, options, meter, blobs, found: Vec::new() };
    search.blobs.hold(&uses.now.blobs);
    let kept = search.images(store)?;
    search.steps()?;
    // After images and steps, which hold theirs.
    search.unneeded_blobs();
    search.scratch()?;
    search.staging(store)?;
    search.downloads()?;
    search.layers(&kept)?;
    search.packages()?;
    search.parts()?;
    search.git_mirrors()?;
    search.job_files()?;
    search.records()?;
    search.bootstrap_records()?;
    search.failed()?;
    search.caches()?;
    search.logs()?;
    // With a meter of its own: files with several names would be missing from the total.
    search.meter = Meter::default();
    let total = search.measure(home.root())?;
    Ok(search.choose(total))
}

pub(super) struct GarbageSearch<'a> {
    pub(super) home: &'a Home,
    isolation: &'a TierRequest,
    uses: &'a Uses,
    pub(super) options: &'a GcOptions,
    meter: Meter,
    blobs: Blobs,
    /// Removable items, each with a flag: true if the item is removed regardless of the total size.
    found: Vec<(GarbageItem, bool)>,
}

impl GarbageSearch<'_> {
    /// Searches images; returns those that stay.
    fn images(&mut self, store: &ImageStore) -> Result<Vec<Image>, GcError> {
        let listing = store.list().map_err(GcError::Store)?;
        if let Some((name, source)) = listing.broken.into_iter().next() {
            return Err(GcError::Broken { name, source });
        }
        let located = store.located_manifests().map_err(GcError::Store)?;
        let mut kept = Vec::new();
        for image in listing.images {
            let id = image.id.hex();
            let manifest = store.blob_path(&image.manifest);
            let used = used_last(self.uses.last.images.get(id), || written(&manifest));
            let is_root = !image.references.is_empty()
                || located.contains(&image.manifest)
                || self.uses.now.images.contains(id);
            let blobs: Vec<BlobDigest> = image.blobs().collect();
            self.blobs.hold(&blobs);
            let goes = !is_root && !self.is_young(used);
            if !is_root {
                let name = image.manifest.to_string();
                self.found
                    .push((GarbageItem::of_blobs(GarbageKind::Image, name, blobs, used), goes));
            }
            if !goes {
                kept.push(image);
            }
        }
        Ok(kept)
    }

    /// Entries of the build cache.
    fn steps(&mut self) -> Result<(), GcError> {
        let cache = BuildCache::new(self.home.build_cache());
        for entry in cache.entries().map_err(GcError::Io)? {
            let used = written(&entry.path);
            let blobs: Vec<BlobDigest> =
                entry.layer.into_iter().map(|layer| layer.digest).collect();
            if blobs.iter().any(|blob| self.uses.now.blobs.contains(blob)) {
                continue;
            }
            let is_there = blobs.iter().all(|blob| self.blobs.has(blob));
            let goes = !entry.is_usable || !is_there || !self.is_young(used);
            self.blobs.hold(&blobs);
            let bytes = self.measure(&entry.path)?;
            let item = GarbageItem::of_blobs(GarbageKind::Step, name(&entry.path), blobs, used);
            self.found.push((GarbageItem { bytes, paths: vec![entry.path], ..item }, goes));
        }
        Ok(())
    }

    /// Searches blobs of killed builds, and of images that were removed during their use.
    fn unneeded_blobs(&mut self) {
        for (digest, bytes) in self.blobs.unneeded() {
            let name = digest.to_string();
            let item = GarbageItem::of_blobs(GarbageKind::Blob, name, Vec::new(), UNIX_EPOCH);
            self.found.push((GarbageItem { bytes, ..item }, true));
        }
    }

    fn scratch(&mut self) -> Result<(), GcError> {
        for orphan in self.home.orphans().map_err(GcError::Io)? {
            let path = orphan.folder().to_owned();
            let bytes = self.measure(&path)?;
            self.add(GarbageKind::Scratch, vec![path.clone()], bytes, written(&path), true);
        }
        Ok(())
    }

    /// Searches leftovers of dead processes in the store.
    fn staging(&mut self, store: &ImageStore) -> Result<(), GcError> {
        for path in store.orphans().map_err(GcError::Store)? {
            let (bytes, used) = (self.measure(&path)?, written(&path));
            self.add(GarbageKind::Staging, vec![path], bytes, used, true);
        }
        Ok(())
    }

    /// Searches partial blobs of pulls; a partial blob is locked during its download.
    fn downloads(&mut self) -> Result<(), GcError> {
        for part in entries(&self.home.root().join("images/.partial"))? {
            if !is_folder(part.parent().unwrap_or(&part)) || part.is_symlink() {
                continue;
            }
            let used = written(&part);
            let is_free = FileLock::try_acquire(&part).map_err(GcError::Io)?.is_some();
            if is_free && !self.is_young(used) {
                let bytes = self.measure(&part)?;
                self.add(GarbageKind::Download, vec![part], bytes, used, true);
            }
        }
        Ok(())
    }

    fn layers(&mut self, images: &[Image]) -> Result<(), GcError> {
        let needed: BTreeSet<&str> = images
            .iter()
            .flat_map(|image| image.layers.iter().map(|layer| layer.diff_id.hex()))
            .collect();
        for mapping in entries(&self.home.root().join("layers"))? {
            for layer in entries(&mapping)? {
                let name = name(&layer);
                if !is_hex(&name, 64) || !is_folder(&layer) {
                    continue;
                }
                if self.uses.now.layers.contains(&name) {
                    continue;
                }
                let used = used_last(self.uses.last.layers.get(&name), || written(&layer));
                let goes = !needed.contains(name.as_str()) && !self.is_young(used);
                let bytes = self.measure(&layer)?;
                self.add(GarbageKind::Layer, files_of_unpacked(&layer).into(), bytes, used, goes);
            }
        }
        Ok(())
    }

    fn packages(&mut self) -> Result<(), GcError> {
        let needed: BTreeSet<String> =
            self.options.archives.iter().map(ToString::to_string).collect();
        for package in entries(&self.home.packages())? {
            let name = name(&package);
            if !is_unpacked_package(&name) || !is_folder(&package) {
                continue;
            }
            if self.uses.now.packages.contains(&name) {
                continue;
            }
            let used = used_last(self.uses.last.packages.get(&name), || written(&package));
            let goes = !needed.contains(&name) && !self.is_young(used);
            let bytes = self.measure(&package)?;
            self.add(GarbageKind::Package, vec![package], bytes, used, goes);
        }
        Ok(())
    }

    fn parts(&mut self) -> Result<(), GcError> {
        for version in entries(&self.home.parts())? {
            for kind in ["summaries", "blocks"].map(|kind| version.join(kind)) {
                for part in entries(&kind)? {
                    if !is_hex(&name(&part), 64) {
                        continue;
                    }
                    let used = last_use(&part);
                    let bytes = self.measure(&part)?;
                    self.add(GarbageKind::Part, vec![part], bytes, used, !self.is_young(used));
                }
            }
        }
        Ok(())
    }

    /// Searches mirrors of git repositories. A build may be reading a recently used mirror.
    fn git_mirrors(&mut self) -> Result<(), GcError> {
        for mirror in entries(&self.home.git_mirrors())? {
            let used = written(&mirror);
            let is_in_use = used.elapsed().is_ok_and(|age| age < MIRROR_USE);
            if !is_hex(&name(&mirror), 64) || !is_folder(&mirror) || is_in_use {
                continue;
            }
            let bytes = self.measure(&mirror)?;
            self.add(GarbageKind::Mirror, vec![mirror], bytes, used, !self.is_young(used));
        }
        Ok(())
    }

    /// Searches the cache folders of Dockerfile commands.
    fn caches(&mut self) -> Result<(), GcError> {
        for mapping in entries(&self.home.caches())? {
            for cache in entries(&mapping)? {
                let is_cache = name(&cache)
                    .split_once('-')
                    .is_some_and(|(sum, copy)| is_hex(sum, 32) && copy.parse::<u32>().is_ok());
                if !is_cache {
                    continue;
                }
                let last = self.folder_use(&cache, || written(&cache));
                let Some(used) = last.filter(|_used| cache.is_dir()) else { continue };
                let bytes = self.measure(&cache)?;
                let paths = vec![cache.clone(), cache.with_extension("lock")];
                self.add(GarbageKind::Cache, paths, bytes, used, !self.is_young(used));
            }
        }
        Ok(())
    }

    /// Searches logs of image builds, which are removed by age, as records are, and for a lower
    /// total size.
    fn logs(&mut self) -> Result<(), GcError> {
        for logs in entries(&self.home.root().join("image-logs"))? {
            let last = |files: &[PathBuf]| files.iter().map(|file| written(file)).max();
            let newest = last(&entries(&logs)?).unwrap_or_else(|| written(&logs));
            let Some(used) = self.folder_use(&logs, || newest) else { continue };
            let goes = self.options.since.is_some() && !self.is_young(used);
            let bytes = self.measure(&logs)?;
            self.add(GarbageKind::Log, vec![logs], bytes, used, goes);
        }
        Ok(())
    }

    /// Returns the time of the last use of a folder of the builder; `None` if a run uses the folder
    /// now.
    fn folder_use(
        &self,
        folder: &Path,
        otherwise: impl FnOnce() -> SystemTime,
    ) -> Option<SystemTime> {
        let relative = folder.strip_prefix(self.home.root()).unwrap_or(folder);
        let uses = self.uses;
        let is_used = uses.now.folders.contains(relative);
        (!is_used).then(|| used_last(uses.last.folders.get(relative), otherwise))
    }

    pub(super) fn is_young(&self, used: SystemTime) -> bool {
        self.options.since.is_some_and(|since| used >= since)
    }

    pub(super) fn add(
        &mut self,
        kind: GarbageKind,
        paths: Vec<PathBuf>,
        bytes: u64,
        used: SystemTime,
        goes: bool,
    ) {
        let name = paths.first().map(|path| name(path)).unwrap_or_default();
        let item = GarbageItem::of_blobs(kind, name, Vec::new(), used);
        self.found.push((GarbageItem { bytes, paths, ..item }, goes));
    }

    pub(super) fn measure(&mut self, path: &Path) -> Result<u64, GcError> {
        // Each on its own: a file that has a name in two of them is given back with the second.
        let Usage { bytes, partial } = self.meter.measure(path);
        if !partial {
            return Ok(bytes);
        }
        isolation::measure(self.isolation, self.home, path).map_err(GcError::Isolation)
    }

    /// Chooses the items to remove: unneeded items, and, if the total is still too large, the least
    /// recently used ones.
    fn choose(self, total: u64) -> Garbage {
        let only = self.options.only.as_ref();
        let (going, mut staying): (Vec<_>, Vec<_>) = self
            .found
            .into_iter()
            .filter(|(item, _)| only.is_none_or(|only| only.contains(&item.kind)))
            .partition(|(_item, goes)| *goes);
        let mut blobs = self.blobs;
        let mut items = Vec::new();
        let mut left = total;
        let mut go = |mut item: GarbageItem, left: &mut u64| {
            item.bytes += blobs.release(&item.blobs);
            *left = left.saturating_sub(item.bytes);
            items.push(item);
        };
        for (item, _) in going {
            go(item, &mut left);
        }
        staying.sort_by_key(|(item, _)| item.last_use);
        let most = self.options.max_size.unwrap_or(u64::MAX);
        for (item, _) in staying {
            if left <= most {
                break;
            }
            go(item, &mut left);
        }
        items.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        Garbage { items, left, too_much: left.saturating_sub(most) }
    }
}

impl GarbageItem {
    /// Item in the image store alone; its size is computed at the removal.
    fn of_blobs(
        kind: GarbageKind,
        name: String,
        blobs: Vec<BlobDigest>,
        last_use: SystemTime,
    ) -> Self {
        Self { kind, name, bytes: 0, last_use, paths: Vec::new(), blobs }
    }
}

fn used_last(last: Option<&u64>, otherwise: impl FnOnce() -> SystemTime) -> SystemTime {
    last.map_or_else(otherwise, |seconds| UNIX_EPOCH + Duration::from_secs(*seconds))
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// True for the name of an unpacked package: the digest of its archive or, in the older layout, its
/// id.
fn is_unpacked_package(name: &str) -> bool {
    is_hex(name, 64) || name.parse::<PackageId>().is_ok()
}

pub(super) fn is_hex(name: &str, digits: usize) -> bool {
    name.len() == digits && name.bytes().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'))
}

pub(super) fn is_folder(path: &Path) -> bool {
    fs_err::symlink_metadata(path).is_ok_and(|data| data.is_dir())
}

/// Modification time of a file; the epoch if unknown.
pub(super) fn written(path: &Path) -> SystemTime {
    fs_err::symlink_metadata(path).and_then(|data| data.modified()).unwrap_or(UNIX_EPOCH)
}

pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, GcError> {
    let read = match fs_err::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        other => other.map_err(GcError::Io)?,
    };
    let mut found = read
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(GcError::Io)?;
    found.sort();
    Ok(found)
}
