//! Writing the folders, links and files of the next set out of those of the set before.
//!
//! Each `<path>.old` becomes `<path>.new`, and only the differences are removed and made. Most sets
//! have much in common with their predecessors, and an unchanged entry costs a single look-up.
//! Removing and making files is slow: ext4 with `discard` waits for the disk at each removed
//! folder, and without a journal it is slow to find a free inode after many recent removals.
//!
//! `active.old` goes first: the other parts without `active.old` are not a set any more
//! (`prepare::remove_new`).

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::paths::{Host, with_suffix};
use super::prepare_error::PrepareError;
use super::progress::{NEW, OLD};
use crate::base::descent::Descent;
use crate::base::removal::remove_all;
use crate::install::{InstallNode, InstallPlan, WANTS};

/// The mode of a set's folders and files, whatever the umask is: services of all users read them.
const FOLDER: Mode = Mode::from_bits_truncate(0o755);
const FILE: Mode = Mode::from_bits_truncate(0o644);

/// Wanted entries of a folder by name, in byte order.
type WantedEntries<'a> = Vec<(&'a [u8], &'a InstallNode)>;

/// Writes the parts of the next set below the install root; returns the files that are not on disk
/// yet.
pub(super) fn write(host: &Host, plan: &InstallPlan) -> Result<Vec<File>, PrepareError> {
    let mut folders: HashMap<&[u8], WantedEntries<'_>> = HashMap::new();
    for (path, node) in &plan.nodes {
        if let Some((above, name)) = path.split() {
            folders.entry(above).or_default().push((name, node));
        }
    }
    let mut tops = folders.remove(b"".as_slice()).unwrap_or_default();
    // So that a reader never takes the half-changed rest for the set before.
    tops.sort_by_key(|(name, _)| *name != b"active");
    let mut writer = Writer { folders, written: Vec::new() };
    for (name, node) in tops {
        let name = OsStr::from_bytes(name);
        let above = if name == WANTS { host.units() } else { host.root() };
        writer.top(above, name, node)?;
    }
    Ok(writer.written)
}

struct Writer<'a> {
    /// By the path of the folder.
    folders: HashMap<&'a [u8], WantedEntries<'a>>,
    /// Files that were written, and aren't on disk yet.
    written: Vec<File>,
}

/// The way down a folder of the next set. Packages nest folders as they like.
struct Way<'a> {
    /// Descent through the new set.
    next: Descent<Open<'a>>,
    /// Descent through the active set along the same path, as far as the path exists there.
    model: Option<Descent<()>>,
    /// Place.
    place: PathBuf,
}

/// A folder of the next set.
struct Open<'a> {
    name: &'a [u8],
    /// Wanted entries that are still to be made, each with true if present.
    left: std::iter::Zip<std::vec::IntoIter<(&'a [u8], &'a InstallNode)>, std::vec::IntoIter<bool>>,
    has_model: bool,
}

