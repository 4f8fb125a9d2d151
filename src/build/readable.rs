//! Inputs that the container's root couldn't read.
//!
//! The container's root of a build as real root is another id of the machine, to which root's files
//! are a stranger's: what only their owner may read, it can't. So the parent, which is real root,
//! copies such inputs into the build's scratch folder, before anything else is in there, and gives
//! them to the container's root. For every other user the container's root is the user, and nothing
//! is copied.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown, lchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag};
use walkdir::WalkDir;

use super::job::{BuildJob, BuildRoot};
use crate::base::within::open_within;
use crate::container::helper::Interrupt;
use crate::container::idmap::{IdMap, IdRange};
use crate::source::Fetched;

/// The folder of the copies, in the scratch folder.
const COPIES: &str = "inputs";

/// Copies what the container's root can't read, and makes the job name the copies. An interrupted
/// run ends this with an error.
pub(super) fn make_readable(job: &mut BuildJob, interrupt: &Interrupt) -> io::Result<()> {
    if job.machine.map.root().0 == nix::unistd::Uid::current().as_raw() {
        return Ok(());
    }
    let mut copies =
        Copies { map: &job.machine.map, home: job.scratch.join(COPIES), count: 0, interrupt };
    copies.see_to(&mut job.package_folder)?;
    if let BuildRoot::Layers(image) = &mut job.image {
        image.layers.iter_mut().try_for_each(|layer| copies.see_to(&mut layer.path))?;
    }
    for (_, source) in &mut job.sources {
        let (Fetched::File { path, .. }
        | Fetched::Archive { path, .. }
        | Fetched::GitMirror { path, .. }
        | Fetched::GitLocal { path, .. }) = source;
        copies.see_to(path)?;
    }
    job.dependencies.iter_mut().try_for_each(|needed| copies.see_to(&mut needed.archive))
}

struct Copies<'a> {
    map: &'a IdMap,
    home: PathBuf,
    count: u32,
    interrupt: &'a Interrupt,
}

impl Copies<'_> {
    fn see_to(&mut self, path: &mut PathBuf) -> io::Result<()> {
        if is_readable(self.map, path)? {
            return Ok(());
        }
        self.make_folder(&self.home.clone())?;
        let place = self.home.join(self.count.to_string());
        self.count += 1;
        let copy = if path.is_dir() {
            self.copy_tree(path, &place)?;
            place
        } else {
            self.make_folder(&place)?;
            let copy = place.join(path.file_name().unwrap_or_default());
            self.copy_file(&fs_err::File::open(&*path)?.into_parts().0, &copy)?;
            copy
        };
        *path = copy;
        Ok(())
    }

    fn copy_tree(&self, from: &Path, to: &Path) -> io::Result<()> {
        let top = fs_err::File::open(from)?.into_parts().0;
        for entry in WalkDir::new(from) {
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
                self.copy_file(&open_below(&top, relative)?, &place)?;
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
        self.give(folder.file(), 0o755)
    }

    fn copy_file(&self, mut from: &std::fs::File, to: &Path) -> io::Result<()> {
        if self.interrupt.is_raised() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let metadata = from.metadata()?;
        let mut copy = fs_err::OpenOptions::new().write(true).create_new(true).open(to)?;
        io::copy(&mut from, copy.file_mut())?;
        copy.set_modified(metadata.modified()?)?;
        // Whoever may execute it still may, and the set-id bits mean nothing for a copy.
        let executable = if metadata.mode() & 0o100 == 0 { 0 } else { 0o111 };
        self.give(copy.file(), 0o644 | executable)
    }

    fn give(&self, file: &std::fs::File, mode: u32) -> io::Result<()> {
        let (uid, gid) = self.map.root();
        fchown(file, Some(uid), Some(gid))?;
        file.set_permissions(PermissionsExt::from_mode(mode))
    }
}

/// Opens a regular file below a folder. No link leads elsewhere: the folder may belong to somebody
/// who would like to have root's files copied.
fn open_below(top: &std::fs::File, relative: &Path) -> io::Result<std::fs::File> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file: OwnedFd = open_within(top, relative, how)?;
    let file = std::fs::File::from(file);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other(format!("{} is no file any more", relative.display())))
}

/// Whether the container's root can read a file, or a folder with all that is in it.
fn is_readable(map: &IdMap, path: &Path) -> io::Result<bool> {
    // What is bound into the view is the folder in which a file lies.
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

/// Whether the container's root has a right, three bits, to what has this owner and mode: to the
/// container's own as its root, to everything else as a stranger.
fn allows(map: &IdMap, metadata: &std::fs::Metadata, right: u32) -> bool {
    let has = |ranges: &[IdRange], id: u32| {
        ranges.iter().any(|range| (range.outside..=range.outside + (range.count - 1)).contains(&id))
    };
    let own = has(&map.uids, metadata.uid()) && has(&map.gids, metadata.gid());
    own || metadata.mode() & right == right
}
