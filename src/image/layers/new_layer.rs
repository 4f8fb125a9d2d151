//! New layers: packed from an overlay's upper directory, which then becomes the unpacked layer, so
//! that nothing is unpacked again.

use std::collections::{BTreeSet, HashMap};
use std::fs::Metadata;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use super::error::LayerError;
use super::implied;
use super::look::look;
use super::{LOCK, owners_file, remove_beside};
use crate::archive::{
    ArchiveLimits, EntryPath, EntryTimes, FileIdentity, LayerOwners, Ownable, OwnerNote, PackError,
    PackedLayer, pack_layer,
};
use crate::base::atomic::{self, TEMPORARY_PREFIX};
use crate::base::lock::FileLock;
use crate::base::regular::read_own;
use crate::base::tap::Tap;
use crate::base::threaded_hasher::ThreadedHasher;
use crate::image::compression::LayerCompression;
use crate::image::digest::DiffId;
use crate::image::store::BuiltLayer;

/// Compression level of layers: the fastest, as most layers never leave the machine. Level 1 takes
/// a third of the time of 6 for a tenth more bytes.
const LEVEL: u32 = 1;

/// Digests and sizes of a packed layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLayer {
    /// The layer.
    pub layer: BuiltLayer,
    /// Contents.
    pub packed: PackedLayer,
}

/// Packs an upper directory as a layer into a file, which becomes a gzip blob with reproducible
/// bytes. With `owners`, owners on disk are ignored, since only a single id exists; then the owners
/// are recorded beside the layer in the format of [`super::ensure_unpacked`].
pub fn write_layer(
    upper: &Path,
    blob: std::fs::File,
    times: EntryTimes,
    owners: Option<&KnownOwners>,
    limits: &ArchiveLimits,
) -> Result<NewLayer, PackError> {
    let (mut plain, mut stored, mut size) = (ThreadedHasher::new(), ThreadedHasher::new(), 0);
    let out = Tap::new(BufWriter::with_capacity(1 << 18, blob), |bytes: &[u8]| {
        stored.update(bytes);
        size += bytes.len() as u64;
    });
    // Without name and time in the header (RFC 1952, 2.3), which is what keeps the bytes
    // reproducible.
    let gzip = flate2::GzBuilder::new().write(out, flate2::Compression::new(LEVEL));
    let out = Tap::new(gzip, |bytes: &[u8]| plain.update(bytes));
    let (out, packed) = match owners {
        None => pack_layer(upper, out, times, LayerOwners::Disk, limits)?,
        Some(owners) => {
            let file = fs_err::File::create(owners_file(upper)).map_err(PackError::Output)?;
            let mut record = BufWriter::new(file);
            let owner = |entry: &Ownable<'_>| owners.of_made(upper, entry);
            let recorded = LayerOwners::Function { owner: &owner, record: &mut record };
            let packed = pack_layer(upper, out, times, recorded, limits)?;
            record.flush().map_err(PackError::Output)?;
            packed
        }
    };
    let out = out.into_inner().finish().map_err(PackError::Output)?;
    out.into_inner().flush().map_err(PackError::Output)?;
    let layer = BuiltLayer {
        digest: stored.finish().into(),
        size,
        compression: LayerCompression::Gzip,
        diff_id: plain.finish().into(),
    };
    Ok(NewLayer { layer, packed })
}

/// Makes a packed upper directory the unpacked layer, with the files beside it. Returns `false` if
/// the folders are on two filesystems or the step has closed its root; then the layer is unpacked
/// when needed.
pub fn adopt(folder: &Path, upper: &Path, diff_id: &DiffId) -> Result<bool, LayerError> {
    let fail = |source| LayerError::Folder { folder: folder.to_owned(), source };
    let place = folder.join(diff_id.hex());
    make_lock(folder).map_err(fail)?;
    let _lock = FileLock::acquire(&folder.join(LOCK), || ()).map_err(fail)?;
    // Another build made the same layer meanwhile.
    if place.is_dir() {
        return Ok(true);
    }
    let take = || -> io::Result<()> {
        // Before the layer has its name, for the same reason as with unpacked ones.
        nix::unistd::syncfs(fs_err::File::open(upper)?)?;
        // First: a layer that is there without its owners would give all of its files to root.
        match fs_err::rename(owners_file(upper), owners_file(&place)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs_err::rename(upper, &place)?;
        atomic::sync_folder(folder)
    };
    match take() {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::debug!(%error, layer = %diff_id, "a made layer will be unpacked when needed");
            remove_beside(&place).map_err(fail)?;
            Ok(false)
        }
    }
}

