//! Unpacks an image layer into the form that overlayfs takes as a layer, mounted with `userxattr`.
//!
//! - A whiteout `.wh.NAME` hides `NAME`, `.wh..wh..opq` the content of its folder, as in
//!   `overlay_form`. Other names with `.wh..wh.` are AUFS's, and are ignored; but hard links may
//!   lead to files in `.wh..wh.plnk`, which exist until the layer is complete. Deletions apply to
//!   the layers below, never to the layer itself.
//! - A later entry replaces an earlier one of the same path; a folder is replaced with all its
//!   contents.
//! - Symlinks made by the layer itself are resolved below its root. Symlinks of the layers below
//!   are invisible: each layer is unpacked on its own.
//! - Devices are not made, since no user namespace permits them; containers get a `/dev` of their
//!   own. An entry replaced by a device is hidden, and a hard link to a device is left out as well.
//! - Attributes of overlayfs's own, which rootless builders left in layers for years, are left out.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::Path;

use super::destination::{EntryMetadata, UnpackFolder};
use super::error::{ReadError, UnpackError};
use super::folders::{FolderAttributes, UnpackRules};
use super::kept_attributes::is_kept_attribute;
use super::layer_owners::{OWNER_ATTRIBUTE, OwnerNote};
use super::limits::ArchiveLimits;
use super::overlay_form::Whiteouts;
use super::path::{EntryPath, NameProblem};
use super::pax::{CAPABILITY, ExtendedAttribute, can_be_capability};
use super::read::symlink_target;
use super::tar_read::{MemberKind, TarMember, TarReader};
use super::write_error::OwnerIds;
use crate::base::removal::remove_at;

const WHITEOUT: &[u8] = b".wh.";
const AUFS: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Folder in which AUFS keeps files with several hard links.
const LINKED: &str = ".wh..wh.plnk";

/// Upper limit of left out devices whose paths are kept.
const NAMED_DEVICES: usize = 64;

/// Options for unpacking a layer.
#[derive(Debug)]
pub struct LayerOptions<'a> {
    /// True if whiteout names are plain names, as in an archive that is not a layer.
    pub is_plain: bool,
    /// Limits of the unpacked size.
    pub limits: ArchiveLimits,
    /// Owners of the files.
    pub owners: UnpackedOwners<'a>,
    /// Treatment of the layer's whiteouts.
    pub whiteouts: Whiteouts,
}

/// Owners of a layer's files.
pub enum UnpackedOwners<'a> {
    /// Owners as in the layer. An id that is missing in the user namespace is an error.
    Mapped,
    /// The caller; owners in the layer are ignored.
    Caller,
    /// The caller, in a user namespace with a single id. For each entry with an owner other than
    /// 0:0, a record `UID GID MODE PATH` is written, the mode as octal digits, with a NUL at its
    /// end; of two records for one path, the later one counts. Files and folders have the owner as
    /// an extended attribute, too.
    Single(&'a mut dyn Write),
}

impl std::fmt::Debug for UnpackedOwners<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mapped => "Mapped",
            Self::Caller => "Caller",
            Self::Single(_) => "Single",
        })
    }
}

/// Summary of an unpacked layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LayerSummary {
    /// Number of entries.
    pub entries: u64,
    /// Number of bytes in all files; hard links count once.
    pub file_bytes: u64,
    /// Number of whiteouts, including opaque folders.
    pub whiteouts: u64,
    /// Number of devices that are left out.
    pub devices: u64,
    /// Paths of the first 64 devices.
    pub device_paths: Vec<EntryPath>,
    /// Number of extended attributes of unsupported kinds.
    pub attributes_dropped: u64,
    /// Number of extended attributes that could not be set.
    pub attributes_lost: u64,
    /// Folders without an entry, made with mode 0755: mode and owner would have to be copied from a
    /// layer below, if present there.
    pub implied_folders: Vec<EntryPath>,
    /// Folders with whiteouts.
    pub whiteout_folders: Vec<EntryPath>,
}

