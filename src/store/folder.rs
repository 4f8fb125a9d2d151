//! A folder as a store.
//!
//! ```text
//! <folder>/<key>          an object; a symlink to a file, or in place of a folder, is followed
//! <folder>/…/.tmp-…       an object under construction; swept by a later put after a day
//! ```
//!
//! An object is written under another name, synced and renamed, which fails if the name is taken, unless
//! the object is to be replaced. Descriptions are not kept. The folder belongs to its user:
//! symlinks inside may lead anywhere, as the user has made them. Puts and removals act on the name
//! itself. The folder may be on a network filesystem with several writing machines; no lock is
//! taken.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::backend::{About, Backend, Content, Got, Head, Listed, Put, Transfer};
use super::error::StoreError;
use super::key::Key;
use crate::base::atomic::{AtomicFile, naming_file, sweep_older};
use crate::base::regular::open_regular;

/// Number of bytes copied between two checks for an interruption.
const COPIED_AT_ONCE: u64 = 64 << 20;
const BUFFER: usize = 256 << 10;
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

    fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(key.as_str())
    }

    /// Opens an object: a regular file, since anything else might have no end.
    fn open(&self, key: &Key) -> Result<File, StoreError> {
        let path = self.path(key);
        match open_regular(&path) {
            Ok(file) => Ok(file.into_file()),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(self.not_found(key)),
            Err(error) if is_absent(&error) => Err(self.not_found(key)),
            Err(error) => Err(self.failed("read", key, error)),
        }
    }

    /// Opens an object whose file the kernel is to copy, and tells its length.
    fn opened(&self, key: &Key) -> Result<(File, u64), StoreError> {
        let file = self.open(key)?;
        let length = file.metadata().map_err(|error| self.failed("read", key, error))?.len();
        Ok((file, length))
    }

    /// True if there is anything under a name that an object may have; a folder is an error.
    fn has_name(&self, key: &Key) -> Result<bool, StoreError> {
        match fs_err::symlink_metadata(self.path(key)) {
            Ok(data) if data.is_dir() => {
                let error = io::Error::other("there is a folder of that name");
                Err(self.failed("write", key, error))
            }
            found => Ok(found.is_ok()),
        }
    }

    /// Writes an object under another name, and has `commit` name it.
    fn write<T>(
        &self,
        key: &Key,
        content: Content<'_>,
        transfer: &Transfer<'_>,
        commit: impl FnOnce(AtomicFile) -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let path = self.path(key);
        let failed = |error| self.failed("write", key, error);
        let mut file = AtomicFile::create(&path).map_err(failed)?;
        write_content(&mut file, key, content, transfer, &failed)?;
        let written = commit(file).map_err(failed)?;
        // Leftovers of others are harmless.
        drop(path.parent().map(|folder| sweep_older(folder, ABANDONED)));
        Ok(written)
    }

    fn not_found(&self, key: &Key) -> StoreError {
        StoreError::NotFound { store: self.name(), key: key.clone() }
    }

    fn failed(&self, operation: &'static str, key: &dyn ToString, error: io::Error) -> StoreError {
        let (store, key) = (self.name(), key.to_string());
        StoreError::File { operation, key, store, error }
    }

    /// Lists the objects in one folder and below.
    fn walk(
        &self,
        prefix: &str,
        above: &mut Vec<(u64, u64)>,
        found: &mut Vec<Listed>,
        transfer: &Transfer<'_>,
    ) -> Result<(), StoreError> {
        let failed = |error| self.failed("list", &prefix.trim_end_matches('/'), error);
        let folder = self.folder.join(prefix);
        let entries = fs_err::metadata(&folder)
            .and_then(|data| Ok((data.dev(), data.ino(), fs_err::read_dir(&folder)?)));
        let (device, inode, entries) = match entries {
            Err(error) if is_absent(&error) => return Ok(()),
            other => other.map_err(failed)?,
        };
        if above.contains(&(device, inode)) {
            // A symlink to a folder above: the same objects again, without an end.
            return Ok(());
        }
        above.push((device, inode));
        for entry in entries {
            if transfer.observer.is_interrupted() {
                return Err(StoreError::Interrupted);
            }
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let key = name.to_str().and_then(|name| format!("{prefix}{name}").parse::<Key>().ok());
            let Some(key) = key else { continue };
            match fs_err::metadata(entry.path()) {
                Ok(data) if data.is_dir() => {
                    self.walk(&format!("{key}/"), above, found, transfer)?;
                }
                Ok(data) if data.is_file() => found.push(Listed { key, size: data.len() }),
                Ok(_) => {}
                // Removed meanwhile, or a symlink to nothing.
                Err(error) if is_absent(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        above.pop();
        Ok(())
    }
}

impl Backend for FolderBackend {
    fn name(&self) -> String {
        self.folder.display().to_string()
    }

    fn local_folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }

    fn get(&self, key: &Key, to: &mut File, transfer: &Transfer<'_>) -> Result<Got, StoreError> {
        let from = self.open(key)?;
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
                Ok(0) => return Ok(Got { bytes, is_pieced: false }),
                Ok(count) => bytes += count,
                Err(error) if is_of_destination(&error) => return Err(kept(to, error)),
                Err(error) => return Err(self.failed("read", key, naming_file(&from, error))),
            }
        }
    }

    fn get_range(
        &self,
        key: &Key,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &Transfer<'_>,
    ) -> Result<u64, StoreError> {
        if range.is_empty() {
            return Ok(0);
        }
        let mut from = self.open(key)?;
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

    fn head(&self, key: &Key, _: &Transfer<'_>) -> Result<Head, StoreError> {
        match fs_err::metadata(self.path(key)) {
            Ok(data) if data.is_file() => Ok(Head { size: Some(data.len()) }),
            Ok(_) => Err(self.not_found(key)),
            Err(error) if is_absent(&error) => Err(self.not_found(key)),
            Err(error) => Err(self.failed("look for", key, error)),
        }
    }

    fn put_described(
        &self,
        key: &Key,
        content: Content<'_>,
        _: &About<'_>,
        transfer: &Transfer<'_>,
    ) -> Result<Put, StoreError> {
        if self.has_name(key)? {
            return Ok(Put::WasThere);
        }
        let written = self.write(key, content, transfer, |file| file.prepare()?.put_if_absent())?;
        Ok(if written { Put::Written } else { Put::WasThere })
    }

    fn replace(
        &self,
        key: &Key,
        content: Content<'_>,
        _: &About<'_>,
        transfer: &Transfer<'_>,
    ) -> Result<(), StoreError> {
        self.has_name(key)?;
        self.write(key, content, transfer, AtomicFile::commit)
    }

    fn copy(
        &self,
        from: &Key,
        to: &Key,
        about: &About<'_>,
        transfer: &Transfer<'_>,
    ) -> Result<(), StoreError> {
        let (file, length) = self.opened(from)?;
        self.replace(to, Content::File(&path_of(&file), length), about, transfer)
    }

    fn copy_new(
        &self,
        from: &Key,
        to: &Key,
        about: &About<'_>,
        transfer: &Transfer<'_>,
    ) -> Result<Put, StoreError> {
        let (file, length) = self.opened(from)?;
        self.put_described(to, Content::File(&path_of(&file), length), about, transfer)
    }

    fn list(
        &self,
        below: Option<&Key>,
        transfer: &Transfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        let prefix = below.map_or_else(String::new, |key| format!("{key}/"));
        let mut found = Vec::new();
        self.walk(&prefix, &mut Vec::new(), &mut found, transfer)?;
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, key: &Key, _: &Transfer<'_>) -> Result<bool, StoreError> {
        let path = self.path(key);
        if fs_err::symlink_metadata(&path).is_ok_and(|data| data.is_dir()) {
            return Ok(false);
        }
        match fs_err::remove_file(path) {
            Ok(()) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(self.failed("remove", key, error)),
        }
    }
}

