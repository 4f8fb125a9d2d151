//! Unpacked layers, made by the helper process inside its user namespace.
//!
//! ```text
//! <home>/layers/<mapping>/         one folder per id mapping, since owners on disk depend on it
//!   <diff id>/                     the layer in overlay form; complete, as it was renamed to here
//!   <diff id>.owners               with one id: the owners that couldn't be given
//!   <diff id>.implied              folders that the layer has without describing them
//!   <diff id>.whiteouts            folders that have whiteouts
//!   .tmp-<diff id>/                a layer being unpacked by whoever has the lock
//!   .lock
//! ```
//!
//! The files beside a layer are written and synced before the layer gets its name. A process that
//! dies leaves a `.tmp-` folder, which the next process that unpacks a layer removes. A layer with
//! its final name is never written to again: several builds mount a layer at once.

mod error;
mod implied;
mod look;
mod new_layer;
mod under;

pub use error::LayerError;
pub use new_layer::{KnownOwners, NewLayer, StepOwners, adopt, write_layer};

pub use implied::restore_implied_folders;
pub use under::with_merged_whiteouts;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::digest::DiffId;
use super::store::LayerBlob;
use super::threads::with_content;
use crate::archive::{
    ArchiveLimits, LayerOptions, UnpackedOwners, Whiteouts, is_opaque_at, unpack_layer,
};
use crate::base::atomic::{self, TEMPORARY_PREFIX, sweep_under_lock};
use crate::base::lock::FileLock;
use crate::base::regular::open_regular;
use crate::base::removal::{remove_all, remove_all_closed};

const LOCK: &str = ".lock";

/// Options for unpacking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnpackOptions {
    /// True if the namespace has a single id, so that every file gets that id.
    pub single_id: bool,
    /// Limits of one unpacked layer.
    pub limits: ArchiveLimits,
}

/// Unpacks the layers that aren't unpacked yet, and returns their folders, the lowest first. A
/// repeated layer is returned once, in its highest position, as overlayfs takes no folder twice:
/// the highest position hides the effects of the lower ones. Layers below an opaque layer are left
/// out, since overlayfs ignores an opaque mark on a layer's root. Where devices cannot be made,
/// whiteouts are files with an attribute, if `knows_attributes` finds that an overlay in the folder
/// supports them.
pub fn ensure_unpacked(
    folder: &Path,
    layers: &[LayerBlob],
    options: &UnpackOptions,
    knows_attributes: impl FnOnce(&Path) -> bool,
) -> Result<Vec<PathBuf>, LayerError> {
    let layers = highest_occurrences(layers);
    let place = |layer: &LayerBlob| folder.join(layer.diff_id.hex());
    // Without the lock: a layer with its final name is whole, and the common case needs no waiting.
    if !layers.iter().all(|layer| place(layer).is_dir()) {
        unpack_missing(folder, &layers, options, knows_attributes)?;
    }
    let mut places: Vec<PathBuf> = layers.into_iter().map(place).collect();
    let mut lowest = 0;
    for (index, place) in places.iter().enumerate() {
        let fail = |source| LayerError::Folder { folder: folder.to_owned(), source };
        if is_opaque_at(place).map_err(fail)? {
            lowest = index;
        }
    }
    drop(places.drain(..lowest));
    Ok(places)
}

/// Path of the list of owners that a layer's files have in the image, but cannot have on disk; made
/// for layers that were unpacked with one id.
pub fn owners_file(layer: &Path) -> PathBuf {
    layer.with_extension("owners")
}

/// Removes an unpacked layer and the files beside the layer, if present. No build may be using the
/// layer.
pub fn remove_unpacked(folder: &Path, diff_id: &DiffId) -> Result<(), LayerError> {
    let fail = |source| LayerError::Folder { folder: folder.to_owned(), source };
    let _lock = FileLock::acquire(&folder.join(LOCK), || ()).map_err(fail)?;
    let layer = folder.join(diff_id.hex());
    let doomed = temporary(folder, diff_id);
    // Under a name that is swept, so that a removal that is cut off leaves no half layer under the
    // final one.
    match fs_err::rename(&layer, &doomed) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        renamed => renamed.map_err(fail)?,
    }
    let unswept = sweep_under_lock(folder);
    remove_beside(&layer).map_err(fail)?;
    unswept.first().map_err(fail)
}

/// Folder and files of an unpacked layer; each of the files may be missing.
pub fn files_of_unpacked(layer: &Path) -> [PathBuf; 4] {
    [layer.to_owned(), owners_file(layer), implied::file(layer), under::file(layer)]
}

fn remove_beside(layer: &Path) -> io::Result<()> {
    files_of_unpacked(layer)[1..].iter().try_for_each(|path| remove_all(path))
}

fn highest_occurrences(layers: &[LayerBlob]) -> Vec<&LayerBlob> {
    let mut seen = BTreeSet::new();
    let mut unique: Vec<_> =
        layers.iter().rev().filter(|layer| seen.insert(&layer.diff_id)).collect();
    unique.reverse();
    unique
}

