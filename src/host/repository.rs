//! Packages on the machine, each unpacked in a folder named by its id.
//!
//! A package appears whole or not at all: it is unpacked into a folder with the prefix `.tmp-`,
//! synced, and renamed; a removal does the same in reverse. Every change is made under the lock, so
//! such a folder found under the lock is a leftover of a dead process.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;

use super::interruptible::UntilInterrupted;
use super::late::LateFile;
use super::lock::FolderLock;
use super::paths::Host;
use super::record::{self, PackageManifest};
use super::signed::verified_copy;
use crate::archive::{ArchiveLimits, EntryPath, unpack_package_watched};
use crate::artifact::repository::Repository;
use crate::base::atomic::{AtomicFile, TEMPORARY_PREFIX, sweep_under_lock, sync_folder};
use crate::base::event::{Event, Observer};
use crate::base::regular::open_regular;
use crate::base::removal::remove_all_closed;
use crate::install::PackageContents;
use crate::package::paths::package_path;
use crate::package::{PackageId, contents};
use crate::store::signature::TrustedKeys;

pub use super::repository_error::HostRepositoryError;

/// The packages on the machine.
#[derive(Clone, Copy)]
pub struct PackageRepository<'a> {
    pub(super) folder: &'a Path,
    observer: &'a dyn Observer,
}

impl std::fmt::Debug for PackageRepository<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackageRepository").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// Result of adding a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Add {
    /// The package was added.
    Added,
    /// The package was present.
    There,
}

impl<'a> PackageRepository<'a> {
    /// The repository of a machine.
    pub fn new(host: &'a Host, observer: &'a dyn Observer) -> Self {
        Self { folder: host.repository(), observer }
    }

    /// The ids of all packages, sorted as text; none if there is no repository.
    pub fn list(&self) -> Result<Vec<PackageId>, HostRepositoryError> {
        let entries = match fs_err::read_dir(self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(HostRepositoryError::Unreadable)?,
        };
        let mut ids = Vec::new();
        for entry in entries {
            let name = entry.map_err(HostRepositoryError::Unreadable)?.file_name();
            let id = name.to_str().and_then(|name| name.parse::<PackageId>().ok());
            // A file of such a name is not a package, and neither is a link that leads nowhere.
            ids.extend(id.filter(|id| self.has(id)));
        }
        ids.sort_unstable_by(PackageId::cmp_as_text);
        Ok(ids)
    }

    /// True if a package is present.
    pub fn has(&self, id: &PackageId) -> bool {
        self.place(id).is_dir()
    }

    /// Path of a package.
    pub fn place(&self, id: &PackageId) -> PathBuf {
        self.folder.join(id.to_string())
    }

    /// Reads the descriptions of packages.
    pub fn load_all(&self, ids: &[PackageId]) -> Result<Vec<PackageContents>, HostRepositoryError> {
        ids.iter().map(|id| self.load(id)).collect()
    }

    fn load(&self, id: &PackageId) -> Result<PackageContents, HostRepositoryError> {
        if !self.has(id) {
            return Err(HostRepositoryError::NotThere {
                id: id.clone(),
                folder: self.folder.to_owned(),
            });
        }
        Ok(PackageContents::from_directory(id, &self.place(id))?)
    }

    /// Takes the lock, and removes leftovers of dead processes. A missing folder is made.
    pub(super) fn lock(&self) -> Result<FolderLock, HostRepositoryError> {
        let lock = || {
            fs_err::create_dir_all(self.folder)?;
            let waiting = || {
                let message = "waiting for another pkgpanda".to_owned();
                self.observer.event(Event::Note { message });
            };
            let give_up = || self.observer.is_interrupted();
            let lock = FolderLock::acquire_beside_unless(self.folder, waiting, give_up)?;
            lock.ok_or_else(|| io::Error::other("interrupted"))
        };
        let lock = lock().map_err(HostRepositoryError::Lock)?;
        self.sweep();
        Ok(lock)
    }

