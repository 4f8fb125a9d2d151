//! Download of an image's blobs: several at once, each from the store, from a partial download, or
//! from the registry, verified during the download, and passed to the unpacker at the same time.
//!
//! Two digests of each layer are checked. The digest of the blob is computed here. The digest of
//! the uncompressed content is computed by the unpacker, or else here; never twice, as
//! decompression costs more than all other work.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::Scope;

use super::download::BlobDownload;
use super::error::RegistryProblem;
use super::options::{Pull, unpacked};
use super::partial::{Partial, Partials};
use super::tail::{self, BlobProgress};
use crate::base::event::{Event, Observer};
use crate::image::compression::LayerCompression;
use crate::image::config::ImageConfig;
use crate::image::digest::DiffId;
use crate::image::load::{Blob, LoadProblem, Measured, measure, measure_stored};
use crate::image::manifest::ImageManifest;
use crate::image::store::{ImageStore, LayerBlob};
use crate::store::registry::{BlobRequest, RegistryExchangeError, RegistryWire};

/// Number of blobs that are fetched at once.
// Docker and containerd fetch three layers at once.
const AT_ONCE: usize = 4;

/// The layers of an image, each blob once.
pub(super) struct FetchedLayers<'p> {
    pull: &'p Pull<'p>,
    partials: &'p Partials,
    items: Vec<LayerDownload>,
    /// Indexes of the image's layers among the items, lowest layer first.
    order: Vec<usize>,
}

/// A layer's blob.
struct LayerDownload {
    wanted: BlobRequest,
    diff_id: DiffId,
    /// Path of the finished blob until the store takes over.
    staged: PathBuf,
    /// True if it lies there, from the store.
    is_stored: bool,
    /// True if an image of the store has the layer, with the same diff id.
    is_known: bool,
    /// FIFO that leads to the unpacker, if the layer is unpacked now.
    fifo: Option<PathBuf>,
    progress: BlobProgress,
}

/// Result for an item.
enum FetchedItem {
    /// All is known.
    Measured(Blob),
    /// The blob is whole; its uncompressed content was not read.
    Stored(Measured),
}

impl<'p> FetchedLayers<'p> {
    pub(super) fn new(
        pull: &'p Pull<'p>,
        manifest: &ImageManifest,
        image: &ImageConfig,
        folder: &Path,
        partials: &'p Partials,
    ) -> Result<Self, RegistryProblem> {
        let known = pull.store.layers()?;
        let fifos = folder.join("fifos");
        make_folder(&fifos).map_err(RegistryProblem::Keep)?;
        let mut items: Vec<LayerDownload> = Vec::new();
        let mut order = Vec::new();
        for (index, (layer, diff_id)) in manifest.layers.iter().zip(&image.diff_ids).enumerate() {
            let content = &layer.content;
            let same = |item: &LayerDownload| item.wanted.digest == content.digest;
            if let Some(place) = items.iter().position(same) {
                order.push(place);
                continue;
            }
            let number = index + 1;
            let name = pull.reference.familiar();
            let wanted = BlobRequest {
                digest: content.digest.clone(),
                size: content.size,
                what: format!("layer {number}"),
                subject: Some(format!("{name} layer {number}/{}", manifest.layers.len())),
            };
            let staged = folder.join(format!("layer-{number}"));
            let is_stored = blob_of_store(pull.store, &wanted, &staged);
            let is_known = is_stored
                && known.get(&content.digest).is_some_and(|known| known.diff_id == *diff_id);
            let unpack = pull.unpacker.is_some_and(|unpacker| !unpacker.has(diff_id));
            let fifo = unpack.then(|| fifos.join(number.to_string()));
            if let Some(fifo) = &fifo {
                tail::make(fifo).map_err(RegistryProblem::Keep)?;
            }
            order.push(items.len());
            items.push(LayerDownload {
                wanted,
                diff_id: diff_id.clone(),
                staged,
                is_stored,
                is_known,
                fifo,
                progress: BlobProgress::default(),
            });
        }
        Ok(Self { pull, partials, items, order })
    }

    /// Fetches all items; returns the image's layers, lowest first.
    pub(super) fn fetch(self, wire: &RegistryWire<'_>) -> Result<Vec<Blob>, RegistryProblem> {
        let (fetched, followed) = std::thread::scope(|scope| self.run(scope, wire))?;
        let mut blobs = Vec::with_capacity(self.items.len());
        for ((item, fetched), followed) in self.items.iter().zip(fetched).zip(followed) {
            blobs.push(match fetched {
                FetchedItem::Measured(blob) => blob,
                // The unpacker has read the layer to its end, and found the right digest.
                FetchedItem::Stored(measured) if followed || item.is_known => {
                    measured.known(item.diff_id.clone()).at(item.staged.clone())
                }
                FetchedItem::Stored(_) => self.measure_file(item)?,
            });
        }
        Ok(self.order.iter().map(|place| blobs[*place].clone()).collect())
    }

