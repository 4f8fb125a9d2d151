//! The folders of an archive being unpacked: found, made, and given their modes at the end.
//!
//! Every path is walked from the destination's own descriptor. Packages and sources have no
//! business below a symlink, so a walk refuses it. In an image layer a folder may have become a
//! symlink: the kernel resolves it as if the destination were the root (`RESOLVE_IN_ROOT`), as
//! container engines do. (Only layers need `openat2`; hosts of packages may be older than that.)
//!
//! Folders are 0700 while they are being filled, whatever the umask; modes, owners and times are
//! set at the end, deepest first.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, mkdir, unlinkat};
use xattr::FileExt as _;

use super::error::{ReadError, UnpackError};
use super::limits::{ArchiveLimits, LimitExceeded};
use super::overlay_form::{HIDES_ALL, OPAQUE, is_whiteout, stat};
use super::path::EntryPath;
use super::write_error::{OwnerIds, fail, owner_error, walk_error};
use crate::base::confinement::open_within;
use crate::base::removal::remove_at;

/// Treatment of symlinks among an entry's parent folders, and of existing files at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnpackRules {
    /// Both are errors; a folder may come again.
    Strict,
    /// A symlink is resolved below the root; an existing entry is replaced.
    Layer,
}

/// Attributes of a folder, set after its entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct FolderAttributes {
    pub(super) mode: u32,
    pub(super) mtime: i64,
    /// Owner to set; unchanged if `None`.
    pub(super) owner: Option<OwnerIds>,
    /// True until an entry describes the folder.
    pub(super) implied: bool,
}

#[derive(Debug)]
pub(super) struct Folders {
    root: OwnedFd,
    pub(super) rules: UnpackRules,
    /// The folder used last: most entries lie in the same one as their predecessor.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
    made: BTreeMap<EntryPath, FolderAttributes>,
    /// True if a folder of the layer hides everything below it in the layers below.
    pub(super) has_opaque: bool,
    implied: u64,
    /// Of the implied folders' paths, which no reader of the archive has counted.
    name_bytes: u64,
    limits: ArchiveLimits,
}

impl Folders {
    /// Opens the destination, or makes a missing one.
    pub(super) fn open(
        folder: &Path,
        rules: UnpackRules,
        limits: &ArchiveLimits,
    ) -> Result<Self, UnpackError> {
        let action = "making the destination";
        match mkdir(folder, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(fail(&EntryPath::root(), action)(error)),
        }
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let root = openat(AT_FDCWD, folder, flags, Mode::empty());
        let root = root.map_err(fail(&EntryPath::root(), action))?;
        // The folder may have been there, open to others: closed until it is complete.
        fchmod(&root, Mode::S_IRWXU).map_err(fail(&EntryPath::root(), action))?;
        let (last, made, limits) = (None, BTreeMap::new(), *limits);
        let has_opaque = false;
        Ok(Self { root, rules, last, made, has_opaque, implied: 0, name_bytes: 0, limits })
    }

    /// True if files can be given to uid 0 and gid 0: the root folder is, to find out. Where that
    /// isn't permitted, everything belongs to the caller.
    pub(super) fn can_give_to_root(&self) -> Result<bool, UnpackError> {
        match fchown(&self.root, Some(Uid::from_raw(0)), Some(Gid::from_raw(0))) {
            Ok(()) => Ok(true),
            // An ordinary user (chown(2)); a package's owners are always 0, so nothing of it is
            // lost.
            Err(Errno::EPERM) => Ok(false),
            Err(error) => Err(fail(&EntryPath::root(), "giving it to root")(error)),
        }
    }

