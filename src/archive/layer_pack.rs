//! Packs a folder in overlay form, an overlay's upper directory, as an image layer: the inverse of
//! `layer`.
//!
//! - A whiteout of `NAME` becomes the entry `.wh.NAME`; an opaque folder gets `.wh..wh..opq`. All
//!   other attributes of overlayfs are left out.
//! - Entries come in byte order of their paths, without `./` and without names of owners. The folder
//!   itself is an entry only if it isn't 0755 of 0:0, as other tools have it.
//! - All times have an upper limit, and the folder's files get the times of their entries: the
//!   folder looks the same as the unpacked layer.
//! - Sockets and devices are left out, as other tools do.
//! - With a single id, all files belong to the caller on disk: then the caller supplies the owners,
//!   given the owner in a file's attribute (see `layer_owners`).

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use tar::{EntryType, Header};

use super::error::PackError;
use super::kept_attributes::is_kept_attribute;
use super::layer_owners::{OWNER_ATTRIBUTE, Ownable, OwnerNote, correct_owner};
use super::layer_scan::{LayerEntry, LayerEntryKind, scan};
use super::limits::ArchiveLimits;
use super::path::EntryPath;
use super::pax::{ExtendedAttribute, attribute_record};
use super::scan::Inode;
use super::tar_block::BLOCK;
use super::tar_write::bare_header;

/// What overlayfs gives files and folders that it copied up from a layer below.
const ORIGIN: &[u8] = b"user.overlay.origin";

/// Mode bit that makes new files in a folder belong to the folder's group.
const SETGID: u32 = 0o2000;

const LONG: usize = 100;
const BUFFER: usize = 256 * 1024;

/// Times of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum EntryTimes {
    /// Own times, with an upper limit in seconds since 1970.
    Latest(u64),
    /// The same time for all entries, as copied files have meaningless times.
    All(u64),
}

/// Owners of a layer's files.
pub enum LayerOwners<'a> {
    /// Owners on disk.
    Disk,
    /// Owners from a function.
    Function {
        /// Function that returns the owner.
        owner: &'a dyn Fn(&Ownable<'_>) -> (u32, u32),
        /// Receives a record for each entry with an owner other than 0:0, in the format of
        /// [`super::UnpackedOwners::Single`].
        record: &'a mut dyn Write,
    },
}

impl std::fmt::Debug for LayerOwners<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Disk => "Disk",
            Self::Function { .. } => "Function",
        })
    }
}

/// Summary of a packed layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PackedLayer {
    /// Number of entries, including whiteouts.
    pub entries: u64,
    /// Number of bytes in all files.
    pub file_bytes: u64,
}

/// Writes a folder in overlay form as a layer's tar. No other process may write to the folder
/// meanwhile. A folder beyond the limits is refused: its layer could not be unpacked.
pub fn pack_layer<W: Write>(
    folder: &Path,
    out: W,
    times: EntryTimes,
    mut owners: LayerOwners<'_>,
    limits: &ArchiveLimits,
) -> Result<(W, PackedLayer), PackError> {
    let mut found = scan(folder, limits)?;
    let bytes = found.iter().map(bytes_of).fold(0, u64::saturating_add);
    if bytes > limits.max_bytes {
        return Err(PackError::TooLarge { bytes, max_bytes: limits.max_bytes });
    }
    let mut tar = LayerTar { out, buffer: vec![0; BUFFER], summary: PackedLayer::default() };
    let mut groups = Groups::default();
    for entry in &mut found {
        if let LayerOwners::Function { owner, record } = &mut owners {
            entry.owner = groups.owner_of(entry, owner);
            // Other kinds cannot have attributes `user.*` (xattr(7)).
            if matches!(entry.kind, LayerEntryKind::Directory | LayerEntryKind::File { .. }) {
                let said = note(&entry.attributes);
                let place = folder.join(entry.path.as_path());
                correct_owner(&place, said, entry.owner).map_err(PackError::Input)?;
            }
            if entry.owner != (0, 0)
                && !matches!(entry.kind, LayerEntryKind::Whiteout | LayerEntryKind::HardLink(_))
            {
                write_record(*record, entry).map_err(PackError::Output)?;
            }
        }
        let mtime = fix_time(folder, entry, times).map_err(PackError::Input)?;
        if entry.path.is_root() && entry.owner == (0, 0) && entry.mode == 0o755 {
            continue;
        }
        tar.entry(folder, entry, mtime)?;
    }
    tar.write(&[0; 2 * BLOCK])?;
    Ok((tar.out, tar.summary))
}

/// Size of a file; holes count.
fn bytes_of(entry: &LayerEntry) -> u64 {
    match entry.kind {
        LayerEntryKind::File { size, .. } => size,
        _ => 0,
    }
}

fn write_record(record: &mut dyn Write, entry: &LayerEntry) -> io::Result<()> {
    write!(record, "{} {} {:04o} ", entry.owner.0, entry.owner.1, entry.mode)?;
    record.write_all(entry.path.as_bytes())?;
    record.write_all(b"\0")
}

fn note(attributes: &[ExtendedAttribute]) -> Option<OwnerNote> {
    let is_note = |(name, _): &&ExtendedAttribute| name == OWNER_ATTRIBUTE.as_bytes();
    attributes.iter().find(is_note).and_then(|(_, value)| OwnerNote::parse(value))
}

/// Groups of the layer's folders that pass their group to new files.
#[derive(Default)]
struct Groups(HashMap<Vec<u8>, u32>);