    /// Removes leftovers of dead processes; the caller holds the lock.
    pub(super) fn sweep(&self) {
        let mut unswept = sweep_under_lock(self.folder);
        unswept.add(record::sweep(self.folder));
        unswept.report(self.observer);
    }

    /// Adds the package in a file. With `keys`, one of the keys must have signed the file, even if
    /// the package is present.
    pub fn add_file(
        &self,
        path: &Path,
        keys: Option<&TrustedKeys>,
    ) -> Result<Add, HostRepositoryError> {
        // As with the original, the name of the file alone says which package it is.
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".tar.xz"));
        let id: Option<PackageId> = name.and_then(|name| name.parse().ok());
        let id = id.ok_or_else(|| HostRepositoryError::FileName(path.to_owned()))?;
        let mut file = open_regular(path)
            .map_err(|source| HostRepositoryError::Archive { id: id.clone(), source })?;
        let lock = self.lock()?;
        let is_other = |reason| {
            let (subject, message) = (id.to_string(), format!("it seems another: {reason}"));
            self.observer.event(Event::Warning { subject, message });
            Ok(())
        };
        let added = match keys {
            None => self.unpack(&id, &mut file, self.observer, is_other),
            Some(keys) => self.signed(&id, path, &mut file, keys).and_then(|mut copy| {
                self.unpack(&id, copy.file() as &mut File, self.observer, is_other)
            }),
        };
        // The lock covers the check of the signed copy, too, which lies in the folder that its
        // holder sweeps.
        drop(lock);
        added
    }

    /// Copies an archive into the repository's folder, where no other user can change the file
    /// after the check of its signature; the caller holds the lock.
    fn signed(
        &self,
        id: &PackageId,
        path: &Path,
        archive: impl Read,
        keys: &TrustedKeys,
    ) -> Result<AtomicFile, HostRepositoryError> {
        let target = self.folder.join(format!("{id}.tar.xz"));
        let mut copy = AtomicFile::create(&target)
            .map_err(|source| HostRepositoryError::Archive { id: id.clone(), source })?;
        match verified_copy(path, id, archive, copy.file(), keys, self.observer) {
            Ok(()) => Ok(copy),
            Err(_) if self.observer.is_interrupted() => {
                Err(HostRepositoryError::Interrupted(id.clone()))
            }
            Err(error) => Err(HostRepositoryError::Untrusted(Box::new(error))),
        }
    }

    /// Fetches a missing package; the caller holds the lock.
    pub fn fetch(
        &self,
        id: &PackageId,
        from: &Repository,
        observer: &dyn Observer,
    ) -> Result<Add, HostRepositoryError> {
        if self.has(id) {
            return Ok(Add::There);
        }
        let target = self.folder.join(format!("{id}.tar.xz"));
        let fetched = from.fetch(&package_path(id), &target, observer);
        let fetched = fetched.map_err(|error| {
            let is_over = observer.is_interrupted();
            if is_over { HostRepositoryError::Interrupted(id.clone()) } else { error.into() }
        })?;
        let mut file = fetched.ok_or_else(|| HostRepositoryError::NotOffered(id.clone()))?;
        let archive = |source| HostRepositoryError::Archive { id: id.clone(), source };
        file.file().rewind().map_err(archive)?;
        let file: &mut File = file.file();
        let other = |reason| Err(HostRepositoryError::OtherPackage { id: id.clone(), reason });
        self.unpack(id, file, observer, other)
    }

    /// Unpacks a package into its folder, unless present.
    fn unpack(
        &self,
        id: &PackageId,
        archive: impl Read,
        observer: &dyn Observer,
        is_other: impl FnOnce(String) -> Result<(), HostRepositoryError>,
    ) -> Result<Add, HostRepositoryError> {
        if self.has(id) {
            return Ok(Add::There);
        }
        let folder = self.temporary(id);
        // Leftovers of the sweep must not become part of the package.
        remove_all_closed(&folder).map_err(|source| HostRepositoryError::Change {
            action: "add",
            id: id.clone(),
            source,
        })?;
        let archive = UntilInterrupted { inner: archive, observer };
        let mut result = self.unpack_into(&folder, id, archive, is_other);
        if result.is_err() && observer.is_interrupted() {
            result = Err(HostRepositoryError::Interrupted(id.clone()));
        }
        if result.is_err() {
            drop(remove_all_closed(&folder));
            if !self.has(id) {
                // The package is there if only the last sync of the folder failed, and keeps its
                // record then.
                drop(PackageManifest::remove(self.folder, id));
            }
        }
        result.map(|()| Add::Added)
    }

    fn unpack_into(
        &self,
        folder: &Path,
        id: &PackageId,
        archive: impl Read,
        is_other: impl FnOnce(String) -> Result<(), HostRepositoryError>,
    ) -> Result<(), HostRepositoryError> {
        let change = |source| HostRepositoryError::Change { action: "add", id: id.clone(), source };
        let mut manifest = PackageManifest::default();
        unpack_package_watched(archive, folder, &ArchiveLimits::default(), &mut |entry, sum| {
            manifest.add(entry, sum);
        })
        .map_err(|source| HostRepositoryError::Unpack {
            id: id.clone(),
            source: Box::new(source),
        })?;
        let buildinfo = EntryPath::parse(b"buildinfo.full.json").unwrap_or_default();
        let mut text = None;
        if manifest.is_file(&buildinfo) {
            text = Some(fs_err::read(folder.join(buildinfo.as_path())).map_err(change)?);
        }
        if let Err(reason) = contents::check(id, text.as_deref()) {
            is_other(reason)?;
        }
        // What activation would refuse whatever else is active.
        PackageContents::from_directory(id, folder)?;
        PackageContents::check_built(id, folder)?;
        self.put_in_place(id, &manifest).map_err(change)
    }

    /// Renames a complete package to its final name.
    fn put_in_place(&self, id: &PackageId, manifest: &PackageManifest) -> io::Result<()> {
        let folder = self.temporary(id);
        manifest.write(self.folder, id)?;
        // On disk before it has its name: after a power cut, a package that is there is whole.
        super::sync::sync([folder.as_path()]).map_err(io::Error::other)?;
        fs_err::rename(folder, self.place(id))?;
        // The name itself, without which a synced package would be a leftover for the sweep.
        sync_folder(self.folder)
    }

    /// Adds a package made of files; the caller holds the lock, and removes leftovers at
    /// [`PackageRepository::temporary`] after an error.
    pub(super) fn add_files(&self, id: &PackageId, files: &[LateFile]) -> io::Result<()> {
        let folder = self.temporary(id);
        fs_err::create_dir(&folder)?;
        for file in files {
            let path = folder.join(file.path.as_path());
            if let Some(above) = path.parent() {
                fs_err::create_dir_all(above)?;
            }
            // Secret ones are so from the beginning.
            let mut options = fs_err::OpenOptions::new();
            let mut out =
                options.write(true).create_new(true).mode(file.mode & 0o600).open(&path)?;
            out.write_all(file.content.as_bytes())?;
            fs_err::set_permissions(&path, PermissionsExt::from_mode(file.mode))?;
        }
        self.put_in_place(id, &PackageManifest::of_folder(&folder)?)
    }

    /// Path of a package during its unpacking or removal.
    pub(super) fn temporary(&self, id: &PackageId) -> PathBuf {
        self.folder.join(format!("{TEMPORARY_PREFIX}{id}"))
    }

    /// Removes a package, if present; the caller has checked that the package is not active, and
    /// holds the lock.
    pub(super) fn remove(&self, id: &PackageId) -> Result<bool, HostRepositoryError> {
        let change =
            |source| HostRepositoryError::Change { action: "remove", id: id.clone(), source };
        let gone = self.temporary(id);
        remove_all_closed(&gone).map_err(change)?;
        // Under its name a package is whole or gone, whenever the removal ends.
        match fs_err::rename(self.place(id), &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(change)?,
        }
        remove_all_closed(&gone).map_err(change)?;
        PackageManifest::remove(self.folder, id).map_err(change)?;
        Ok(true)
    }
}
