//! Rules for a folder to be the builder's own: by its mark or by all its names, and by its owner.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::Home;
use crate::base::atomic::TEMPORARY_PREFIX;

/// Name of the file that marks a folder as the builder's own.
const MARKER: &str = "mkpanda-home";

/// Mode bit: everybody may write.
const OTHERS_WRITE: u32 = 0o002;

const MARKED: &str =
    "This folder is mkpanda's own ($MKPANDA_HOME). What lies in it can be made again.\n";

/// Depth to which a folder of another user's is searched for symlinks: all folders that are the same for every run.
const DEPTH_OF_LINKS: usize = 2;

/// Names of all entries that any version of the builder makes in its folder, and of a filesystem's
/// own entries in its root.
const NAMES: [&str; 20] = [
    MARKER,
    "bootstraps",
    "build-cache",
    "builds",
    "caches",
    "failed",
    "git",
    "image-logs",
    "images",
    "layer-sizes.json",
    "layers",
    "locks",
    "lost+found",
    "mirrors",
    "packages",
    "parts",
    "remote",
    "scratch",
    "trees",
    "upstreams",
];

impl Home {
    /// Name of an entry that shows that a folder belongs to another program: an entry that no
    /// version of the builder makes, unless the folder has our mark. Writes nothing.
    pub fn foreign_entry(root: &Path) -> io::Result<Option<OsString>> {
        if fs_err::symlink_metadata(root.join(MARKER)).is_ok_and(|marker| marker.is_file()) {
            return Ok(None);
        }
        let entries = match fs_err::read_dir(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let is_temporary = name.as_encoded_bytes().starts_with(TEMPORARY_PREFIX.as_bytes());
            // A folder of a version before has no mark, but no other names either: it is adopted.
            if !is_temporary && !NAMES.iter().any(|known| name == **known) {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Id of a user who could replace the folder's contents: an owner other than the caller and
    /// root. Root may work in another user's folder, but not in a folder that is writable for all.
    pub fn other_owner(root: &Path) -> io::Result<Option<u32>> {
        let data = match fs_err::metadata(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            data => data?,
        };
        let caller = nix::unistd::geteuid().as_raw();
        let is_other = match caller {
            0 => data.uid() != 0 && data.mode() & OTHERS_WRITE != 0,
            _ => data.uid() != caller && data.uid() != 0,
        };
        Ok(is_other.then(|| data.uid()))
    }

    /// Symlink of another user's among the upper entries of a folder that belongs to another user: root, who may
    /// work in such a folder, would write where the link leads.
    pub fn others_link(root: &Path) -> io::Result<Option<PathBuf>> {
        let caller = nix::unistd::geteuid().as_raw();
        match fs_err::metadata(root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            data if data.as_ref().is_ok_and(|data| data.uid() == caller) => return Ok(None),
            data => data?,
        };
        for entry in WalkDir::new(root).min_depth(1).max_depth(DEPTH_OF_LINKS) {
            let entry = entry?;
            if entry.path_is_symlink() && ![0, caller].contains(&entry.metadata()?.uid()) {
                return Ok(Some(entry.into_path()));
            }
        }
        Ok(None)
    }

    /// Marks the folder as the builder's own. Folders made by a caller with umask 0 are writable
    /// for all: private ones are closed to others.
    pub fn mark(&self) -> io::Result<()> {
        fs_err::create_dir_all(&self.root)?;
        let data = fs_err::metadata(&self.root)?;
        let is_own = data.uid() == nix::unistd::geteuid().as_raw();
        if is_own && data.mode() & OTHERS_WRITE != 0 {
            let mode = data.mode() & 0o7777 & !OTHERS_WRITE;
            fs_err::set_permissions(&self.root, std::fs::Permissions::from_mode(mode))?;
        }
        let marker = self.root.join(MARKER);
        if fs_err::symlink_metadata(&marker).is_ok() {
            return Ok(());
        }
        // Never through a link: what is there, a link included, has ended this function above.
        fs_err::write(marker, MARKED)
    }
}

#[cfg(test)]
mod tests;
