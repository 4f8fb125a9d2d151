//! The only code that writes the contents of archives: below an open folder, never outside.
//!
//! An entry is always created, never opened: an existing entry is an error, or is removed first. No
//! other process writes to the destination meanwhile. The umask has no effect.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{
    FchmodatFlags, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{fchown, fchownat, linkat, mkfifoat, symlinkat};
use xattr::FileExt as _;

use super::error::{ReadError, UnpackError};
use super::folders::{FolderAttributes, Folders, UnpackRules, make, permissions};
use super::hiding::Hiding;
use super::limits::ArchiveLimits;
use super::overlay_form::{is_whiteout, kind, stat};
use super::path::EntryPath;
use super::pax::{CAPABILITY, ExtendedAttribute};
use super::write_error::{OwnerIds, fail, owner_error};

/// Attributes of an entry beside its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct EntryMetadata<'a> {
    pub(super) mode: u32,
    pub(super) mtime: i64,
    /// Owner to set; unchanged if `None`.
    pub(super) owner: Option<OwnerIds>,
    pub(super) attributes: &'a [ExtendedAttribute],
}

impl EntryMetadata<'_> {
    pub(super) fn for_folder(&self) -> FolderAttributes {
        FolderAttributes { mode: self.mode, mtime: self.mtime, owner: self.owner, implied: false }
    }
}

/// Folder that is being filled.
#[derive(Debug)]
pub(super) struct UnpackFolder {
    pub(super) folders: Folders,
    pub(super) buffer: Vec<u8>,
    pub(super) hiding: Hiding,
    /// Number of extended attributes that could not be set, because of the filesystem or a missing
    /// privilege.
    pub(super) attributes_lost: u64,
}

/// Folders of a complete destination that need attention by the caller.
#[derive(Debug)]
pub(super) struct Finished {
    /// Folders without an entry.
    #[cfg_attr(not(feature = "builder"), expect(dead_code, reason = "layers need it"))]
    pub(super) implied_folders: Vec<EntryPath>,
    /// Folders with whiteouts.
    #[cfg_attr(not(feature = "builder"), expect(dead_code, reason = "layers need it"))]
    pub(super) whiteout_folders: Vec<EntryPath>,
}

/// Folder of an entry, and its name there.
pub(super) type EntryLocation<'p> = (Rc<OwnedFd>, &'p OsStr);

impl UnpackFolder {
    /// Opens the folder to be filled, or makes a missing one.
    pub(super) fn open(
        folder: &Path,
        rules: UnpackRules,
        limits: &ArchiveLimits,
    ) -> Result<Self, UnpackError> {
        let folders = Folders::open(folder, rules, limits)?;
        let hiding = Hiding::default();
        Ok(Self { folders, buffer: vec![0; 256 * 1024], hiding, attributes_lost: 0 })
    }

    /// See [`Folders::can_give_to_root`].
    pub(super) fn can_give_to_root(&self) -> Result<bool, UnpackError> {
        self.folders.can_give_to_root()
    }

    pub(super) fn directory(
        &mut self,
        path: &EntryPath,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        if let Some((above, name)) = self.folders.place(path, &with.for_folder())? {
            match make(&above, name) {
                Err(Errno::EEXIST) => self.directory_over_entry(path, &(above, name), with)?,
                other => other.map_err(fail(path, "making the folder"))?,
            }
        }
        if !with.attributes.is_empty() {
            let directory = self.folders.open_made(path).map_err(fail(path, "opening it"))?;
            self.set_attributes(&File::from(directory), path, with.attributes)?;
        }
        self.folders.describe(path, with.for_folder());
        Ok(())
    }

    /// Makes a folder where something exists: a folder stays, anything else is an error or is replaced.
    fn directory_over_entry(
        &mut self,
        path: &EntryPath,
        (above, name): &EntryLocation<'_>,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        let there = stat(above, name).map_err(fail(path, "looking at it"))?;
        if kind(&there) == SFlag::S_IFDIR {
            return Ok(());
        }
        if self.folders.rules == UnpackRules::Strict {
            return Err(ReadError::Duplicate(path.clone()).into());
        }
        let was_whiteout = is_whiteout(above, name, &there).map_err(fail(path, "looking at it"))?;
        self.folders.clear(path, above)?;
        make(above, name).map_err(fail(path, "making the folder"))?;
        // A layer may delete a folder first, and then make one in its place.
        if was_whiteout { self.opaque(path, with) } else { Ok(()) }
    }