/// Unpacks the tar of a layer, already decompressed, into a folder, which is made if missing and
/// must otherwise be empty. The reader is read to its end, so that a digest of its bytes is
/// complete. After an error the folder has a part of the layer, which the caller must remove.
pub fn unpack_layer(
    layer: impl Read,
    folder: &Path,
    options: LayerOptions<'_>,
) -> Result<LayerSummary, UnpackError> {
    let LayerOptions { is_plain, limits, owners, whiteouts } = options;
    let mut tar = TarReader::new(layer, &limits);
    let mut destination = UnpackFolder::open(folder, UnpackRules::Layer, &limits)?;
    destination.hiding.whiteouts = whiteouts;
    let summary = LayerSummary::default();
    let (devices, recorded) = (HashSet::new(), HashMap::new());
    let mut unpacking =
        Unpacking { is_plain, destination, owners, summary, devices, recorded, has_linked: false };
    let owner = matches!(unpacking.owners, UnpackedOwners::Mapped).then_some((0, 0));
    // Until an entry describes it.
    let root = FolderAttributes { mode: 0o755, mtime: 0, owner, implied: true };
    unpacking.destination.folders.describe(&EntryPath::root(), root);
    while let Some(member) = tar.next_member()? {
        unpacking.member(member, &mut tar)?;
    }
    // To the end: the caller computes a digest of all bytes.
    tar.finish()?;
    unpacking.summary.attributes_lost = unpacking.destination.attributes_lost;
    if unpacking.has_linked {
        let linked = OsStr::new(LINKED);
        let root = unpacking.destination.folders.find(b"").map_err(io::Error::from);
        root.and_then(|root| remove_at(root, linked)).map_err(|source| {
            let (path, action) = (EntryPath::trusted(LINKED.as_bytes()), "removing it");
            UnpackError::Write { path, action, source }
        })?;
    }
    let finished = unpacking.destination.finish()?;
    unpacking.summary.implied_folders = finished.implied_folders;
    unpacking.summary.whiteout_folders = finished.whiteout_folders;
    Ok(unpacking.summary)
}

struct Unpacking<'a> {
    is_plain: bool,
    destination: UnpackFolder,
    owners: UnpackedOwners<'a>,
    summary: LayerSummary,
    /// Left out devices, and hard links to them.
    devices: HashSet<EntryPath>,
    /// Last record of each path.
    recorded: HashMap<EntryPath, OwnerRecord>,
    /// True if the folder of AUFS exists, which is removed in the end.
    has_linked: bool,
}

/// Owner of an entry, for the record in the single-id tier.
#[derive(Debug, Clone, Copy)]
struct OwnerRecord {
    mode: u32,
    ids: (u64, u64),
    /// True if the entry can have the owner as an attribute: symlinks and FIFOs cannot.
    can_have_attribute: bool,
}

/// Meaning of an entry's name.
enum NameMeaning {
    /// An ordinary path.
    Entry(EntryPath),
    /// A whiteout of this path.
    Whiteout(EntryPath),
    /// The mark that this folder is opaque.
    Opaque(EntryPath),
    /// AUFS's folder of files with several hard links, or a file in there.
    Linked(EntryPath),
    /// Any other name of AUFS's own.
    Ignored,
}

