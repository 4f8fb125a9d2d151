//! Inputs that the container's root couldn't read.
//!
//! The container's root of a build as real root is another id of the machine, a stranger to root's
//! files: private files are unreadable. So the parent, which is real root, copies such inputs into
//! the build's scratch folder, before anything else is in there, and gives them to the container's
//! root. For every other user the container's root is the user, and nothing is copied.

use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::archive::ArchiveLimits;
use crate::base::confinement::open_listed;
use crate::base::regular::open_regular;
use crate::container::helper::Interrupt;
use crate::container::idmap::{IdMap, IdRange};

/// Copies of the inputs of one job.
#[derive(Debug)]
pub struct InputCopies<'a> {
    map: &'a IdMap,
    home: PathBuf,
    count: u32,
    /// Limit of the bytes of all copies.
    most: u64,
    /// Bytes copied so far.
    bytes: u64,
    interrupt: &'a Interrupt,
}

/// Bytes that are copied between looks at the interrupt.
const PART: u64 = 64 << 20;

impl<'a> InputCopies<'a> {
    /// Copies go into `home`, a folder that is made with the first one. An interrupted run ends a copy
    /// with an error, and so does an input that is larger than the limit of unpacked bytes.
    pub fn new(
        map: &'a IdMap,
        home: PathBuf,
        limits: &ArchiveLimits,
        interrupt: &'a Interrupt,
    ) -> Self {
        Self { map, home, count: 0, most: limits.max_bytes, bytes: 0, interrupt }
    }

    /// Path of an input that the container's root can read: the path itself, or that of a copy.
    pub fn readable(&mut self, path: &Path) -> io::Result<PathBuf> {
        let is_caller = self.map.root().0 == nix::unistd::Uid::current().as_raw();
        if is_caller || is_readable(self.map, path)? {
            return Ok(path.to_owned());
        }
        self.make_folder(&self.home.clone())?;
        let place = self.home.join(self.count.to_string());
        self.count += 1;
        if path.is_dir() {
            self.copy_tree(path, &place)?;
            return Ok(place);
        }
        self.make_folder(&place)?;
        let copy = place.join(path.file_name().unwrap_or_default());
        self.copy_file(&open_regular(path)?.into_parts().0, &copy)?;
        Ok(copy)
    }

    fn copy_tree(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let top = fs_err::File::open(from)?.into_parts().0;
        // The input itself may be a link, such as a package's folder.
        self.make_folder(to)?;
        for entry in WalkDir::new(from).min_depth(1) {
            let entry = entry?;
            let Ok(relative) = entry.path().strip_prefix(from) else { continue };
            let (kind, place) = (entry.file_type(), to.join(relative));
            if kind.is_dir() {
                self.make_folder(&place)?;
            } else if kind.is_symlink() {
                fs_err::os::unix::fs::symlink(fs_err::read_link(entry.path())?, &place)?;
                let (uid, gid) = self.map.root();
                lchown(&place, Some(uid), Some(gid))?;
            } else if kind.is_file() {
                // By the descriptor of the top folder: a folder that has become a link meanwhile
                // gives nothing (CVE-2018-15664).
                self.copy_file(&open_listed(&top, relative)?, &place)?;
            }
        }
        Ok(())
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        match fs_err::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other?,
        }
        let folder = fs_err::File::open(path)?;
        self.set_owner_and_mode(folder.file(), 0o755)
    }

    fn copy_file(&mut self, from: &std::fs::File, to: &Path) -> io::Result<()> {
        let metadata = from.metadata()?;
        // A hole takes no space in a tree, and as much as it is long in a copy.
        self.bytes = self.bytes.saturating_add(metadata.len());
        if self.bytes > self.most {
            let message = format!(
                "the files that have to be copied for the container's root have more than {} bytes",
                self.most
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        let mut copy = fs_err::OpenOptions::new().write(true).create_new(true).open(to)?;
        let mut left = metadata.len();
        while left > 0 {
            if self.interrupt.is_raised() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            // What is added to the file meanwhile is left out.
            let part = io::copy(&mut from.take(left.min(PART)), copy.file_mut())?;
            if part == 0 {
                break;
            }
            left -= part;
        }
        copy.set_modified(metadata.modified()?)?;
        // Execute permission is kept, and set-id bits mean nothing for a copy.
        let executable = if metadata.mode() & 0o100 == 0 { 0 } else { 0o111 };
        self.set_owner_and_mode(copy.file(), 0o644 | executable)
    }

    fn set_owner_and_mode(&self, file: &std::fs::File, mode: u32) -> io::Result<()> {
        let (uid, gid) = self.map.root();
        fchown(file, Some(uid), Some(gid))?;
        file.set_permissions(PermissionsExt::from_mode(mode))
    }
}

/// True if the container's root can read a file, or a folder with all its contents.
fn is_readable(map: &IdMap, path: &Path) -> io::Result<bool> {
    // The view binds the folder of a file.
    if !path.is_dir() {
        let folder = fs_err::metadata(path.parent().unwrap_or(path))?;
        return Ok(allows(map, &folder, 0o1) && allows(map, &fs_err::metadata(path)?, 0o4));
    }
    for entry in WalkDir::new(path) {
        let entry = entry?;
        let wanted = if entry.file_type().is_dir() { 0o5 } else { 0o4 };
        if !entry.file_type().is_symlink() && !allows(map, &entry.metadata()?, wanted) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// True if the container's root has a right, three bits, to a file with this owner and mode: as
/// root to the container's own files, as a stranger to all others.
fn allows(map: &IdMap, metadata: &std::fs::Metadata, right: u32) -> bool {
    let has = |ranges: &[IdRange], id: u32| {
        ranges.iter().any(|range| (range.outside..=range.outside + (range.count - 1)).contains(&id))
    };
    let own = has(&map.uids, metadata.uid()) && has(&map.gids, metadata.gid());
    own || metadata.mode() & right == right
}