    /// Writes a file with the reader's content, which must be `size` bytes.
    pub(super) fn file(
        &mut self,
        path: &EntryPath,
        size: u64,
        content: impl Read,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        let place = self.place(path, with, "a file")?;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        // `O_EXCL` follows no symlink at the name, and opens nothing that is there (open(2)).
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = self.create(path, &place, |above, name| openat(above, name, flags, mode))?;
        let mut file = File::from(file);
        self.fill(path, size, content, &mut file)?;
        // A change of owner clears capabilities and the setuid bit, so it comes first.
        if let Some((uid, gid)) = with.owner {
            fchown(&file, Some(uid.into()), Some(gid.into()))
                .map_err(|error| owner_error(path, (uid, gid), error))?;
        }
        // After the content, which would clear a capability again.
        self.set_attributes(&file, path, with.attributes)?;
        // Not by `openat`, whose mode the umask reduces.
        fchmod(&file, permissions(with.mode)).map_err(fail(path, "setting its mode"))?;
        let mtime = TimeSpec::new(with.mtime, 0);
        futimens(&file, &mtime, &mtime).map_err(fail(path, "setting its time"))
    }

    /// Copies the content, which must have the stated size.
    fn fill(
        &mut self,
        path: &EntryPath,
        size: u64,
        mut content: impl Read,
        file: &mut File,
    ) -> Result<(), UnpackError> {
        let other_size = || ReadError::OtherSize { path: path.clone(), size };
        let mut left = size;
        loop {
            let count = match content.read(&mut self.buffer) {
                Ok(0) if left == 0 => return Ok(()),
                Ok(0) => return Err(other_size().into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ReadError::stream(error).into()),
            };
            left = left.checked_sub(count as u64).ok_or_else(other_size)?;
            file.write_all(&self.buffer[..count]).map_err(|source| {
                let action = "writing it";
                UnpackError::Write { path: path.clone(), action, source }
            })?;
        }
    }

    pub(super) fn symlink(
        &mut self,
        path: &EntryPath,
        target: &[u8],
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        let place = self.place(path, with, "a symlink")?;
        let target = OsStr::from_bytes(target);
        self.create(path, &place, |above, name| symlinkat(target, above, name))?;
        set_metadata_by_name(path, &place, with, None)
    }

    pub(super) fn fifo(
        &mut self,
        path: &EntryPath,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        let place = self.place(path, with, "a FIFO")?;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        self.create(path, &place, |above, name| mkfifoat(above, name, mode))?;
        set_metadata_by_name(path, &place, with, Some(permissions(with.mode)))
    }

    /// Makes a hard link to an earlier entry.
    pub(super) fn hard_link(
        &mut self,
        path: &EntryPath,
        target: &EntryPath,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        let refused = |problem| {
            let (path, target) = (path.clone(), target.clone());
            UnpackError::Read(ReadError::HardLink { path, target, problem })
        };
        let Some((from, target_name)) = target.split() else { return Err(refused("is the root")) };
        if path == target {
            return Err(refused("is itself"));
        }
        let missing = "is not among the entries before it";
        let unfound = |error| match error {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => refused(missing),
            error => fail(path, "looking for what it links to")(error),
        };
        let from = self.folders.find(from).map_err(unfound)?;
        let target_name = OsStr::from_bytes(target_name);
        let there = stat(&from, target_name).map_err(unfound)?;
        if kind(&there) == SFlag::S_IFDIR {
            return Err(refused("is a folder"));
        }
        let is_layer = self.folders.rules == UnpackRules::Layer;
        // A link to a whiteout would remove another name of the layer below.
        if is_layer && is_whiteout(&from, target_name, &there).map_err(unfound)? {
            return Err(refused("is what the layer removes"));
        }
        let place = self.place(path, with, "a hard link")?;
        // In a layer, symlinks can lead two paths to one place, which would be cleared for its link.
        if is_layer && target_name == place.1 {
            let identity = |folder: &OwnedFd| {
                fstat(folder)
                    .map(|stat| (stat.st_dev, stat.st_ino))
                    .map_err(fail(path, "looking at it"))
            };
            if identity(&from)? == identity(&place.0)? {
                return Err(refused("is itself"));
            }
        }
        self.create(path, &place, |above, name| {
            // Without `AT_SYMLINK_FOLLOW`: a link to a symlink names the symlink, and leads
            // nowhere.
            linkat(&from, target_name, above, name, AtFlags::empty())
        })
    }

