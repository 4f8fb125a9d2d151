//! The hash of a folder's content in ids and in names of `docker/` images (docs/format.md, "Hash of a
//! folder"): `H` of a dictionary from each file's path to the SHA-1 of its content.
//!
//! Modes are not hashed. Folders are hashed only if they are empty.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::base::digest::{Sha1Sum, Sha256, Sha256Sum};
use crate::package::hash::hash_entries;

/// Reason why a folder has no hash.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something can't be read.
    #[error("can't read what is part of a package's id")]
    Unreadable(#[source] io::Error),
    /// A symlink has no target.
    #[error("{0} is a link that leads nowhere")]
    Dangling(PathBuf),
    /// A link to a file that isn't part of the folder, so neither of the id.
    #[error("{link} is a link to {target}, which lies outside of {folder}")]
    Leaves {
        /// The link.
        link: PathBuf,
        /// Target of the link.
        target: PathBuf,
        /// Folder that contains the link.
        folder: PathBuf,
    },
    /// A name is not UTF-8.
    #[error("{0} has a name that is not UTF-8, which has no hash")]
    NotUtf8(PathBuf),
    /// Neither file, folder nor link.
    #[error("{0} is neither a file nor a folder nor a link, so it has no hash")]
    Special(PathBuf),
}

/// Returns the hash of a folder's content. A file in place of the folder has the hash of empty
/// content, as in the original.
pub fn hash_folder(folder: &Path) -> Result<Sha1Sum, FolderError> {
    let mut entries = BTreeMap::new();
    if folder.is_dir() {
        let root = fs_err::canonicalize(folder).map_err(FolderError::Unreadable)?;
        let mut open = vec![(folder.to_owned(), String::new())];
        while let Some((path, name)) = open.pop() {
            let mut empty = true;
            for entry in fs_err::read_dir(&path).map_err(FolderError::Unreadable)? {
                let entry = entry.map_err(FolderError::Unreadable)?;
                empty = false;
                let path = entry.path();
                let Some(file_name) = entry.file_name().to_str().map(str::to_owned) else {
                    return Err(FolderError::NotUtf8(path));
                };
                let name = if name.is_empty() { file_name } else { format!("{name}/{file_name}") };
                let kind = entry.file_type().map_err(FolderError::Unreadable)?;
                if kind.is_dir() {
                    open.push((path, name));
                } else if let Some(sum) = hash_entry(&path, kind, folder, &root)? {
                    entries.insert(name, Sha1Sum::of(sum.as_str().as_bytes()));
                }
            }
            if empty && !name.is_empty() {
                entries.insert(name, Sha1Sum::of(b""));
            }
        }
    }
    Ok(hash_entries(&entries))
}

/// Mode bits that are independent of the caller's umask in a checkout, and that affect an image.
const MODE: u32 = 0o7113;

/// Sum of all of a folder: names, kinds, contents, where links lead, and modes as far as they are not the
/// umask's.
pub fn whole_sum(folder: &Path) -> io::Result<Sha256Sum> {
    let mut sum = Sha256::new();
    for entry in WalkDir::new(folder).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        let path = entry.path();
        let name = path.strip_prefix(folder).map_err(io::Error::other)?;
        let data = fs_err::symlink_metadata(path)?;
        let mode = if data.is_symlink() { 0 } else { data.permissions().mode() & MODE };
        let content = if data.is_symlink() {
            Sha256Sum::of(fs_err::read_link(path)?.as_os_str().as_bytes()).to_string()
        } else if data.is_file() {
            Sha256Sum::of_file(path)?.to_string()
        } else {
            String::new()
        };
        let kind = data.permissions().mode() & 0o170_000;
        let name = name.as_os_str().as_bytes();
        sum.update(format!("{kind:o} {mode:o} {} {content} ", name.len()).as_bytes());
        sum.update(name);
    }
    Ok(Sha256Sum::from_hasher(sum))
}

fn hash_entry(
    path: &Path,
    kind: std::fs::FileType,
    folder: &Path,
    root: &Path,
) -> Result<Option<Sha1Sum>, FolderError> {
    if kind.is_symlink() {
        let target = match fs_err::canonicalize(path) {
            Ok(target) => target,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(FolderError::Dangling(path.to_owned()));
            }
            Err(error) => return Err(FolderError::Unreadable(error)),
        };
        if target.is_dir() {
            return Ok(None);
        }
        if !target.starts_with(root) {
            let (link, folder) = (path.to_owned(), folder.to_owned());
            return Err(FolderError::Leaves { link, target, folder });
        }
    }
    if !fs_err::metadata(path).map_err(FolderError::Unreadable)?.is_file() {
        return Err(FolderError::Special(path.to_owned()));
    }
    Sha1Sum::of_file(path).map(Some).map_err(FolderError::Unreadable)
}