fn unpack_missing(
    folder: &Path,
    layers: &[&LayerBlob],
    options: &UnpackOptions,
    knows_attributes: impl FnOnce(&Path) -> bool,
) -> Result<(), LayerError> {
    let fail = |source| LayerError::Folder { folder: folder.to_owned(), source };
    let _lock = FileLock::acquire(&folder.join(LOCK), || ()).map_err(fail)?;
    sweep_under_lock(folder).log();
    let whiteouts = whiteouts(folder, knows_attributes).map_err(fail)?;
    let missing = layers.iter().filter(|layer| !folder.join(layer.diff_id.hex()).is_dir());
    let missing: Vec<_> = missing.collect();
    for layer in &missing {
        // Leftovers of the sweep must not become part of this layer.
        remove_all_closed(&temporary(folder, &layer.diff_id)).map_err(fail)?;
    }
    if let Err(error) = unpack_all(folder, &missing, options, whiteouts) {
        // Leftovers are swept, or overwritten, by the next unpacking.
        sweep_under_lock(folder).log();
        for layer in missing {
            drop(remove_beside(&folder.join(layer.diff_id.hex())));
        }
        return Err(error);
    }
    let finish = || {
        // One sync for all files of all layers: each of them would cost a flush of its own.
        nix::unistd::syncfs(fs_err::File::open(folder)?)?;
        for layer in &missing {
            fs_err::rename(temporary(folder, &layer.diff_id), folder.join(layer.diff_id.hex()))?;
        }
        atomic::sync_folder(folder)
    };
    finish().map_err(fail)
}

/// Unpacks layers, as many at once as there are processors.
fn unpack_all(
    folder: &Path,
    layers: &[&&LayerBlob],
    options: &UnpackOptions,
    whiteouts: Whiteouts,
) -> Result<(), LayerError> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), LayerError> {
        while let Some(layer) = layers.get(next.fetch_add(1, Ordering::Relaxed)) {
            // The others end with the layers that they have begun.
            unpack(folder, layer, options, whiteouts)
                .inspect_err(|_error| next.store(layers.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    let at_once = std::thread::available_parallelism().map_or(1, usize::from).min(layers.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..at_once)
            .filter_map(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mut outcome = work();
        for thread in threads {
            let other = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            outcome = outcome.and(other);
        }
        outcome
    })
}

/// Chooses the form of whiteouts for a folder. Where no form works, unpacking the first layer with
/// a whiteout fails.
fn whiteouts(folder: &Path, knows_attributes: impl FnOnce(&Path) -> bool) -> io::Result<Whiteouts> {
    let name = format!("{TEMPORARY_PREFIX}whiteout");
    // Tried, not derived from versions: devices 0/0 work in user namespaces since Linux 5.8
    // (a3c751a50fe6), but LSMs and filesystems may refuse them.
    let is_made = Whiteouts::Devices.make_at(folder, name.as_ref()).is_ok();
    remove_all(&folder.join(name))?;
    let is_by_attribute = !is_made && knows_attributes(folder);
    Ok(if is_by_attribute { Whiteouts::Attributes } else { Whiteouts::Devices })
}

fn unpack(
    folder: &Path,
    layer: &LayerBlob,
    options: &UnpackOptions,
    whiteouts: Whiteouts,
) -> Result<(), LayerError> {
    let diff_id = &layer.diff_id;
    let place = folder.join(diff_id.hex());
    let blob = |source| LayerError::Blob { diff_id: diff_id.clone(), source };
    let fail = |source| LayerError::Folder { folder: folder.to_owned(), source };
    // A FIFO comes from this program's own pull. From a store of another's making, it would block
    // forever.
    let opened =
        if layer.is_fifo { fs_err::File::open(&layer.path) } else { open_regular(&layer.path) };
    let file = opened.map_err(blob)?;
    let (limits, temporary) = (options.limits, temporary(folder, diff_id));
    let unpack = |content: &mut dyn io::Read| {
        let failed = |source| LayerError::Unpack { diff_id: diff_id.clone(), source };
        let with = |owners| LayerOptions { is_plain: false, limits, owners, whiteouts };
        if !options.single_id {
            return unpack_layer(content, &temporary, with(UnpackedOwners::Mapped)).map_err(failed);
        }
        let owners = fs_err::File::create(owners_file(&place)).map_err(fail)?;
        let mut record = io::BufWriter::new(owners);
        let owners = UnpackedOwners::Single(&mut record);
        let summary = unpack_layer(content, &temporary, with(owners)).map_err(failed)?;
        io::Write::flush(&mut record).map_err(fail)?;
        Ok(summary)
    };
    let (summary, found) =
        with_content(file.into_file(), limits.max_threads, unpack).map_err(blob)?;
    let summary = summary?;
    // Only now, as the digest is known at the end; the files are under the temporary name, and go.
    if found != *diff_id.sum() {
        return Err(LayerError::DiffId { expected: diff_id.clone(), found: found.into() });
    }
    if summary.devices + summary.attributes_dropped + summary.attributes_lost > 0 {
        tracing::info!(
            layer = %diff_id,
            devices = ?summary.device_paths,
            attributes = summary.attributes_dropped + summary.attributes_lost,
            "devices and attributes of a layer were left out"
        );
    }
    implied::write(&place, &summary.implied_folders)
        .and_then(|()| under::write(&place, &summary.whiteout_folders))
        .map_err(fail)
}

fn temporary(folder: &Path, diff_id: &DiffId) -> PathBuf {
    folder.join(format!("{TEMPORARY_PREFIX}{}", diff_id.hex()))
}
