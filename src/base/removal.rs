//! Removal of a file, or of a folder with everything in it: the only place that does.
//!
//! A tree comes from a package, an image or a build, which may nest folders deeper than a path can be
//! long and than there may be open files. So the walk goes by descriptors, with a fixed number of them
//! open. It never follows a symlink and never enters another mount.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::confinement::open_within;
use super::descent::{Descent, FOLDER, Moved};

/// Upper limit of repeated rounds for a folder into which another process writes during the
/// removal, and of restarts for a walk whose folders are moved by another process.
const ATTEMPTS: u32 = 4;

/// Longest path that an error message shows.
const LONGEST_SHOWN: usize = 400;

/// Removes the file or folder at a path, which may be gone already. A symlink is removed, not followed.
pub fn remove_all(path: &Path) -> io::Result<()> {
    remove(path, false)
}

/// Like [`remove_all`], but first opens folders of the caller's whose mode keeps an ordinary user from
/// emptying them.
pub fn remove_all_closed(path: &Path) -> io::Result<()> {
    remove(path, true)
}

/// Removes the entry of an open folder with a name, and everything below.
pub fn remove_at(above: impl AsFd, name: &OsStr) -> io::Result<()> {
    let top = Path::new(name);
    let name = CString::new(name.as_bytes())?;
    let how = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    for _ in 0..ATTEMPTS {
        let above = openat(&above, c".", how, Mode::empty()).map_err(|error| named(top, error))?;
        let mut walk = RemovalWalk { top, way: Descent::new(above), open_closed: false };
        match walk.remove(&name) {
            Err(WalkStop::Moved) => {}
            Err(WalkStop::Failed(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
    Err(named(top, Errno::EBUSY))
}

fn remove(path: &Path, open_closed: bool) -> io::Result<()> {
    let is_folder = match fs_err::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?.is_dir(),
    };
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        let message = format!("`{}` cannot be removed: it has no folder above", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    };
    if !is_folder {
        return match fs_err::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let name = CString::new(name.as_bytes())?;
    for attempt in 1.. {
        let how = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let above = match openat(AT_FDCWD, above, how, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(()),
            other => other.map_err(|error| named(path, error))?,
        };
        let mut walk = RemovalWalk { top: path, way: Descent::new(above), open_closed };
        match walk.remove(&name) {
            Err(WalkStop::Moved) if attempt < ATTEMPTS => {}
            Err(WalkStop::Moved) => return Err(named(path, Errno::EBUSY)),
            Err(WalkStop::Failed(error)) => return Err(error),
            Ok(()) => return Ok(()),
        }
    }
    Ok(())
}

/// Reason for which a walk ends early.
enum WalkStop {
    /// Another process moves the folders.
    Moved,
    /// Something cannot be removed.
    Failed(io::Error),
}

impl From<Moved> for WalkStop {
    fn from(_: Moved) -> Self {
        Self::Moved
    }
}

/// A walk through a tree that is being removed.
struct RemovalWalk<'a> {
    /// Path of the tree, for messages.
    top: &'a Path,
    /// The way from the folder that has the tree.
    way: Descent<Doomed>,
    open_closed: bool,
}

/// Folder that is being emptied.
struct Doomed {
    name: CString,
    /// Names of the remaining subfolders.
    left: Vec<CString>,
    /// Number of times the folder was read.
    rounds: u32,
}

impl RemovalWalk<'_> {
    fn remove(&mut self, name: &CStr) -> Result<(), WalkStop> {
        self.enter(name, 0)?;
        while let Some(doomed) = self.way.note() {
            match doomed.left.pop() {
                Some(name) => self.enter(&name, 0)?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    /// Enters a subfolder of the current one, already read `rounds` times, and removes all its
    /// entries except folders.
    fn enter(&mut self, name: &CStr, rounds: u32) -> Result<(), WalkStop> {
        let opened = match self.open(name) {
            Err(Errno::EACCES) if self.open_closed => {
                // Without the right to read it there is no descriptor by which its mode can be changed.
                let flags = FchmodatFlags::NoFollowSymlink;
                _ = fchmodat(self.way.current(), name, Mode::S_IRWXU, flags);
                self.open(name)
            }
            other => other,
        };
        match opened {
            Ok(folder) => {
                let doomed = Doomed { name: name.to_owned(), left: Vec::new(), rounds };
                self.way.enter(folder, doomed).map_err(|error| self.failed(name, error))?;
                self.empty()
            }
            Err(Errno::ENOENT) => Ok(()),
            // Another process replaced the folder by a file or a symlink.
            Err(Errno::ENOTDIR | Errno::ELOOP) => self
                .unlink(name, UnlinkatFlags::NoRemoveDir)
                .map_err(|error| self.failed(name, error)),
            // A folder that cannot be read may be empty.
            Err(error @ Errno::EACCES) => self
                .unlink(name, UnlinkatFlags::RemoveDir)
                .map_err(|_not_empty| self.failed(name, error)),
            Err(error) => Err(self.failed(name, error)),
        }
    }

    /// Removes all entries of the current folder except folders, whose names are kept.
    fn empty(&mut self) -> Result<(), WalkStop> {
        let unreadable = |walk: &Self, error| walk.failed(c"", error);
        let list = |folder: BorrowedFd<'_>| Dir::openat(folder, c".", FOLDER, Mode::empty());
        let mut entries = self.opening(list).map_err(|error| unreadable(self, error))?;
        let mut folders = Vec::new();
        for entry in entries.iter() {
            let entry = entry.map_err(|error| unreadable(self, error))?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            // Some filesystems give no type; there, `EISDIR` below tells a folder.
            if entry.file_type() == Some(Type::Directory) {
                folders.push(name.to_owned());
                continue;
            }
            match self.unlink(name, UnlinkatFlags::NoRemoveDir) {
                Ok(()) => {}
                Err(Errno::EISDIR) => folders.push(name.to_owned()),
                Err(error) => return Err(self.failed(name, error)),
            }
        }
        if let Some(doomed) = self.way.note() {
            doomed.left = folders;
            doomed.rounds += 1;
        }
        Ok(())
    }

    /// Returns to the parent folder, and removes the emptied one.
    fn leave(&mut self) -> Result<(), WalkStop> {
        let Some(left) = self.way.leave()? else { return Ok(()) };
        match self.unlink(&left.name, UnlinkatFlags::RemoveDir) {
            // Something was written into it meanwhile.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) if left.rounds < ATTEMPTS => {
                self.enter(&left.name, left.rounds)
            }
            // Another process put a file in the folder's place.
            Err(Errno::ENOTDIR) => Err(WalkStop::Moved),
            other => other.map_err(|error| self.failed(&left.name, error)),
        }
    }

    /// Runs an action in the current folder, and once more with all permissions where they are
    /// lacking.
    fn opening<T>(&self, action: impl Fn(BorrowedFd<'_>) -> nix::Result<T>) -> nix::Result<T> {
        match action(self.way.current()) {
            // The folder above the tree is not part of it.
            Err(Errno::EACCES) if self.open_closed && !self.way.is_at_top() => {
                _ = fchmod(self.way.current(), Mode::S_IRWXU);
                action(self.way.current())
            }
            done => done,
        }
    }

    fn open(&self, name: &CStr) -> nix::Result<OwnedFd> {
        self.opening(|folder| open_folder(folder, name))
    }

    fn unlink(&self, name: &CStr, what: UnlinkatFlags) -> nix::Result<()> {
        match self.opening(|folder| unlinkat(folder, name, what)) {
            Err(Errno::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn failed(&self, name: &CStr, error: Errno) -> WalkStop {
        let mut path = PathBuf::from(self.top.parent().unwrap_or(Path::new("")));
        let names = self.way.notes().map(|doomed| doomed.name.as_c_str()).chain([name]);
        for name in names {
            if path.as_os_str().len() > LONGEST_SHOWN {
                path.push("…");
                break;
            }
            path.push(OsStr::from_bytes(name.to_bytes()));
        }
        WalkStop::Failed(named(&path, error))
    }
}

/// Opens a folder, unless that leads into another mount.
fn open_folder(above: BorrowedFd<'_>, name: &CStr) -> nix::Result<OwnedFd> {
    // Whatever is mounted in the tree is not a part of it: what lies there is somebody else's.
    let how = OpenHow::new().flags(FOLDER).resolve(ResolveFlag::RESOLVE_NO_XDEV);
    match open_within(above, Path::new(OsStr::from_bytes(name.to_bytes())), how) {
        // Linux before 5.6, or a container engine's filter of that age.
        Err(Errno::ENOSYS | Errno::EPERM) => openat(above, name, FOLDER, Mode::empty()),
        other => other,
    }
}

fn named(path: &Path, error: Errno) -> io::Error {
    let (kind, reason) = match error {
        Errno::EXDEV => (io::ErrorKind::ResourceBusy, "something is mounted there".to_owned()),
        error => {
            let error = io::Error::from(error);
            (error.kind(), error.to_string())
        }
    };
    io::Error::new(kind, format!("failed to remove `{}`: {reason}", path.display()))
}

#[cfg(test)]
#[path = "tests/removal.rs"]
mod tests;