    /// Downloads and unpacks. Returns the result of each item, and a flag per item that is true if
    /// the unpacker has read all of the item without a fault.
    fn run<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        wire: &RegistryWire<'_>,
    ) -> Result<(Vec<FetchedItem>, Vec<bool>), RegistryProblem> {
        let unpacking = self.pull.unpacker.and_then(|unpacker| {
            let layers = self.to_unpack();
            let any = !layers.is_empty();
            any.then(|| scope.spawn(move || unpacker.unpack(&layers)))
        });
        let followers: Vec<_> = self
            .items
            .iter()
            .map(|item| {
                let fifo = item.fifo.as_ref().filter(|_| unpacking.is_some())?;
                let path = if item.is_stored {
                    item.staged.clone()
                } else {
                    self.partials.path(&item.wanted.digest)
                };
                Some(scope.spawn(move || tail::follow(fifo, &path, &item.progress)))
            })
            .collect();
        let fetched = self.fetch_all(wire);
        if fetched.is_err() {
            // Before the unpacker is joined, which waits for the end of its FIFOs.
            self.items.iter().for_each(|item| item.progress.give_up());
        }
        let unpacking = unpacking.map_or(Ok(()), joined);
        // After the unpacker: followers that still wait for a reader would wait forever.
        self.items.iter().for_each(|item| item.progress.unread());
        let followed: Vec<bool> =
            followers.into_iter().map(|follower| follower.is_some_and(joined)).collect();
        // If fetching failed, unpacking has, too.
        let fetched = fetched?;
        if unpacking.is_err() && self.pull.observer.is_interrupted() {
            return Err(RegistryExchangeError::Interrupted.into());
        }
        unpacked(unpacking)?;
        Ok((fetched, followed))
    }

    fn to_unpack(&self) -> Vec<LayerBlob> {
        let blob = |item: &LayerDownload| {
            let (path, diff_id) = (item.fifo.clone()?, item.diff_id.clone());
            Some(LayerBlob { path, diff_id, is_fifo: true })
        };
        self.items.iter().filter_map(blob).collect()
    }

    fn fetch_all(&self, wire: &RegistryWire<'_>) -> Result<Vec<FetchedItem>, RegistryProblem> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut done = Vec::new();
            while let Some((place, item)) = {
                let place = next.fetch_add(1, Ordering::Relaxed);
                self.items.get(place).map(|item| (place, item))
            } {
                if failed.load(Ordering::Relaxed) {
                    break;
                }
                match self.item(item, wire, &failed) {
                    Ok(fetched) => done.push((place, fetched)),
                    Err(problem) => {
                        failed.store(true, Ordering::Relaxed);
                        return Err(problem);
                    }
                }
            }
            Ok(done)
        };
        let outcomes: Vec<Result<Vec<(usize, FetchedItem)>, RegistryProblem>> =
            std::thread::scope(|scope| {
                let at_once = AT_ONCE.min(self.items.len());
                let threads: Vec<_> = (1..at_once).map(|_| scope.spawn(work)).collect();
                let own = work();
                threads.into_iter().map(joined).chain([own]).collect()
            });
        let mut fetched = Vec::new();
        let mut stopped = None;
        for outcome in outcomes {
            match outcome {
                Ok(done) => fetched.extend(done),
                // Errors of cancelled downloads are ignored.
                Err(RegistryProblem::Exchange(RegistryExchangeError::Interrupted)) => {
                    stopped = stopped.or(Some(RegistryExchangeError::Interrupted.into()));
                }
                Err(problem) => return Err(problem),
            }
        }
        if let Some(problem) = stopped {
            return Err(problem);
        }
        fetched.sort_by_key(|(place, _)| *place);
        Ok(fetched.into_iter().map(|(_, fetched)| fetched).collect())
    }

    fn item(
        &self,
        item: &LayerDownload,
        wire: &RegistryWire<'_>,
        failed: &AtomicBool,
    ) -> Result<FetchedItem, RegistryProblem> {
        if item.is_stored {
            let compression =
                LayerCompression::of_file(&item.staged).map_err(RegistryProblem::Keep)?;
            let measured =
                Measured::unread(item.wanted.digest.clone(), item.wanted.size, compression);
            item.progress.reached(item.wanted.size);
            item.progress.whole();
            return Ok(FetchedItem::Stored(measured));
        }
        let stopping = Stopping { observer: self.pull.observer, failed };
        let wire = wire.observed_by(&stopping);
        fetch(&wire, item, self.partials, self.pull.options.limits.max_bytes)
    }

    fn measure_file(&self, item: &LayerDownload) -> Result<Blob, RegistryProblem> {
        let file = fs_err::File::open(&item.staged).map_err(RegistryProblem::Keep)?;
        let limit = self.pull.options.limits.max_bytes;
        let blob = measure(file, None, limit, limit)?.at(item.staged.clone());
        if blob.digest != item.wanted.digest {
            let (what, expected) = (item.wanted.what.clone(), item.wanted.digest.clone());
            return Err(LoadProblem::Digest { what, expected, found: blob.digest }.into());
        }
        Ok(blob)
    }
}