impl Groups {
    /// Returns the owner of an entry. Folders come before their contents.
    fn owner_of(
        &mut self,
        entry: &LayerEntry,
        owner: &dyn Fn(&Ownable<'_>) -> (u32, u32),
    ) -> (u32, u32) {
        if let LayerEntryKind::Whiteout = entry.kind {
            return (0, 0);
        }
        let above = entry.path.split().map_or(&b""[..], |(above, _)| above);
        let ids = owner(&Ownable {
            path: &entry.path,
            note: note(&entry.attributes),
            is_copied_up: entry.attributes.iter().any(|(name, _)| name == ORIGIN),
            group_of_folder: self.0.get(above).copied(),
        });
        if matches!(entry.kind, LayerEntryKind::Directory) && entry.mode & SETGID != 0 {
            self.0.insert(entry.path.as_bytes().to_vec(), ids.1);
        }
        ids
    }
}

/// Returns the time of an entry, and sets the same time on the file.
fn fix_time(folder: &Path, entry: &LayerEntry, times: EntryTimes) -> io::Result<u64> {
    let own = u64::try_from(entry.mtime.0).unwrap_or(0);
    let time = match times {
        EntryTimes::Latest(latest) => own.min(latest),
        EntryTimes::All(all) => all,
    };
    if matches!(entry.kind, LayerEntryKind::Whiteout) {
        // The time of the removal would make each layer another, and means nothing to a reader.
        return Ok(0);
    }
    let seconds = i64::try_from(time).unwrap_or(i64::MAX);
    if entry.mtime != (seconds, 0) {
        let spec = TimeSpec::new(seconds, 0);
        let place = folder.join(entry.path.as_path());
        utimensat(AT_FDCWD, &place, &spec, &spec, UtimensatFlags::NoFollowSymlink)?;
    }
    Ok(time)
}

struct LayerTar<W> {
    out: W,
    buffer: Vec<u8>,
    summary: PackedLayer,
}

impl<W: Write> LayerTar<W> {
    fn entry(&mut self, folder: &Path, entry: &LayerEntry, mtime: u64) -> Result<(), PackError> {
        let mut name = entry.path.as_bytes().to_vec();
        if matches!(entry.kind, LayerEntryKind::Directory) {
            name.extend_from_slice(if name.is_empty() { b"./" } else { b"/" });
        }
        let (kind, link, size) = match &entry.kind {
            LayerEntryKind::Directory => (EntryType::Directory, &b""[..], 0),
            LayerEntryKind::File { size, .. } => (EntryType::Regular, &b""[..], *size),
            LayerEntryKind::Whiteout => (EntryType::Regular, &b""[..], 0),
            LayerEntryKind::HardLink(target) => (EntryType::Link, target.as_bytes(), 0),
            LayerEntryKind::Symlink(target) => (EntryType::Symlink, target.as_slice(), 0),
            LayerEntryKind::Fifo => (EntryType::Fifo, &b""[..], 0),
        };
        if name.len() >= LONG {
            self.extension(EntryType::GNULongName, b"././@LongLink", &[&name[..], b"\0"].concat())?;
        }
        if link.len() >= LONG {
            self.extension(EntryType::GNULongLink, b"././@LongLink", &[link, b"\0"].concat())?;
        }
        let kept = entry.attributes.iter().filter(|(name, _)| is_kept_attribute(name));
        let records: Vec<u8> = match entry.kind {
            // The file itself has them.
            LayerEntryKind::HardLink(_) => Vec::new(),
            _ => kept.flat_map(|(name, value)| attribute_record(name, value)).collect(),
        };
        if !records.is_empty() {
            self.extension(EntryType::XHeader, b"././@PaxHeader", &records)?;
        }
        let (uid, gid) = entry.owner;
        let head = header(kind, &name, link, size, entry.mode, (uid, gid), mtime);
        self.write(head.as_bytes())?;
        self.summary.entries += 1;
        match entry.kind {
            LayerEntryKind::File { size, inode } => self.content(folder, &entry.path, size, inode),
            _ => Ok(()),
        }
    }

    fn content(
        &mut self,
        folder: &Path,
        path: &EntryPath,
        size: u64,
        inode: Inode,
    ) -> Result<(), PackError> {
        let changed = || PackError::Changed { path: path.clone(), size };
        let opened = super::pack::open(&folder.join(path.as_path()), inode);
        let mut file = opened.map_err(PackError::Input)?.ok_or_else(changed)?;
        let mut left = size;
        loop {
            // Up to the end, past `size`: a file that has grown would otherwise be cut off in
            // silence.
            let count = match file.read(&mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(PackError::Input(error)),
            };
            left = left.checked_sub(count as u64).ok_or_else(changed)?;
            if count == 0 {
                break;
            }
            self.out.write_all(&self.buffer[..count]).map_err(PackError::Output)?;
        }
        if left > 0 {
            return Err(changed());
        }
        self.summary.file_bytes += size;
        self.pad(size)
    }

    fn extension(&mut self, kind: EntryType, name: &[u8], data: &[u8]) -> Result<(), PackError> {
        let size = data.len() as u64;
        self.write(header(kind, name, b"", size, 0o644, (0, 0), 0).as_bytes())?;
        self.write(data)?;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), PackError> {
        let padding = size.next_multiple_of(BLOCK as u64) - size;
        self.write(&[0; BLOCK][..usize::try_from(padding).unwrap_or(0)])
    }

    fn write(&mut self, data: &[u8]) -> Result<(), PackError> {
        self.out.write_all(data).map_err(PackError::Output)
    }
}

fn header(
    kind: EntryType,
    name: &[u8],
    link: &[u8],
    size: u64,
    mode: u32,
    (uid, gid): (u32, u32),
    mtime: u64,
) -> Header {
    let mut header = bare_header(kind, name, link, size, mode, mtime);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_cksum();
    header
}
