//! Scan of a folder in overlay form for the entries of a layer: the first half of packing.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::error::PackError;
use super::kept_attributes::is_read_attribute;
use super::limits::{ArchiveLimits, EntryCount};
use super::overlay_form::{OPAQUE, WHITEOUT};
use super::path::EntryPath;
use super::pax::{CAPABILITY, ExtendedAttribute};
use super::scan::{Inode, unread, without_namespace};

/// An entry.
pub(super) struct LayerEntry {
    pub(super) path: EntryPath,
    pub(super) kind: LayerEntryKind,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: (i64, i64),
    pub(super) attributes: Vec<ExtendedAttribute>,
}

/// Type of an entry.
pub(super) enum LayerEntryKind {
    Directory,
    File { size: u64, inode: Inode },
    HardLink(EntryPath),
    Symlink(Vec<u8>),
    Fifo,
    Whiteout,
}

/// All entries of the layer, in their order. A folder with more than `limits` allow is not read to its end.
pub(super) fn scan(folder: &Path, limits: &ArchiveLimits) -> Result<Vec<LayerEntry>, PackError> {
    let mut count = EntryCount::default();
    let mut found: Vec<LayerEntry> =
        look(folder, EntryPath::root())?.into_iter().map(|(entry, _)| entry).collect();
    let opaque = found.first().and_then(opaque_mark);
    found.extend(opaque);
    let mut linked = Vec::new();
    let mut open = vec![EntryPath::root()];
    while let Some(above) = open.pop() {
        let failed = |error: io::Error| unread(&above, error);
        for entry in fs_err::read_dir(folder.join(above.as_path())).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let path = above.join(&EntryPath::trusted(name.as_bytes()));
            // A reader would take the file for a whiteout: better an error than a layer that
            // removes something.
            if name.as_bytes().starts_with(b".wh.") {
                let what = "called what layers call something removed";
                return Err(PackError::Special(vec![(path, what)]));
            }
            let Some((entry, links)) = look(folder, path)? else { continue };
            if let (LayerEntryKind::File { inode, .. }, true) = (&entry.kind, links > 1) {
                linked.push((*inode, entry.path.clone()));
            }
            if matches!(entry.kind, LayerEntryKind::Directory) {
                open.push(entry.path.clone());
                found.extend(opaque_mark(&entry));
            }
            let link = match &entry.kind {
                LayerEntryKind::Symlink(target) => target.len(),
                _ => 0,
            };
            // `/` behind the name of a folder.
            let name = entry.path.as_bytes().len() + 1;
            count.add(name + link, limits).map_err(|limit| PackError::Limit { limit })?;
            found.push(entry);
        }
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    mark_hard_links(&mut found, linked);
    Ok(found)
}

/// Returns the entry at a path, with its number of links; `None` for types that a layer cannot
/// hold.
fn look(folder: &Path, path: EntryPath) -> Result<Option<(LayerEntry, u64)>, PackError> {
    let full = folder.join(path.as_path());
    let data = fs_err::symlink_metadata(&full).map_err(|error| unread(&path, error))?;
    let kind = data.file_type();
    let mut mode = data.mode() & 0o7777;
    let kind = if kind.is_dir() {
        LayerEntryKind::Directory
    } else if kind.is_symlink() {
        // The mode of a symlink has no meaning in Linux (symlink(7)), and not every filesystem
        // stores this one.
        mode = 0o777;
        let target = fs_err::read_link(&full).map_err(PackError::Input)?;
        LayerEntryKind::Symlink(target.into_os_string().into_encoded_bytes())
    } else if kind.is_file() {
        LayerEntryKind::File { size: data.len(), inode: (data.dev(), data.ino()) }
    } else if kind.is_fifo() {
        LayerEntryKind::Fifo
    } else if kind.is_char_device() && data.rdev() == 0 {
        mode = 0;
        LayerEntryKind::Whiteout
    } else {
        return Ok(None);
    };
    let attributes = match kind {
        LayerEntryKind::Directory | LayerEntryKind::File { .. } => attributes(&full)?,
        _ => Vec::new(),
    };
    let is_marked = |(name, _): &ExtendedAttribute| name == WHITEOUT.as_bytes();
    let kind = match kind {
        LayerEntryKind::File { size: 0, .. } if attributes.iter().any(is_marked) => {
            mode = 0;
            LayerEntryKind::Whiteout
        }
        kind => kind,
    };
    let (owner, mtime) = ((data.uid(), data.gid()), (data.mtime(), data.mtime_nsec()));
    let path = match kind {
        LayerEntryKind::Whiteout => whiteout(&path),
        _ => path,
    };
    Ok(Some((LayerEntry { path, kind, mode, owner, mtime, attributes }, data.nlink())))
}

fn whiteout(path: &EntryPath) -> EntryPath {
    let Some((above, name)) = path.split() else { return path.clone() };
    EntryPath::trusted(above).join(&EntryPath::trusted(&[b".wh.", name].concat()))
}

/// Returns the entry that marks a folder as opaque, if needed.
fn opaque_mark(folder: &LayerEntry) -> Option<LayerEntry> {
    let hides = |(name, value): &ExtendedAttribute| name == OPAQUE.as_bytes() && value == b"y";
    let is_opaque = folder.attributes.iter().any(hides);
    is_opaque.then(|| LayerEntry {
        path: folder.path.join(&EntryPath::trusted(b".wh..wh..opq")),
        kind: LayerEntryKind::Whiteout,
        mode: 0,
        owner: (0, 0),
        mtime: (0, 0),
        attributes: Vec::new(),
    })
}

/// Returns the extended attributes of overlayfs, and those that a layer keeps.
fn attributes(path: &Path) -> Result<Vec<ExtendedAttribute>, PackError> {
    let failed = |error: io::Error| {
        let text = format!("reading the attributes of {}: {error}", path.display());
        PackError::Input(io::Error::new(error.kind(), text))
    };
    let names = match xattr::list(path) {
        Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => return Ok(Vec::new()),
        listed => listed.map_err(failed)?,
    };
    let mut found = Vec::new();
    for name in names {
        let bytes = name.as_bytes();
        if !is_read_attribute(bytes) {
            continue;
        }
        let Some(value) = xattr::get(path, &name).map_err(failed)? else { continue };
        let value = if bytes == CAPABILITY { without_namespace(value) } else { value };
        found.push((bytes.to_vec(), value));
    }
    found.sort_unstable();
    Ok(found)
}

/// The first path of several to one file stays the file; the others become links to it.
fn mark_hard_links(found: &mut [LayerEntry], mut linked: Vec<(Inode, EntryPath)>) {
    // By path: the order in which the filesystem lists them must not decide which one is the file.
    linked.sort_unstable();
    let mut first = HashMap::new();
    for (inode, path) in linked {
        first.entry(inode).or_insert(path);
    }
    for entry in found {
        if let LayerEntryKind::File { inode, .. } = &entry.kind
            && let Some(file) = first.get(inode)
            && *file != entry.path
        {
            entry.kind = LayerEntryKind::HardLink(file.clone());
        }
    }
}