/// Fetches a blob that the store doesn't have.
fn fetch(
    wire: &RegistryWire<'_>,
    item: &LayerDownload,
    partials: &Partials,
    limit: u64,
) -> Result<FetchedItem, RegistryProblem> {
    let deferred = item.fifo.is_some();
    let read = |download: &mut BlobDownload<'_, '_>| {
        if deferred { measure_stored(download) } else { measure(download, None, limit, limit) }
    };
    let measured = whole(wire, &item.wanted, partials, &item.staged, &item.progress, read)?;
    Ok(if deferred {
        FetchedItem::Stored(measured)
    } else {
        FetchedItem::Measured(measured.at(item.staged.clone()))
    })
}

/// Fetches a document into a file.
pub(super) fn fetch_document(
    wire: &RegistryWire<'_>,
    wanted: &BlobRequest,
    partials: &Partials,
    path: PathBuf,
) -> Result<Blob, RegistryProblem> {
    let measured = whole(wire, wanted, partials, &path, &BlobProgress::default(), |download| {
        measure_stored(download)
    })?;
    Ok(measured.at(path))
}

/// Downloads a blob until the content is whole and matches its digest. A wrong partial file of an
/// earlier run is downloaded again, once.
fn whole(
    wire: &RegistryWire<'_>,
    wanted: &BlobRequest,
    partials: &Partials,
    staged: &Path,
    progress: &BlobProgress,
    read: impl Fn(&mut BlobDownload<'_, '_>) -> Result<Measured, LoadProblem>,
) -> Result<Measured, RegistryProblem> {
    let mut partial = open(partials, wanted, wire.observer())?;
    loop {
        let resumed = partial.had > 0;
        // The partial file is still unverified.
        let unseen = BlobProgress::default();
        let seen = if resumed { &unseen } else { progress };
        let mut download =
            BlobDownload::new(wire, wanted, &mut partial, seen).map_err(RegistryProblem::Keep)?;
        let measured = read(&mut download);
        let problem = download.problem();
        drop(download);
        if let Some(problem) = problem {
            return Err(problem);
        }
        let measured = measured?;
        if measured.digest() == &wanted.digest {
            link(&partial, staged).map_err(RegistryProblem::Keep)?;
            progress.reached(wanted.size);
            progress.whole();
            return Ok(measured);
        }
        let found = measured.digest().clone();
        // The partial file is useless for other runs, too.
        fs_err::remove_file(&partial.path).map_err(RegistryProblem::Keep)?;
        if !resumed {
            let (what, expected) = (wanted.what.clone(), wanted.digest.clone());
            return Err(LoadProblem::Digest { what, expected, found }.into());
        }
        drop(partial);
        partial = open(partials, wanted, wire.observer())?;
    }
}

fn open(
    partials: &Partials,
    wanted: &BlobRequest,
    observer: &dyn Observer,
) -> Result<Partial, RegistryProblem> {
    let waiting = || {
        let message = format!("waiting for another process that fetches {}", wanted.what);
        observer.event(Event::Note { message });
    };
    partials
        .open(&wanted.digest, wanted.size, waiting, observer)
        .map_err(RegistryProblem::Keep)?
        .ok_or(RegistryExchangeError::Interrupted.into())
}

/// Links a whole blob into the staging folder; the partial file stays for other processes that may
/// be waiting for the blob.
fn link(partial: &Partial, staged: &Path) -> std::io::Result<()> {
    // Filesystems without hard links lose the partial file.
    fs_err::hard_link(&partial.path, staged).or_else(|_error| fs_err::rename(&partial.path, staged))
}

/// Links a blob of the store into the staging folder, so that the content survives a removal there.
/// Returns false if the store lacks the blob.
pub(super) fn blob_of_store(store: &ImageStore, wanted: &BlobRequest, staged: &Path) -> bool {
    let path = store.blob_path(&wanted.digest);
    let right = |path: &Path| {
        fs_err::metadata(path).is_ok_and(|data| data.is_file() && data.len() == wanted.size)
    };
    // Once more by the link: the name may have led to another file between the two.
    right(&path) && fs_err::hard_link(&path, staged).is_ok() && right(staged)
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs_err::create_dir(path)?;
    // Whatever the umask: the unpacker has other ids, and must get to the FIFOs.
    fs_err::set_permissions(path, PermissionsExt::from_mode(0o755))
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Observer that reports an interruption as soon as one blob has failed.
struct Stopping<'a> {
    observer: &'a dyn Observer,
    failed: &'a AtomicBool,
}

impl Observer for Stopping<'_> {
    fn event(&self, event: Event) {
        self.observer.event(event);
    }

    fn is_interrupted(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.observer.is_interrupted()
    }
}