impl Unpacking<'_> {
    fn member(&mut self, member: TarMember, content: impl Read) -> Result<(), UnpackError> {
        self.summary.entries += 1;
        let meaning = if self.is_plain {
            NameMeaning::Entry(cleaned(&member.name)?)
        } else {
            meaning(&member.name)?
        };
        let path = match &meaning {
            NameMeaning::Entry(path)
            | NameMeaning::Whiteout(path)
            | NameMeaning::Opaque(path)
            | NameMeaning::Linked(path) => path,
            NameMeaning::Ignored => return Ok(()),
        };
        // Some programs write an empty file without a name first. Docker leaves it out too.
        if matches!(&meaning, NameMeaning::Entry(path) if path.is_root())
            && member.kind == MemberKind::File
            && member.size == 0
        {
            return Ok(());
        }
        let is_linked = matches!(meaning, NameMeaning::Linked(_));
        if is_linked && !matches!(member.kind, MemberKind::File | MemberKind::Directory) {
            return Ok(());
        }
        self.has_linked |= is_linked;
        let mut attributes = Vec::new();
        if matches!(meaning, NameMeaning::Entry(_) | NameMeaning::Linked(_)) {
            attributes = self.kept(member.kind, member.attributes);
            attributes.extend(self.note(member.kind, member.uid, member.gid));
        }
        let owner = match self.owners {
            UnpackedOwners::Mapped => Some(mapped(path, member.uid, member.gid)?),
            UnpackedOwners::Caller | UnpackedOwners::Single(_) => None,
        };
        let (mode, mtime) = (member.mode, member.mtime);
        let with = EntryMetadata { mode, mtime, owner, attributes: &attributes };
        match &meaning {
            NameMeaning::Whiteout(path) => {
                self.summary.whiteouts += 1;
                return self.destination.whiteout(path, &with);
            }
            NameMeaning::Opaque(path) => {
                self.summary.whiteouts += 1;
                return self.destination.opaque(path, &with);
            }
            NameMeaning::Entry(_) | NameMeaning::Linked(_) | NameMeaning::Ignored => {}
        }
        match member.kind {
            MemberKind::Directory => self.destination.directory(path, &with)?,
            MemberKind::File => {
                self.destination.file(path, member.size, content, &with)?;
                self.summary.file_bytes += member.size;
            }
            MemberKind::Symlink => {
                self.destination.symlink(path, &symlink_target(member.link)?, &with)?;
            }
            MemberKind::Fifo => self.destination.fifo(path, &with)?,
            MemberKind::HardLink => {
                let target = cleaned(&member.link)?;
                if self.devices.contains(&target) {
                    return self.leave_out(path, &with);
                }
                self.devices.remove(path);
                self.destination.hard_link(path, &target, &with)?;
                // The link's target has its owner already, unless the target's name is removed.
                if !is_of_linked(&target) {
                    return self.record_hard_link(path, &target);
                }
            }
            MemberKind::CharacterDevice | MemberKind::BlockDevice => {
                return self.leave_out(path, &with);
            }
        }
        self.devices.remove(path);
        let can_have_attribute = !matches!(member.kind, MemberKind::Symlink | MemberKind::Fifo);
        let recorded = OwnerRecord { mode, ids: (member.uid, member.gid), can_have_attribute };
        if is_linked { Ok(()) } else { self.record(path, recorded) }
    }

    /// Leaves out a device, or a hard link to a device; the replaced file is removed nevertheless.
    fn leave_out(&mut self, path: &EntryPath, with: &EntryMetadata<'_>) -> Result<(), UnpackError> {
        self.summary.devices += 1;
        if self.summary.device_paths.len() < NAMED_DEVICES {
            self.summary.device_paths.push(path.clone());
        }
        self.devices.insert(path.clone());
        if self.is_plain { Ok(()) } else { self.destination.hide(path, with) }
    }

    /// Records an owner that cannot be set on disk. Root is recorded only in place of an earlier owner of the
    /// same path.
    fn record(&mut self, path: &EntryPath, recorded: OwnerRecord) -> Result<(), UnpackError> {
        let UnpackedOwners::Single(record) = &mut self.owners else { return Ok(()) };
        let OwnerRecord { mode, ids, .. } = recorded;
        if ids == (0, 0) && !self.recorded.contains_key(path) {
            return Ok(());
        }
        self.recorded.insert(path.clone(), recorded);
        write!(record, "{} {} {mode:04o} ", ids.0, ids.1)
            .and_then(|()| record.write_all(path.as_bytes()))
            .and_then(|()| record.write_all(b"\0"))
            .map_err(UnpackError::Record)
    }

    /// Records the owner of a hard link. A file has its owner as an attribute, so its further names need a
    /// record only in place of an earlier one.
    fn record_hard_link(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
    ) -> Result<(), UnpackError> {
        let of_root = OwnerRecord { mode: 0o644, ids: (0, 0), can_have_attribute: true };
        let recorded = self.recorded.get(target).copied().unwrap_or(of_root);
        if recorded.can_have_attribute && !self.recorded.contains_key(path) {
            return Ok(());
        }
        self.record(path, recorded)
    }

    /// Returns the attribute with the owner of a file or folder, in the single-id tier.
    fn note(&self, kind: MemberKind, uid: u64, gid: u64) -> Option<ExtendedAttribute> {
        let can_have_attribute = matches!(kind, MemberKind::File | MemberKind::Directory);
        let needs_note = matches!(self.owners, UnpackedOwners::Single(_)) && (uid, gid) != (0, 0);
        let ids = (u32::try_from(uid).ok()?, u32::try_from(gid).ok()?);
        let name = OWNER_ATTRIBUTE.as_bytes().to_vec();
        (can_have_attribute && needs_note)
            .then(|| (name, OwnerNote::of(ids).to_string().into_bytes()))
    }

    /// Returns the attributes that layers keep, and counts the dropped ones: those of files and folders, and
    /// capabilities of files only.
    fn kept(
        &mut self,
        kind: MemberKind,
        attributes: Vec<ExtendedAttribute>,
    ) -> Vec<ExtendedAttribute> {
        let count = attributes.len();
        let mut kept = Vec::new();
        for (name, value) in attributes {
            let fits = match kind {
                MemberKind::File if name == CAPABILITY => can_be_capability(&value),
                MemberKind::File => true,
                MemberKind::Directory => name != CAPABILITY,
                _ => false,
            };
            if fits && is_kept_attribute(&name) {
                kept.push((name, value));
            }
        }
        self.summary.attributes_dropped += (count - kept.len()) as u64;
        kept
    }
}

