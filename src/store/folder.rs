//! A folder as a store.
//!
//! ```text
//! <folder>/<key>          an object
//! <folder>/…/.tmp-…       an object under construction; swept by a later put after a day
//! ```
//!
//! An object is written under another name, synced and renamed, which fails if the name is taken, unless
//! the object is to be replaced. Nothing of a description is kept. The folder may lie on a network filesystem
//! that several machines write to; no lock is taken.
//!
//! Others may write to the folder. So everything below it is reached by descriptors and through no symlink, which
//! could lead to a private file of the caller's, or have the caller write into a folder of its own; and an object
//! is a regular file of limited size, since anything else might have no end. The folder itself may be a symlink.

mod below;
mod copy;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use self::below::{find, is_absent, is_link, kind, name_of, object, parent};
use self::copy::{COPIED_AT_ONCE, is_of_destination, path_of, write_content};
use super::backend::{
    About, Backend, GotObject, Listed, ObjectContent, ObjectHead, Put, StoreTransfer,
};
use super::error::StoreError;
use super::key::ObjectKey;
use crate::base::atomic::{AtomicFile, naming_file, sweep_older};
use crate::base::event::Event;

const BUFFER: usize = 256 << 10;
/// Upper limit of an object's size in bytes: that of a download.
const LONGEST: u64 = 64 << 30;
/// Upper limit of the number of entries that are listed.
const MOST_LISTED: usize = 20_000_000;
/// Age of a file under construction that no process works at any more.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// Store in a folder of this machine.
#[derive(Debug)]
pub struct FolderBackend {
    folder: PathBuf,
}

impl FolderBackend {
    /// Creates a store in a folder, which the first put makes if missing.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Opens an object of at most so many bytes.
    fn open(
        &self,
        key: &ObjectKey,
        longest: u64,
        transfer: &StoreTransfer<'_>,
    ) -> Result<File, StoreError> {
        let (found, size) = match object(&self.folder, key) {
            Err(error) if is_link(&error) => {
                let (subject, name) = (transfer.subject.to_owned(), self.name());
                let message = format!(
                    "{name}/{key} is a symbolic link, or in the folder of one, and is not followed: put the file itself there"
                );
                transfer.observer.event(Event::Warning { subject, message });
                return Err(self.not_found(key));
            }
            Err(error) if is_absent(&error) => return Err(self.not_found(key)),
            other => other.map_err(|error| self.failed("read", key, error))?,
        };
        let longest = longest.min(LONGEST);
        if size > longest {
            return Err(StoreError::TooLarge { store: self.name(), key: key.clone(), longest });
        }
        // What was looked at, whatever has its name by now.
        let path = format!("/proc/self/fd/{}", found.as_raw_fd());
        let opened = std::fs::OpenOptions::new().read(true).open(path);
        opened.map_err(|error| {
            let place = self.folder.join(key.as_str());
            let message = format!("failed to open file `{}`: {error}", place.display());
            self.failed("read", key, io::Error::new(error.kind(), message))
        })
    }