    /// See [`Hiding::whiteout`].
    #[cfg(feature = "builder")]
    pub(super) fn whiteout(
        &mut self,
        path: &EntryPath,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        self.hiding.whiteout(&mut self.folders, path, &with.for_folder())
    }

    /// See [`Folders::opaque`].
    pub(super) fn opaque(
        &mut self,
        path: &EntryPath,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        self.folders.opaque(path, &with.for_folder())
    }

    /// Hides the path in the layers below, for an entry that cannot be made.
    #[cfg(feature = "builder")]
    pub(super) fn hide(
        &mut self,
        path: &EntryPath,
        with: &EntryMetadata<'_>,
    ) -> Result<(), UnpackError> {
        let (above, name) = self.place(path, with, "a device")?;
        match stat(&above, name) {
            Ok(_) => self.folders.clear(path, &above)?,
            Err(Errno::ENOENT) => {}
            Err(error) => return Err(fail(path, "looking at it")(error)),
        }
        self.whiteout(path, with)
    }

    /// See [`Folders::finish`] and [`Hiding::drop_needless`].
    pub(super) fn finish(self) -> Result<Finished, UnpackError> {
        let whiteout_folders = self.hiding.drop_needless(&self.folders)?;
        Ok(Finished { implied_folders: self.folders.finish()?, whiteout_folders })
    }

    /// Returns the location of an entry, which must not be the root.
    pub(super) fn place<'p>(
        &mut self,
        path: &'p EntryPath,
        with: &EntryMetadata<'_>,
        kind: &'static str,
    ) -> Result<EntryLocation<'p>, UnpackError> {
        let place = self.folders.place(path, &with.for_folder())?;
        place.ok_or_else(|| ReadError::Kind { path: path.clone(), kind }.into())
    }

    /// Makes an entry; an existing entry is an error, or gets removed.
    fn create<T>(
        &mut self,
        path: &EntryPath,
        (above, name): &EntryLocation<'_>,
        make: impl Fn(&OwnedFd, &OsStr) -> nix::Result<T>,
    ) -> Result<T, UnpackError> {
        match make(above, name) {
            // The later of two entries of one path counts, as for tar(1) and container engines.
            Err(Errno::EEXIST) if self.folders.rules == UnpackRules::Layer => {
                self.folders.clear(path, above)?;
                make(above, name).map_err(fail(path, "making it"))
            }
            Err(Errno::EEXIST) => Err(ReadError::Duplicate(path.clone()).into()),
            other => other.map_err(fail(path, "making it")),
        }
    }

    fn set_attributes(
        &mut self,
        file: &File,
        path: &EntryPath,
        attributes: &[ExtendedAttribute],
    ) -> Result<(), UnpackError> {
        for (name, value) in attributes {
            match file.set_xattr(OsStr::from_bytes(name), value) {
                Ok(()) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOTSUP)) => {
                    self.attributes_lost += 1;
                }
                // Capabilities for the root of a namespace that does not exist here
                // (capabilities(7), "Namespaced file capabilities").
                Err(error) if name == CAPABILITY && error.raw_os_error() == Some(libc::EINVAL) => {
                    self.attributes_lost += 1;
                }
                Err(source) => {
                    let action = "setting an extended attribute";
                    return Err(UnpackError::Write { path: path.clone(), action, source });
                }
            }
        }
        Ok(())
    }
}

/// Sets owner, mode and time of a symlink or FIFO, which is not opened.
fn set_metadata_by_name(
    path: &EntryPath,
    (above, name): &EntryLocation<'_>,
    with: &EntryMetadata<'_>,
    mode: Option<Mode>,
) -> Result<(), UnpackError> {
    if let Some((uid, gid)) = with.owner {
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        fchownat(above, *name, Some(uid.into()), Some(gid.into()), flags)
            .map_err(|error| owner_error(path, (uid, gid), error))?;
    }
    if let Some(mode) = mode {
        // The entry was made just now, so it is not a symlink that could be followed.
        fchmodat(above, *name, mode, FchmodatFlags::FollowSymlink)
            .map_err(fail(path, "setting its mode"))?;
    }
    let mtime = TimeSpec::new(with.mtime, 0);
    utimensat(above, *name, &mtime, &mtime, UtimensatFlags::NoFollowSymlink)
        .map_err(fail(path, "setting its time"))
}
