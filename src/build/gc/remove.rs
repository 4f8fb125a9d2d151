//! Removing what was found.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Garbage, GcError, Kind};
use crate::base::event::Observer;
use crate::base::lock::FileLock;
use crate::build::home::Home;
use crate::build::isolation::{self, Wanted};
use crate::image::digest::BlobDigest;
use crate::image::store::ImageStore;

pub(super) fn remove(
    home: &Home,
    isolation: &Wanted,
    store: &ImageStore,
    garbage: &Garbage,
    observer: &dyn Observer,
) -> Result<(), GcError> {
    if garbage.items.iter().any(|item| item.kind == Kind::Scratch) {
        isolation::sweep_orphans(isolation, home, &Arc::default()).map_err(GcError::Io)?;
    }
    let images: BTreeSet<BlobDigest> = garbage
        .items
        .iter()
        .filter(|item| item.kind == Kind::Image)
        .filter_map(|item| item.name.parse().ok())
        .collect();
    // Also without one: blobs of a process that died may lie there.
    store.remove_manifests(&images, observer).map_err(GcError::Store)?;
    let paths = garbage
        .items
        .iter()
        .filter(|item| !matches!(item.kind, Kind::Image | Kind::Download))
        .flat_map(|item| item.paths.iter().cloned())
        .collect::<Vec<_>>();
    for item in garbage.items.iter().filter(|item| item.kind == Kind::Download) {
        for path in &item.paths {
            // Another run may have gone on with it meanwhile; who waits for it looks whether it is there.
            if let Some(_held) = FileLock::try_acquire(path).map_err(GcError::Io)? {
                fs_err::remove_file(path).map_err(GcError::Io)?;
            }
        }
    }
    isolation::remove_all(isolation, home, &paths).map_err(GcError::Isolation)?;
    remove_empty_folders(home).map_err(GcError::Io)
}

/// What has lost its last build or part.
fn remove_empty_folders(home: &Home) -> std::io::Result<()> {
    for folder in [home.root().join("builds"), home.parts()] {
        let entries = match fs_err::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            // One that isn't empty stays, which is no failure.
            drop(fs_err::remove_dir(entry?.path()));
        }
    }
    Ok(())
}