fn mapped(path: &EntryPath, uid: u64, gid: u64) -> Result<OwnerIds, UnpackError> {
    // The highest number means "unchanged" to the kernel.
    let id = |id: u64| u32::try_from(id).ok().filter(|id| *id != u32::MAX);
    let missing = || UnpackError::OwnerNotMapped { path: path.clone(), uid, gid };
    Ok((id(uid).ok_or_else(missing)?, id(gid).ok_or_else(missing)?))
}

/// Parses a name below the layer's root; absolute names start at the root. An empty name is the
/// root's, as for GNU tar.
fn cleaned(name: &[u8]) -> Result<EntryPath, ReadError> {
    // Docker's and containerd's unpackers join any name to the root.
    let start = name.iter().position(|byte| *byte != b'/').unwrap_or(name.len());
    let below = if start == name.len() { b"." } else { &name[start..] };
    EntryPath::parse(below).map_err(|problem| ReadError::name(name, problem))
}

/// True for AUFS's folder of files with several names, and for its entries.
fn is_of_linked(path: &EntryPath) -> bool {
    path.parts().next() == Some(LINKED.as_bytes())
        && path.parts().skip(1).all(|part| !part.starts_with(WHITEOUT))
}

/// Interprets a name. Names below a whiteout, and whiteouts of nothing, are errors.
fn meaning(name: &[u8]) -> Result<NameMeaning, ReadError> {
    let path = cleaned(name)?;
    if is_of_linked(&path) {
        return Ok(NameMeaning::Linked(path));
    }
    let Some((above, last)) = path.split() else { return Ok(NameMeaning::Entry(path)) };
    let above = EntryPath::trusted(above);
    if above.parts().any(|part| part.starts_with(AUFS)) {
        return Ok(NameMeaning::Ignored);
    }
    let nothing = || ReadError::name(name, NameProblem::Whiteout);
    if above.parts().any(|part| part.starts_with(WHITEOUT)) {
        return Err(nothing());
    }
    if last == OPAQUE {
        return Ok(NameMeaning::Opaque(above));
    }
    if last.starts_with(AUFS) {
        return Ok(NameMeaning::Ignored);
    }
    match last.strip_prefix(WHITEOUT) {
        None => Ok(NameMeaning::Entry(path)),
        Some(b"" | b"." | b"..") => Err(nothing()),
        Some(hidden) => Ok(NameMeaning::Whiteout(above.join(&EntryPath::trusted(hidden)))),
    }
}