/// Makes the lock file, if missing, such that a container's root may take the lock, too: the
/// container's root is another user on the machine, and the folder belongs to that user.
fn make_lock(folder: &Path) -> io::Result<()> {
    let path = folder.join(LOCK);
    if path.exists() {
        return Ok(());
    }
    let file = tempfile::Builder::new().prefix(TEMPORARY_PREFIX).tempfile_in(folder)?;
    let (owner, made) = (fs_err::metadata(folder)?, file.as_file().metadata()?);
    if owner.uid() != made.uid() {
        fchown(file.as_file(), Some(owner.uid()), Some(owner.gid()))?;
    }
    // Never replacing: another process may hold a lock on the file that is there.
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// User and group by path.
type OwnerRecords = HashMap<Vec<u8>, (u32, u32)>;

/// Owners recorded for a layer under construction.
#[derive(Debug, Default)]
pub struct StepOwners {
    /// Owner of the step's files without a recorded owner.
    pub maker: (u32, u32),
    /// Owners of symlinks and other files that cannot have extended attributes.
    pub notes: HashMap<FileIdentity, OwnerNote>,
}

/// Owners of files in layers that were unpacked or made with one id.
#[derive(Debug)]
pub struct KnownOwners {
    /// Owners recorded for the layer under construction.
    recorded: OwnerRecords,
    step_owners: StepOwners,
    /// Layers, highest first, with their owner records and implied folders.
    layers: Vec<(PathBuf, OwnerRecords, BTreeSet<PathBuf>)>,
}

impl KnownOwners {
    /// Reads the files beside layers, lowest layer first.
    pub fn read(layers: &[PathBuf]) -> io::Result<Self> {
        let layer = |layer: &PathBuf| Ok((layer.clone(), records(layer)?, implied::read(layer)?));
        let layers = layers.iter().rev().map(layer);
        let layers = layers.collect::<io::Result<_>>()?;
        Ok(Self { recorded: HashMap::new(), step_owners: StepOwners::default(), layers })
    }

    /// Records the owner of a path in the layer under construction.
    pub fn record(&mut self, path: &Path, owner: (u32, u32)) {
        self.recorded.insert(path.as_os_str().as_encoded_bytes().to_vec(), owner);
    }

    /// Sets the owners recorded while the layer was made.
    pub fn made_by(&mut self, step_owners: StepOwners) {
        self.step_owners = step_owners;
    }

    /// Owner of a path in the highest layer with that path; root, if no layer has the path.
    pub fn of(&self, path: &EntryPath) -> (u32, u32) {
        self.below(path).map_or((0, 0), |below| below.owner)
    }

    /// Owner of an entry of the layer under construction, in `upper`.
    fn of_made(&self, upper: &Path, entry: &Ownable<'_>) -> (u32, u32) {
        if let Some(owner) = self.recorded.get(entry.path.as_bytes()) {
            return *owner;
        }
        let below = self.below(entry.path);
        let place = upper.join(entry.path.as_path());
        let data = fs_err::symlink_metadata(&place);
        let is_old = entry.is_copied_up
            || entry.path.is_root()
            || match (&below, &data) {
                (Some(below), Ok(data)) => below.may_be(data, &place),
                _ => false,
            };
        let replaced = below.as_ref().map(|below| below.owner);
        let own = if is_old {
            replaced.unwrap_or((0, 0))
        } else {
            let (user, group) = self.step_owners.maker;
            (user, entry.group_of_folder.unwrap_or(group))
        };
        let known = || self.step_owners.notes.get(&FileIdentity::of(data.as_ref().ok()?)).copied();
        match entry.note.or_else(known) {
            Some(note) => note.resolve(replaced, own),
            None => own,
        }
    }

    /// Looks a path up in the layers below. Of a folder that a layer only implies, the lower layers decide.
    fn below(&self, path: &EntryPath) -> Option<Below> {
        let mut shown = None;
        for (layer, records, implied) in &self.layers {
            let Ok(look) = look(layer, path.as_path()) else { continue };
            if let Some((place, data)) = look.found {
                // A file says nothing of a folder above it.
                if shown.is_some() && !data.is_dir() {
                    break;
                }
                let is_implied = data.is_dir() && implied.contains(path.as_path());
                let owner = records.get(path.as_bytes()).copied().unwrap_or((0, 0));
                let found = Below { place, data, owner };
                if !is_implied {
                    return Some(found);
                }
                shown.get_or_insert(found);
            }
            if look.hides {
                break;
            }
        }
        shown
    }
}

/// Entry of a lower layer at a path.
struct Below {
    place: PathBuf,
    data: Metadata,
    owner: (u32, u32),
}

impl Below {
    /// True if an entry of the layer above may be a copy of this one without overlayfs's origin
    /// attribute, which is missing on files with several names and on files that cannot have
    /// attributes.
    fn may_be(&self, made: &Metadata, place: &Path) -> bool {
        let (kind, own) = (made.file_type(), self.data.file_type());
        if kind != own {
            return false;
        }
        if kind.is_symlink() {
            let target = |place: &Path| fs_err::read_link(place).ok();
            return target(place) == target(&self.place);
        }
        if kind.is_file() {
            return self.data.nlink() > 1;
        }
        !kind.is_dir()
    }
}

fn records(layer: &Path) -> io::Result<OwnerRecords> {
    let bytes = match read_own(&owners_file(layer)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        read => read?,
    };
    let record = |record: &[u8]| {
        // The path comes last, as it may have blanks; names may have anything but NUL, which
        // separates.
        let mut parts = record.splitn(4, |byte| *byte == b' ');
        let mut id = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
        let owner = (id()?, id()?);
        let path = parts.nth(1)?;
        Some((path.to_vec(), owner))
    };
    Ok(bytes.split(|byte| *byte == 0).filter_map(record).collect())
}