impl<'a> Writer<'a> {
    /// Writes the file or folder at one of the swapped names.
    fn top(
        &mut self,
        above: &Path,
        name: &'a OsStr,
        node: &InstallNode,
    ) -> Result<(), PrepareError> {
        let place = above.join(name);
        let new = with_suffix(&place, NEW);
        let failed = |source| PrepareError::Write { path: place.clone(), source };
        let open = || {
            fs_err::create_dir_all(above)?;
            match fs_err::rename(with_suffix(&place, OLD), &new) {
                // Of a lower layer of an overlay: the next set is written anew, and this one goes with the rest.
                Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {}
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            Ok(OwnedFd::from(fs_err::File::open(above)?.into_parts().0))
        };
        let above = open().map_err(failed)?;
        let new_name = new.file_name().unwrap_or_default();
        match node {
            InstallNode::Directory => {
                // Beside the next set's own folder, which has another name: `<name>.new`.
                let model = above.try_clone().map_err(failed)?;
                let way =
                    Way { next: Descent::new(above), model: Some(Descent::new(model)), place: new };
                self.folder(way, name.as_bytes())
            }
            _ if is_same(above.as_fd(), new_name, node) => Ok(()),
            _ => {
                remove_all(&new).map_err(failed)?;
                self.written.extend(make(above.as_fd(), new_name, node).map_err(failed)?);
                Ok(())
            }
        }
    }

    /// Makes a folder and everything below match the wanted entries.
    fn folder(&mut self, mut way: Way<'a>, top: &'a [u8]) -> Result<(), PrepareError> {
        let mut path = top.to_vec();
        self.enter(&mut way, top, &path)?;
        while let Some(open) = way.next.note() {
            let Some(((name, node), kept)) = open.left.next() else {
                path.truncate(path.len().saturating_sub(open.name.len() + 1));
                way.leave()?;
                continue;
            };
            let os_name = OsStr::from_bytes(name);
            let current = way.next.current();
            let made = match node {
                InstallNode::Directory => {
                    path.push(b'/');
                    path.extend(name);
                    self.enter(&mut way, name, &path)?;
                    continue;
                }
                _ if kept => Ok(()),
                InstallNode::Symlink(target) => way.link(os_name, target),
                _ => make(current, os_name, node).map(|file| self.written.extend(file)),
            };
            made.map_err(|source| PrepareError::Write { path: way.place.join(os_name), source })?;
        }
        Ok(())
    }

    /// Enters a folder, after making a missing one, and removes its unwanted entries.
    fn enter(
        &mut self,
        way: &mut Way<'a>,
        name: &'a [u8],
        path: &[u8],
    ) -> Result<(), PrepareError> {
        let wanted = self.folders.remove(path).unwrap_or_default();
        let model = way.open_model(name);
        // The topmost one has another name than in the set that is active.
        if !way.next.is_at_top() {
            way.place.push(OsStr::from_bytes(name));
        }
        let failed =
            |way: &Way<'_>, source| PrepareError::Write { path: way.place.clone(), source };
        let folder = way.open_next().map_err(|source| failed(way, source))?;
        let kept = sift(&folder, &way.place, &wanted)?;
        let left = wanted.into_iter().zip(kept);
        let has_model = way.enter_model(model);
        let entered = way.next.enter(folder, Open { name, left, has_model });
        entered.map_err(|error| failed(way, error.into()))
    }
}

impl Way<'_> {
    /// Opens the folder of the active set that serves as a model for the next folder of that name.
    fn open_model(&self, name: &[u8]) -> Option<OwnedFd> {
        let has_model = self.next.last().is_none_or(|open| open.has_model);
        let model = self.model.as_ref().filter(|_| has_model)?;
        open_folder(model.current(), OsStr::from_bytes(name)).ok()
    }

    fn enter_model(&mut self, folder: Option<OwnedFd>) -> bool {
        match (&mut self.model, folder) {
            (Some(model), Some(folder)) => model.enter(folder, ()).is_ok(),
            _ => false,
        }
    }

    /// Opens the folder at this place, or makes a missing one.
    fn open_next(&self) -> io::Result<OwnedFd> {
        let (above, name) = (self.next.current(), self.place.file_name().unwrap_or_default());
        let there = match open_folder(above, name) {
            Ok(folder) => {
                let stat = fstat(&folder)?;
                // A folder that another user owns or may write to could be changed under a running
                // service.
                let is_own = stat.st_mode & 0o7777 == FOLDER.bits()
                    && stat.st_uid == Uid::effective().as_raw();
                is_own.then_some(folder)
            }
            Err(_) => None,
        };
        if let Some(folder) = there {
            return Ok(folder);
        }
        remove_all(&self.place)?;
        mkdirat(above, name, FOLDER)?;
        Ok(open_folder(above, name)?)
    }

    fn leave(&mut self) -> Result<(), PrepareError> {
        let left = self.next.leave();
        if let (Ok(Some(open)), Some(model)) = (&left, &mut self.model)
            && open.has_model
            && model.leave().is_err()
        {
            // The active set is only read to save inodes.
            self.model = None;
        }
        let moved = |_moved| PrepareError::Write {
            path: self.place.clone(),
            source: io::Error::other("it was moved meanwhile"),
        };
        left.map_err(moved)?;
        self.place.pop();
        Ok(())
    }

    /// Makes a symlink. If the active set has the same link, a hard link to that is made, which
    /// takes no inode.
    fn link(&self, name: &OsStr, target: &[u8]) -> io::Result<()> {
        let folder = self.next.current();
        let has_model = self.next.last().is_some_and(|open| open.has_model);
        if let Some(model) = self.model.as_ref().filter(|_| has_model) {
            let model = model.current();
            let is_same = readlinkat(model, name).is_ok_and(|found| found.as_bytes() == target);
            // Some filesystems refuse (EPERM, EMLINK), and `fs.protected_hardlinks` may; then a new
            // one does. Flags are empty: the link itself, not its target.
            if is_same && linkat(model, name, folder, name, AtFlags::empty()).is_ok() {
                return Ok(());
            }
        }
        Ok(symlinkat(OsStr::from_bytes(target), folder, name)?)
    }
}

