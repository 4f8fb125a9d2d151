//! Removal of the search results.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Garbage, GarbageItem, GarbageKind, GcError};
use crate::base::atomic::Unswept;
use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::base::removal::remove_all;
use crate::dockerfile::cache::BuildCache;
use crate::image::digest::BlobDigest;
use crate::image::store::ImageStore;
use crate::runner::home::Home;
use crate::runner::isolation::{self, TierRequest};
use crate::runner::uses::{Used, Uses};

pub(super) fn remove(
    home: &Home,
    isolation: &TierRequest,
    store: &ImageStore,
    uses: &Uses,
    garbage: &Garbage,
    observer: &dyn Observer,
) -> Result<(), GcError> {
    if garbage.items.iter().any(|item| item.kind == GarbageKind::Scratch) {
        let unswept = isolation::sweep_orphans(isolation, home, &Arc::default());
        unswept.map_err(GcError::Io)?.report(observer);
    }
    let images: BTreeSet<BlobDigest> = garbage
        .items
        .iter()
        .filter(|item| item.kind == GarbageKind::Image)
        .filter_map(|item| item.name.parse().ok())
        .collect();
    // One thing that cannot be removed keeps no other from going.
    let mut unswept = Unswept::default();
    // Before their blobs, of which they must not say that they are there.
    for path in garbage.items.iter().filter(|item| item.kind == GarbageKind::Step).flat_map(paths) {
        unswept.note(remove_all(path));
    }
    // Read after the removal of entries, whose blobs are no longer needed.
    let needed = needed_blobs(home, &uses.now).map_err(GcError::Io)?;
    // Also without an image: blobs of a process that died may lie there.
    store.remove_manifests(&images, &needed, observer).map_err(GcError::Store)?;
    let elsewhere = |item: &&GarbageItem| {
        let is_stores =
            matches!(item.kind, GarbageKind::Image | GarbageKind::Blob | GarbageKind::Staging);
        !is_stores && !matches!(item.kind, GarbageKind::Step | GarbageKind::Download)
    };
    let others: Vec<_> = garbage.items.iter().filter(elsewhere).flat_map(paths).cloned().collect();
    for item in garbage.items.iter().filter(|item| item.kind == GarbageKind::Download) {
        for path in &item.paths {
            // Another run may have gone on with it meanwhile; who waits for it looks whether it is there.
            match FileLock::try_acquire(path) {
                Ok(Some(_held)) => unswept.note(remove_all(path)),
                Ok(None) => {}
                Err(error) => unswept.note(Err(error)),
            }
        }
    }
    // In a namespace: layers have files of ids that only its root may remove.
    let removed = isolation::remove_all(isolation, home, &others).map_err(GcError::Isolation);
    unswept.note(remove_empty_folders(home));
    // After the empty folders, which can go whatever else failed.
    removed?;
    unswept.first().map_err(GcError::Io)
}

fn paths(item: &GarbageItem) -> &[PathBuf] {
    &item.paths
}

/// The blobs that running builds and the build cache need.
pub(super) fn needed_blobs(home: &Home, now: &Used) -> io::Result<BTreeSet<BlobDigest>> {
    let entries = BuildCache::new(home.build_cache()).entries()?;
    let cached = entries.into_iter().filter_map(|entry| Some(entry.layer?.digest));
    Ok(cached.chain(now.blobs.iter().cloned()).collect())
}

/// Removes folders without entries.
fn remove_empty_folders(home: &Home) -> io::Result<()> {
    let folders = ["builds", "failed", "image-logs", "caches"].map(|name| home.root().join(name));
    for folder in folders.into_iter().chain([home.parts()]) {
        let entries = match fs_err::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            // A non-empty folder stays, which is not a failure.
            drop(fs_err::remove_dir(entry?.path()));
        }
    }
    Ok(())
}