    /// The folder that an entry goes into, made if need be, and the entry's name in it; nothing
    /// for the root.
    pub(super) fn place<'p>(
        &mut self,
        path: &'p EntryPath,
        like: &FolderAttributes,
    ) -> Result<Option<(Rc<OwnedFd>, &'p OsStr)>, UnpackError> {
        let Some((above, name)) = path.split() else { return Ok(None) };
        let name = OsStr::from_bytes(name);
        if let Some((last, folder)) = &self.last
            && last == above
        {
            return Ok(Some((Rc::clone(folder), name)));
        }
        let folder = Rc::new(self.ensure(above, path, like)?);
        self.last = Some((above.to_vec(), Rc::clone(&folder)));
        Ok(Some((folder, name)))
    }

    /// Opens a parent folder of an entry, and makes missing folders.
    pub(super) fn ensure(
        &mut self,
        above: &[u8],
        path: &EntryPath,
        like: &FolderAttributes,
    ) -> Result<OwnedFd, UnpackError> {
        match self.walk(above, OFlag::O_PATH, true) {
            Err(Errno::ENOENT) => {}
            // There may be a whiteout on the way, which a folder of the layer's own replaces.
            Err(Errno::ENOTDIR) if self.rules == UnpackRules::Layer => {}
            other => return other.map_err(|error| walk_error(path, error)),
        }
        let mut folder = self.walk(b"", OFlag::O_PATH, true).map_err(fail(path, "opening it"))?;
        let ends = (0..=above.len()).filter(|at| matches!(above.get(*at), Some(b'/') | None));
        let mut start = 0;
        for end in ends {
            let (prefix, part) = (&above[..end], OsStr::from_bytes(&above[start..end]));
            start = end + 1;
            folder = match self.step(&folder, prefix, part) {
                Err(Errno::ENOENT) => {
                    self.imply(prefix, like)?;
                    match make(&folder, part) {
                        // A symlink that leads nowhere.
                        Err(Errno::EEXIST) => return Err(walk_error(path, Errno::ENOTDIR)),
                        other => other.map_err(fail(path, "making its folder"))?,
                    }
                    self.step(&folder, prefix, part)
                }
                Err(Errno::ENOTDIR) if self.rules == UnpackRules::Layer => {
                    self.replace_whiteout(&folder, prefix, part, path, like)?;
                    self.step(&folder, prefix, part)
                }
                other => other,
            }
            .map_err(|error| walk_error(path, error))?;
        }
        Ok(folder)
    }

    /// Replaces a whiteout by a folder, for a layer that removes a folder and then has files below it;
    /// `directory_over_entry` does so for a folder with an entry. Anything but a whiteout stays.
    fn replace_whiteout(
        &mut self,
        above: &OwnedFd,
        prefix: &[u8],
        part: &OsStr,
        path: &EntryPath,
        like: &FolderAttributes,
    ) -> Result<(), UnpackError> {
        let is_hiding = stat(above, part).and_then(|there| is_whiteout(above, part, &there));
        if !is_hiding.map_err(fail(path, "looking at its folder"))? {
            return Ok(());
        }
        unlinkat(above, part, UnlinkatFlags::NoRemoveDir)
            .and_then(|()| make(above, part))
            .map_err(fail(path, "making its folder"))?;
        self.imply(prefix, like)?;
        // No folder below shows through, whose mode and owner it would have.
        if let Some(folder) = self.made.get_mut(&EntryPath::trusted(prefix)) {
            folder.implied = false;
        }
        self.hide_below(&EntryPath::trusted(prefix))
    }

    /// Hides the entries of a folder in the layers below; makes a missing folder.
    pub(super) fn opaque(
        &mut self,
        path: &EntryPath,
        like: &FolderAttributes,
    ) -> Result<(), UnpackError> {
        drop(self.ensure(path.as_bytes(), path, like)?);
        self.hide_below(path)
    }

    fn hide_below(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        let directory = self.open_made(path).map_err(fail(path, "opening it"))?;
        self.has_opaque = true;
        File::from(directory)
            .set_xattr(OPAQUE, HIDES_ALL)
            .map_err(|source| UnpackError::Whiteout { path: path.clone(), source })
    }

    fn imply(&mut self, prefix: &[u8], like: &FolderAttributes) -> Result<(), UnpackError> {
        let folder = FolderAttributes {
            mode: 0o755,
            mtime: like.mtime,
            owner: like.owner.map(|_| (0, 0)),
            implied: true,
        };
        self.made.insert(EntryPath::trusted(prefix), folder);
        // Counted too: one name of 4 KiB implies 2,000 folders.
        self.implied += 1;
        self.name_bytes += prefix.len() as u64;
        let ArchiveLimits { max_entries, max_name_bytes, .. } = self.limits;
        if self.implied > max_entries {
            return Err(ReadError::Limit(LimitExceeded::Entries(max_entries)).into());
        }
        if self.name_bytes > max_name_bytes {
            return Err(ReadError::Limit(LimitExceeded::NameBytes(max_name_bytes)).into());
        }
        Ok(())
    }

    /// Opens a folder from the one above it, which was opened just now: walking from the root each
    /// time would take the square of a path's length.
    fn step(&self, from: &OwnedFd, prefix: &[u8], part: &OsStr) -> nix::Result<OwnedFd> {
        let how = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match openat(from, part, how, Mode::empty()) {
            // The target of a symlink depends on the root.
            Err(Errno::ENOTDIR | Errno::ELOOP) if self.rules == UnpackRules::Layer => {
                self.walk(prefix, OFlag::O_PATH, true)
            }
            other => other,
        }
    }

    /// Sets the attributes that a folder gets at the end.
    pub(super) fn describe(&mut self, path: &EntryPath, folder: FolderAttributes) {
        self.made.insert(path.clone(), folder);
    }

    /// Opens an existing folder to change its attributes.
    pub(super) fn open_made(&self, path: &EntryPath) -> nix::Result<OwnedFd> {
        self.walk(path.as_bytes(), OFlag::O_RDONLY, false)
    }

    /// Opens an existing folder to look up an entry.
    pub(super) fn find(&self, path: &[u8]) -> nix::Result<OwnedFd> {
        self.walk(path, OFlag::O_PATH, true)
    }

    /// Removes the file or folder at a path, with all contents.
    pub(super) fn clear(&mut self, path: &EntryPath, above: impl AsFd) -> Result<(), UnpackError> {
        let Some((_, name)) = path.split() else { return Ok(()) };
        let name = OsStr::from_bytes(name);
        self.last = None;
        match unlinkat(&above, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => {}
            other => return other.map_err(fail(path, "replacing the existing entry")),
        }
        // A folder with all that the layer has put into it: so other engines do.
        self.forget(path);
        remove_at(&above, name).map_err(|source| {
            let action = "replacing the existing entry";
            UnpackError::Write { path: path.clone(), action, source }
        })
    }

    /// Removes a folder and the folders below it from `made`, which is sorted: only they are visited.
    fn forget(&mut self, path: &EntryPath) {
        self.made.remove(path);
        // The bytes after `/` are those of names below.
        let first = EntryPath::trusted(&[path.as_bytes(), b"/"].concat());
        let beyond = EntryPath::trusted(&[path.as_bytes(), &[b'/' + 1]].concat());
        while let Some((made, _)) = self.made.range(&first..&beyond).next() {
            let made = made.clone();
            self.made.remove(&made);
        }
    }

    /// Sets what the folders get now that they are full; gives those that no entry described.
    pub(super) fn finish(self) -> Result<Vec<EntryPath>, UnpackError> {
        let mut implied = Vec::new();
        // Deepest first: the mode of a folder may close it, and its entries change its time.
        for (path, folder) in self.made.iter().rev() {
            let opened = match self.open_made(path) {
                Ok(opened) => opened,
                // Something took the folder's place, or the place of a symlink on the way to it.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP)
                    if self.rules == UnpackRules::Layer =>
                {
                    continue;
                }
                Err(error) => return Err(fail(path, "opening it")(error)),
            };
            if let Some((uid, gid)) = folder.owner {
                fchown(&opened, Some(uid.into()), Some(gid.into()))
                    .map_err(|error| owner_error(path, (uid, gid), error))?;
            }
            fchmod(&opened, permissions(folder.mode)).map_err(fail(path, "setting its mode"))?;
            let mtime = TimeSpec::new(folder.mtime, 0);
            futimens(&opened, &mtime, &mtime).map_err(fail(path, "setting its time"))?;
            if folder.implied {
                implied.push(path.clone());
            }
        }
        implied.reverse();
        Ok(implied)
    }

    /// Opens a folder. Under the strict rules no part of the path may be a symlink; under those of
    /// layers its last part may be one if `follow` says so.
    fn walk(&self, path: &[u8], how: OFlag, follow: bool) -> nix::Result<OwnedFd> {
        let mut how = how | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        if path.is_empty() {
            return openat(&self.root, c".", how, Mode::empty());
        }
        if self.rules == UnpackRules::Layer {
            if !follow {
                how |= OFlag::O_NOFOLLOW;
            }
            // Absolute targets and `..` stay below the destination (openat2(2), Linux 5.6).
            let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
            let how = OpenHow::new().flags(how).resolve(resolve);
            return open_within(&self.root, Path::new(OsStr::from_bytes(path)), how);
        }
        let mut parts = path.split(|byte| *byte == b'/').peekable();
        let mut folder: Option<OwnedFd> = None;
        while let Some(part) = parts.next() {
            let from = folder.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            let last = parts.peek().is_none();
            let how = if last { how } else { OFlag::O_PATH | OFlag::O_DIRECTORY };
            let how = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            folder = Some(openat(from, OsStr::from_bytes(part), how, Mode::empty())?);
        }
        folder.ok_or(Errno::ENOENT)
    }
}