/// Path of an open file: between two plain files the kernel copies, or shares the blocks where it can.
fn path_of(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Copies content of exactly the announced length.
fn write_content(
    file: &mut AtomicFile,
    key: &Key,
    content: Content<'_>,
    transfer: &Transfer<'_>,
    failed: &dyn Fn(io::Error) -> StoreError,
) -> Result<(), StoreError> {
    let unreadable = |error| StoreError::Content { key: key.clone(), error };
    let (path, length) = match content {
        Content::Bytes(bytes) => return file.write_all(bytes).map_err(failed),
        Content::File(path, length) => (path, length),
    };
    let from = fs_err::File::open(path).map_err(unreadable)?.into_file();
    let (mut from, mut done) = (from.take(length), 0);
    while done < length {
        if transfer.observer.is_interrupted() {
            return Err(StoreError::Interrupted);
        }
        match io::copy(&mut from.by_ref().take(COPIED_AT_ONCE), file.file()) {
            Ok(0) => {
                let text = format!("it ends after {done} of {length} bytes");
                return Err(unreadable(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
            Ok(count) => done += count,
            Err(error) if is_of_destination(&error) => {
                return Err(failed(naming_file(file.file(), error)));
            }
            Err(error) => return Err(unreadable(error)),
        }
    }
    Ok(())
}

/// True if an error means a missing file.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// True if an error of a copy can only come from the file that is written.
fn is_of_destination(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
            | io::ErrorKind::ReadOnlyFilesystem
    )
}
