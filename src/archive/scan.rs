//! Contents of a folder, in the order of an archive.

use std::collections::HashMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::attributes::Attributes;
use super::error::PackError;
use super::limits::{ArchiveLimits, EntryCount};
use super::path::EntryPath;
use super::pax::CAPABILITY;
use super::tar_outline::TarOutline;
use super::tar_write::entry_bytes;

/// Something in the folder, as it was when the folder was read.
#[derive(Debug)]
pub(super) struct FolderEntry {
    pub(super) path: EntryPath,
    pub(super) kind: FolderEntryKind,
    pub(super) attributes: Attributes,
}

#[derive(Debug)]
pub(super) enum FolderEntryKind {
    Directory,
    File { size: u64, inode: Inode },
    HardLink(EntryPath),
    Symlink(Vec<u8>),
    Fifo,
}

/// Device and inode number of a file.
pub(super) type Inode = (u64, u64);

/// All entries of a folder, the folder first, in byte order of the paths; and the outline of an
/// archive of them. A folder with more entries than `limits` allow is not read to its end.
pub(super) fn scan(
    folder: &Path,
    limits: &ArchiveLimits,
) -> Result<(Vec<FolderEntry>, TarOutline), PackError> {
    let mut count = EntryCount::default();
    let mut found = Vec::new();
    let mut linked = Vec::new();
    let mut special = Vec::new();
    let mut open = vec![EntryPath::root()];
    // The folder itself may be named by a symlink.
    let root = fs_err::metadata(folder).map_err(PackError::Input)?;
    found.push(FolderEntry {
        path: EntryPath::root(),
        kind: FolderEntryKind::Directory,
        attributes: attributes(&root),
    });
    count.add(2, limits).map_err(|limit| PackError::Limit { limit })?;
    while let Some(above) = open.pop() {
        let here = folder.join(above.as_path());
        let failed = |error: io::Error| unread(&above, error);
        for entry in fs_err::read_dir(&here).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let full = entry.path();
            let path = above.join(&EntryPath::trusted(entry.file_name().as_bytes()));
            let metadata = fs_err::symlink_metadata(&full).map_err(failed)?;
            let mut attributes = attributes(&metadata);
            let kind = metadata.file_type();
            let kind = if kind.is_dir() {
                open.push(path.clone());
                FolderEntryKind::Directory
            } else if kind.is_symlink() {
                let target = fs_err::read_link(&full).map_err(PackError::Input)?;
                FolderEntryKind::Symlink(target.into_os_string().into_encoded_bytes())
            } else if kind.is_file() {
                attributes.capability = capability(&full)?;
                let inode = (metadata.dev(), metadata.ino());
                if metadata.nlink() > 1 {
                    linked.push((inode, path.clone()));
                }
                FolderEntryKind::File { size: metadata.len(), inode }
            } else if kind.is_fifo() {
                FolderEntryKind::Fifo
            } else {
                special.push((path, special_name(kind)));
                continue;
            };
            let link = match &kind {
                FolderEntryKind::Symlink(target) => target.len(),
                _ => 0,
            };
            // `./`, and `/` behind the name of a folder.
            let name = path.as_bytes().len() + 3;
            count.add(name + link, limits).map_err(|limit| PackError::Limit { limit })?;
            found.push(FolderEntry { path, kind, attributes });
        }
    }
    if !special.is_empty() {
        // All of them in one message, the same in every run.
        special.sort();
        return Err(PackError::Special(special));
    }
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    mark_hard_links(&mut found, linked);
    let outline = TarOutline::of(found.iter().map(sizes_of));
    Ok((found, outline))
}

/// Makes the error of an unreadable entry in a folder. A path of thousands of bytes is shortened in
/// the message.
pub(super) fn unread(above: &EntryPath, error: io::Error) -> PackError {
    const SHOWN: usize = 200;
    if error.kind() != io::ErrorKind::InvalidFilename {
        return PackError::Input(error);
    }
    let path = above.as_path().to_string_lossy().chars().take(SHOWN).collect();
    PackError::TooDeep { beginning: path }
}

/// The first path of several to one file stays the file; the others become links to it.
fn mark_hard_links(found: &mut [FolderEntry], mut linked: Vec<(Inode, EntryPath)>) {
    linked.sort_unstable();
    let mut first: HashMap<Inode, EntryPath> = HashMap::new();
    for (inode, path) in linked {
        first.entry(inode).or_insert(path);
    }
    for entry in found {
        if let FolderEntryKind::File { inode, .. } = &entry.kind
            && let Some(file) = first.get(inode)
            && *file != entry.path
        {
            entry.kind = FolderEntryKind::HardLink(file.clone());
            entry.attributes.capability = None;
        }
    }
}

/// Sizes with and without headers.
fn sizes_of(found: &FolderEntry) -> (u64, u64) {
    let (directory, link, size) = match &found.kind {
        FolderEntryKind::Directory => (true, 0, 0),
        FolderEntryKind::File { size, .. } => (false, 0, *size),
        FolderEntryKind::HardLink(target) => (false, target.as_bytes().len() + 2, 0),
        FolderEntryKind::Symlink(target) => (false, target.len(), 0),
        FolderEntryKind::Fifo => (false, 0, 0),
    };
    let capability = found.attributes.capability.as_deref();
    (entry_bytes(&found.path, directory, link, size, capability), size)
}

fn attributes(metadata: &std::fs::Metadata) -> Attributes {
    Attributes { mode: metadata.mode() & 0o7777, mtime: metadata.mtime(), capability: None }
}

fn special_name(kind: std::fs::FileType) -> &'static str {
    if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a block device"
    } else {
        "a character device"
    }
}

fn capability(path: &Path) -> Result<Option<Vec<u8>>, PackError> {
    let name = std::ffi::OsStr::from_bytes(CAPABILITY);
    match xattr::get(path, name) {
        Ok(value) => Ok(value.map(without_namespace)),
        Err(error) if error.raw_os_error() == Some(libc::ENOTSUP) => Ok(None),
        Err(error) => {
            let text = format!("reading the capabilities of {}: {error}", path.display());
            Err(PackError::Input(io::Error::new(error.kind(), text)))
        }
    }
}

/// Capabilities given inside a user namespace carry the id of its root (revision 3), which says
/// something of the machine and not of the file: the same without it is revision 2.
pub(super) fn without_namespace(mut value: Vec<u8>) -> Vec<u8> {
    const LENGTH: [usize; 2] = [20, 24];
    if value.len() == LENGTH[1] && value[3] == 3 {
        value[3] = 2;
        value.truncate(LENGTH[0]);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_lose_their_namespace() {
        let mut value = vec![1, 0, 0, 3];
        value.extend_from_slice(&[7; 16]);
        value.extend_from_slice(&100_000_u32.to_le_bytes());
        let plain = without_namespace(value.clone());
        assert_eq!(plain[..4], [1, 0, 0, 2]);
        assert_eq!(plain[4..], value[4..20]);
        assert_eq!(without_namespace(plain.clone()), plain);
    }
}