/// Removes unwanted entries of a folder; returns for each wanted one if the entry is present.
fn sift(
    folder: &OwnedFd,
    place: &Path,
    wanted: &WantedEntries<'_>,
) -> Result<Vec<bool>, PrepareError> {
    let mut kept = vec![false; wanted.len()];
    for (name, kind) in entries(folder).map_err(PrepareError::Remove)? {
        let bytes = name.to_bytes();
        let found = wanted.binary_search_by_key(&bytes, |(name, _)| *name);
        let is_wanted = found.is_ok_and(|at| match wanted[at].1 {
            InstallNode::Directory => kind == Some(Type::Directory),
            InstallNode::Symlink(target) => {
                kind == Some(Type::Symlink) && links_to(folder, &name, target)
            }
            node => is_same(folder.as_fd(), OsStr::from_bytes(bytes), node),
        });
        match found {
            Ok(at) if is_wanted => kept[at] = true,
            _ => remove(folder, place, &name, kind).map_err(PrepareError::Remove)?,
        }
    }
    Ok(kept)
}

fn entries(folder: &OwnedFd) -> io::Result<Vec<(CString, Option<Type>)>> {
    let mut entries = Vec::new();
    for entry in
        Dir::openat(folder, c".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?.iter()
    {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            entries.push((name.to_owned(), entry.file_type()));
        }
    }
    for (name, kind) in &mut entries {
        if kind.is_none() {
            // Not every disk tells kinds with names.
            let there = fstatat(folder, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW)?;
            *kind = match SFlag::from_bits_truncate(there.st_mode) & SFlag::S_IFMT {
                SFlag::S_IFDIR => Some(Type::Directory),
                SFlag::S_IFLNK => Some(Type::Symlink),
                _ => None,
            };
        }
    }
    Ok(entries)
}

fn remove(folder: &OwnedFd, place: &Path, name: &CStr, kind: Option<Type>) -> io::Result<()> {
    let place = place.join(OsStr::from_bytes(name.to_bytes()));
    if kind == Some(Type::Directory) {
        return remove_all(&place);
    }
    unlinkat(folder, name, UnlinkatFlags::NoRemoveDir).map_err(|error| named(&place, error))
}

fn named(place: &Path, error: Errno) -> io::Error {
    let error = io::Error::from(error);
    io::Error::new(error.kind(), format!("{}: {error}", place.display()))
}

fn open_folder(above: impl AsFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(above, name, flags, Mode::empty())
}

fn links_to(folder: &OwnedFd, name: &CStr, target: &[u8]) -> bool {
    readlinkat(folder, name).is_ok_and(|found| found.as_bytes() == target)
}

/// True if the existing entry is the wanted file, which is on disk as part of an earlier set.
fn is_same(folder: BorrowedFd<'_>, name: &OsStr, node: &InstallNode) -> bool {
    let InstallNode::File(content) = node else { return false };
    let same = || {
        // A FIFO in its place is opened at once, and is not waited for.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = File::from(openat(folder, name, flags, Mode::empty())?);
        let there = file.metadata()?;
        // A file with a second name could be changed by that name, wherever it is.
        let is_own = there.is_file()
            && there.permissions().mode() & 0o7777 == FILE.bits()
            && there.uid() == Uid::effective().as_raw()
            && there.nlink() == 1
            && there.len() == content.len() as u64;
        let mut found = Vec::new();
        if is_own {
            file.take(there.len()).read_to_end(&mut found)?;
        }
        Ok::<_, io::Error>(is_own && found == *content)
    };
    same().unwrap_or(false)
}

/// Makes a file.
fn make(folder: BorrowedFd<'_>, name: &OsStr, node: &InstallNode) -> io::Result<Option<File>> {
    let InstallNode::File(content) = node else {
        return Err(io::Error::other("a host's units are copied elsewhere"));
    };
    // EXCL follows no symlink: an old entry of that name has been removed before.
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mut file = File::from(openat(folder, name, flags, FILE)?);
    // The umask has taken bits from the mode of `openat`.
    fchmod(&file, FILE)?;
    file.write_all(content)?;
    Ok(Some(file))
}