    /// Opens an object whose file the kernel is to copy, and tells its length.
    fn opened(
        &self,
        key: &ObjectKey,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(File, u64), StoreError> {
        let file = self.open(key, LONGEST, transfer)?;
        let length = file.metadata().map_err(|error| self.failed("read", key, error))?.len();
        Ok((file, length))
    }

    /// True if there is anything under a name that an object may have; a folder is an error.
    fn has_name(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        let failed = |error| self.failed("write", key, error);
        let parent = match parent(&self.folder, key, false) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(failed)?,
        };
        match fstatat(&parent, name_of(key), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(data) if kind(data.st_mode) == SFlag::S_IFDIR => {
                Err(failed(io::Error::other("there is a folder of that name")))
            }
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Writes an object under another name, and has `commit` name it.
    fn write<T>(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        transfer: &StoreTransfer<'_>,
        commit: impl FnOnce(AtomicFile) -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let parent =
            parent(&self.folder, key, true).map_err(|error| self.failed("write", key, error))?;
        let folder = PathBuf::from(format!("/proc/self/fd/{}", parent.as_raw_fd()));
        let shown = self.folder.join(key.as_str());
        let failed = |error: io::Error| {
            // By the name that a person knows.
            let shown = shown.parent().unwrap_or(&shown);
            let [from, to] = [&folder, shown].map(|folder| format!("{}/", folder.display()));
            let text = error.to_string();
            let error = if text.contains(&from) {
                io::Error::new(error.kind(), text.replace(&from, &to))
            } else {
                error
            };
            self.failed("write", key, error)
        };
        let mut file = AtomicFile::create(&folder.join(name_of(key))).map_err(failed)?;
        write_content(&mut file, key, content, transfer, &failed)?;
        let written = commit(file).map_err(failed)?;
        // The leftovers of others harm nobody.
        drop(sweep_older(&folder, ABANDONED));
        Ok(written)
    }

    fn not_found(&self, key: &ObjectKey) -> StoreError {
        StoreError::NotFound { store: self.name(), key: key.clone() }
    }

    fn failed(&self, operation: &'static str, key: &dyn ToString, error: io::Error) -> StoreError {
        let (store, key) = (self.name(), key.to_string());
        StoreError::File { operation, key, store, error }
    }

    /// Lists the objects of one folder; returns the folders in it.
    fn list_folder(
        &self,
        prefix: &str,
        found: &mut Vec<Listed>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<String>, StoreError> {
        let failed = |error| self.failed("list", &prefix.trim_end_matches('/'), error);
        let path = if prefix.is_empty() { "." } else { prefix.trim_end_matches('/') };
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = find(&self.folder, path).and_then(|folder| {
            let entries = Dir::openat(&folder, c".", flags, Mode::empty())?;
            Ok((folder, entries))
        });
        let (folder, mut entries) = match opened {
            Err(error) if is_absent(&error) || is_link(&error) => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut folders = Vec::new();
        for entry in entries.iter() {
            if transfer.observer.is_interrupted() {
                return Err(StoreError::Interrupted);
            }
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = entry.file_name();
            let text = name.to_str().ok().filter(|name| !matches!(*name, "." | ".."));
            let key = text.and_then(|name| format!("{prefix}{name}").parse::<ObjectKey>().ok());
            let Some(key) = key else { continue };
            let data = match fstatat(&folder, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
                // Removed meanwhile.
                Err(Errno::ENOENT) => continue,
                other => other.map_err(|error| failed(error.into()))?,
            };
            match kind(data.st_mode) {
                // Of the entry itself: a link to a folder is a link here, and is passed over.
                SFlag::S_IFDIR => folders.push(format!("{key}/")),
                SFlag::S_IFREG => {
                    let size = u64::try_from(data.st_size).unwrap_or(0);
                    found.push(Listed { key, size });
                }
                _ => {}
            }
            if found.len() + folders.len() > MOST_LISTED {
                let message = format!("there are more than {MOST_LISTED} objects");
                return Err(failed(io::Error::other(message)));
            }
        }
        Ok(folders)
    }
}

impl Backend for FolderBackend {
    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn local_folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }

    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        let from = self.open(key, longest, transfer)?;
        let kept = |to: &File, error| StoreError::Destination {
            key: key.clone(),
            error: naming_file(to, error),
        };
        to.set_len(0).and_then(|()| to.rewind()).map_err(|error| kept(to, error))?;
        let mut bytes = 0;
        loop {
            if transfer.observer.is_interrupted() {
                return Err(StoreError::Interrupted);
            }
            // Two plain files: the kernel copies, or shares the blocks where it can.
            match io::copy(&mut (&from).take(COPIED_AT_ONCE), to) {
                Ok(0) => return Ok(GotObject { bytes, is_pieced: false }),
                Ok(count) => bytes += count,
                Err(error) if is_of_destination(&error) => return Err(kept(to, error)),
                Err(error) => return Err(self.failed("read", key, naming_file(&from, error))),
            }
        }
    }

    fn get_range(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
    ) -> Result<u64, StoreError> {
        if range.is_empty() {
            return Ok(0);
        }
        let mut from = self.open(key, LONGEST, transfer)?;
        let failed = |from: &File, error| self.failed("read", key, naming_file(from, error));
        from.seek(SeekFrom::Start(range.start)).map_err(|error| failed(&from, error))?;
        let (mut left, mut buffer) = (range.end - range.start, vec![0; BUFFER]);
        while left > 0 && !transfer.observer.is_interrupted() {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let count = match from.read(&mut buffer[..most]) {
                Ok(0) => return Ok(range.end - range.start - left),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(&from, error)),
            };
            to.write_all(&buffer[..count])
                .map_err(|error| StoreError::Destination { key: key.clone(), error })?;
            left -= count as u64;
        }
        if left > 0 { Err(StoreError::Interrupted) } else { Ok(range.end - range.start) }
    }

    fn head(&self, key: &ObjectKey, _: &StoreTransfer<'_>) -> Result<ObjectHead, StoreError> {
        match object(&self.folder, key) {
            Ok((_, size)) => Ok(ObjectHead { size: Some(size) }),
            Err(error) if is_absent(&error) || is_link(&error) => Err(self.not_found(key)),
            Err(error) => Err(self.failed("look for", key, error)),
        }
    }

    fn put_described(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        _: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        // Before the content is written, which may be long; the rename decides in the end.
        if self.has_name(key)? {
            return Ok(Put::WasThere);
        }
        let written = self.write(key, content, transfer, |file| file.prepare()?.put_if_absent())?;
        Ok(if written { Put::Written } else { Put::WasThere })
    }

    fn replace(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        _: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        self.has_name(key)?;
        self.write(key, content, transfer, AtomicFile::commit)
    }

    fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        let (file, length) = self.opened(from, transfer)?;
        self.replace(to, ObjectContent::File(&path_of(&file), length), about, transfer)
    }

    fn copy_new(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let (file, length) = self.opened(from, transfer)?;
        self.put_described(to, ObjectContent::File(&path_of(&file), length), about, transfer)
    }

    fn list(
        &self,
        below: Option<&ObjectKey>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        let prefix = below.map_or_else(String::new, |key| format!("{key}/"));
        let mut found = Vec::new();
        let mut left = vec![prefix];
        while let Some(prefix) = left.pop() {
            left.extend(self.list_folder(&prefix, &mut found, transfer)?);
        }
        // The order of a folder's entries is the filesystem's.
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, key: &ObjectKey, _: &StoreTransfer<'_>) -> Result<bool, StoreError> {
        let failed = |error| self.failed("remove", key, error);
        let parent = match parent(&self.folder, key, false) {
            Err(error) if is_absent(&error) => return Ok(false),
            other => other.map_err(failed)?,
        };
        let name = name_of(key);
        let is_folder = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|data| kind(data.st_mode) == SFlag::S_IFDIR);
        // A key below it would be lost, and no object has the name of a folder.
        if is_folder {
            return Ok(false);
        }
        match unlinkat(&parent, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(error) => {
                let (error, place) = (io::Error::from(error), self.folder.join(key.as_str()));
                let message = format!("failed to remove file `{}`: {error}", place.display());
                Err(failed(io::Error::new(error.kind(), message)))
            }
        }
    }
}
