//! Names of a package's files, and the targets of its links inside.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use super::INSTALL_ROOT;
use crate::archive::{EntryKind, EntryPath, PackageIndex};
use crate::package::PackageId;

/// As many links as the kernel follows in one path.
const MOST_LINKS: usize = 40;

/// Type of the entry at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ListedKind {
    Directory,
    File,
    Link(Vec<u8>),
    Other,
}

/// Entries of a package by path, in byte order.
#[derive(Debug, Clone, Default)]
pub(super) struct PackageListing(BTreeMap<EntryPath, ListedKind>);

impl PackageListing {
    pub(super) fn of_index(index: &PackageIndex) -> Self {
        let mut listing = Self::default();
        for entry in index.entries.iter().filter(|entry| !entry.path.is_root()) {
            let kind = match &entry.kind {
                EntryKind::Directory => ListedKind::Directory,
                EntryKind::File { .. } | EntryKind::HardLink { .. } => ListedKind::File,
                EntryKind::Symlink { target } => ListedKind::Link(target.clone()),
                EntryKind::Fifo => ListedKind::Other,
            };
            // Other tools' archives may leave folders out that the names in them imply.
            let mut path = entry.path.clone();
            while let Some(folder) = path.split().and_then(|(up, _)| EntryPath::parse(up).ok()) {
                listing.0.entry(folder.clone()).or_insert(ListedKind::Directory);
                path = folder;
            }
            listing.0.insert(entry.path.clone(), kind);
        }
        listing
    }

    /// Lists the names in a folder, and in those subfolders that `enter` selects.
    pub(super) fn of_directory(root: &Path, enter: impl Fn(&[u8]) -> bool) -> io::Result<Self> {
        let mut listing = Self::default();
        let mut open = vec![EntryPath::root()];
        while let Some(folder) = open.pop() {
            for entry in fs_err::read_dir(root.join(folder.as_path()))? {
                let entry = entry?;
                let name =
                    EntryPath::parse(entry.file_name().as_bytes()).map_err(io::Error::other)?;
                let path = folder.join(&name);
                let file_type = entry.file_type()?;
                let kind = if file_type.is_dir() {
                    if !folder.is_root() || enter(path.as_bytes()) {
                        open.push(path.clone());
                    }
                    ListedKind::Directory
                } else if file_type.is_symlink() {
                    ListedKind::Link(fs_err::read_link(entry.path())?.into_os_string().into_vec())
                } else if file_type.is_file() {
                    ListedKind::File
                } else {
                    ListedKind::Other
                };
                listing.0.insert(path, kind);
            }
        }
        Ok(listing)
    }

    pub(super) fn get(&self, path: &EntryPath) -> Option<&ListedKind> {
        self.0.get(path)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&EntryPath, &ListedKind)> {
        self.0.iter()
    }

    /// All entries below a folder, by relative path, in byte order.
    pub(super) fn below(&self, folder: &EntryPath) -> Vec<(EntryPath, &ListedKind)> {
        let prefix = [folder.as_bytes(), b"/"].concat();
        let after = self.0.range(folder.clone()..);
        after
            .skip_while(|(path, _)| path.as_bytes() < prefix.as_slice())
            .take_while(|(path, _)| path.as_bytes().starts_with(&prefix))
            .filter_map(|(path, kind)| {
                Some((EntryPath::parse(&path.as_bytes()[prefix.len()..]).ok()?, kind))
            })
            .collect()
    }

    /// Resolves a path through all links; `None` if the target is outside of the package. Absolute
    /// links lead inside if they name the package's install path.
    pub(super) fn resolve(&self, id: &PackageId, path: &EntryPath) -> Option<EntryPath> {
        let own = format!("{INSTALL_ROOT}/packages/{id}");
        let mut links = 0;
        let mut left: Vec<Vec<u8>> = path.parts().map(<[u8]>::to_vec).collect();
        // A stack: the next part is its last item, so that parts of a link's target can be put in
        // front.
        left.reverse();
        let mut here: Vec<Vec<u8>> = Vec::new();
        while let Some(part) = left.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    // Above the package's own folder there is nothing to resolve.
                    here.pop()?;
                    continue;
                }
                _ => here.push(part),
            }
            let path = EntryPath::parse(&here.join(&b'/')).ok()?;
            match self.get(&path)? {
                ListedKind::Link(target) => {
                    links += 1;
                    // Two links that lead to one another would be followed forever.
                    if links > MOST_LINKS {
                        return None;
                    }
                    here.pop();
                    let target = if target.starts_with(b"/") {
                        here.clear();
                        let rest = target.strip_prefix(own.as_bytes())?;
                        // The slash is required: `packages/foo--1x` begins with the folder's path
                        // as well.
                        rest.strip_prefix(b"/")?
                    } else {
                        target
                    };
                    left.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                ListedKind::Directory => {}
                ListedKind::File | ListedKind::Other if left.is_empty() => {}
                // As the kernel's ENOTDIR: there is nothing below a file.
                ListedKind::File | ListedKind::Other => return None,
            }
        }
        EntryPath::parse(&here.join(&b'/')).ok()
    }
}