/// Makes a folder that its owner can fill, whatever the umask takes away and whatever a setgid
/// folder above hands down.
pub(super) fn make(above: impl AsFd, name: &OsStr) -> nix::Result<()> {
    mkdirat(&above, name, Mode::S_IRWXU)?;
    fchmodat(&above, name, Mode::S_IRWXU, FchmodatFlags::FollowSymlink)
}

pub(super) fn permissions(mode: u32) -> Mode {
    Mode::from_bits_truncate(mode & 0o7777)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::processor_time::assert_no_quadratic_cost;

    /// Describes folders, with one below each, and forgets those; returns the rest.
    fn left(count: u32, beside: &[&str]) -> Vec<String> {
        let destination = tempfile::tempdir().unwrap();
        let limits = ArchiveLimits::default();
        let mut folders = Folders::open(destination.path(), UnpackRules::Layer, &limits).unwrap();
        let folder = FolderAttributes { mode: 0o755, mtime: 0, owner: None, implied: false };
        let path = |text: &str| EntryPath::trusted(text.as_bytes());
        for number in 0..count {
            folders.describe(&path(&format!("d/{number}")), folder);
            folders.describe(&path(&format!("d/{number}/x")), folder);
        }
        for beside in beside {
            folders.describe(&path(beside), folder);
        }
        for number in 0..count {
            folders.forget(&path(&format!("d/{number}")));
        }
        folders.made.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_is_forgotten_with_those_below_it_alone() {
        let beside = ["d/7-", "d/70x", "d/7\u{2e}"];
        assert_eq!(left(10, &beside), ["./d/7-", "./d/7.", "./d/70x"]);
    }

    #[test]
    fn the_folders_beside_are_not_searched() {
        assert_no_quadratic_cost(8_000, |count| assert_eq!(left(count, &[]), [""; 0]));
    }
}
