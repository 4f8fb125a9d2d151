//! A mirror as one tar archive: members in the order of their names, without times and owners, the lock file last.
//!
//! An archive is written to `<file>.part` beside the old one, and renamed. A killed run leaves that
//! file, and the next run replaces the leftover: the mirror's lock is held.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use fs_err::os::unix::fs::OpenOptionsExt;
use tar::{Builder, EntryType, Header};

use super::changes::{BUFFER, MirrorChanges, MirrorSummary};
use super::contents::{MirrorContent, MirrorFile};
use super::error::MirrorError;
use super::existing::{MirrorStamps, SUBJECT, stamp_of};
use crate::base::atomic::{self, TemporaryFolder};
use crate::base::digest::Tee;
use crate::base::early_writer::EarlyWriter;
use crate::base::event::Observer;
use crate::base::regular::open_measured;
use crate::base::threaded_hasher::ThreadedHasher;
use crate::store::{LockFile, LockedFile, ObjectKey, StoreTransfer};

/// Archive under construction, removed unless committed.
struct UnfinishedArchive {
    path: PathBuf,
    file: fs_err::File,
    is_done: bool,
}

impl UnfinishedArchive {
    fn create(place: &Path) -> io::Result<Self> {
        let mut name = place.as_os_str().to_owned();
        name.push(".part");
        let path = PathBuf::from(name);
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = fs_err::OpenOptions::new();
        // Never through a link: the folder of a mirror may be others' as well.
        let file = options.write(true).create_new(true).mode(0o644).open(&path)?;
        Ok(Self { path, file, is_done: false })
    }

    fn put_in_place(mut self, place: &Path) -> io::Result<()> {
        // Before the rename: after a power cut, a name must not lead to an empty file.
        self.file.sync_all()?;
        fs_err::rename(&self.path, place)?;
        self.is_done = true;
        atomic::sync_folder(place.parent().unwrap_or(place))
    }
}

impl Drop for UnfinishedArchive {
    fn drop(&mut self) {
        if !self.is_done {
            // The error that ended the run matters more.
            drop(fs_err::remove_file(&self.path));
        }
    }
}

/// Writes an archive, unless the existing one is complete.
pub(super) fn write(changes: &MirrorChanges<'_>) -> Result<MirrorSummary, MirrorError> {
    changes.archive()
}

impl MirrorChanges<'_> {
    /// Writes an archive, unless the existing one is complete.
    fn archive(&self) -> Result<MirrorSummary, MirrorError> {
        let place = &self.existing.place;
        if self.new.is_empty() && self.dropped.is_empty() && place.exists() {
            self.existing.note(&self.existing.stamps).map_err(|error| self.failed(error))?;
            return Ok(self.written(&LockFile { files: self.kept.clone() }));
        }
        let own = self.existing.noted.with_extension("work");
        fs_err::create_dir_all(&own).map_err(|error| self.failed(error))?;
        atomic::sweep_under_lock(&own).report(self.observer);
        let scratch = TemporaryFolder::create(&own).map_err(|error| self.failed(error))?;
        let mut part = UnfinishedArchive::create(place).map_err(|error| self.failed(error))?;
        let mut lock = LockFile { files: self.kept.clone() };
        let writer = EarlyWriter::new(part.file.file_mut()).map_err(|error| self.failed(error))?;
        let output = io::BufWriter::with_capacity(BUFFER, writer);
        let mut tar = Builder::new(output);
        // In the order of names, so that the same contents give the same bytes.
        let keys: BTreeSet<&ObjectKey> = self.kept.keys().chain(self.new.keys()).collect();
        for key in keys {
            match (self.new.get(key), self.kept.get(key)) {
                (Some(item), _) => {
                    let locked = self.append_new(&mut tar, key, item, scratch.path())?;
                    lock.files.insert(key.clone(), locked);
                }
                (None, Some(locked)) => self.append_old(&mut tar, key, locked)?,
                (None, None) => {}
            }
        }
        let text = lock.to_text();
        append(&mut tar, &LockFile::key(), text.len() as u64, text.as_slice())
            .map_err(|error| self.failed(error))?;
        let finished = tar.into_inner().and_then(|mut output| output.flush());
        finished.map_err(|error| self.failed(error))?;
        part.put_in_place(place).map_err(|error| self.failed(error))?;
        drop(scratch);
        // Leftovers of other runs may be in it; they are swept the next time.
        drop(fs_err::remove_dir(own));
        let stamps =
            MirrorStamps(stamp_of(place).map(|stamp| (String::new(), stamp)).into_iter().collect());
        self.existing.note(&stamps).map_err(|error| self.failed(error))?;
        Ok(self.written(&lock))
    }

    /// Appends a new file. Its size precedes its content, so a file of unknown size is made first.
    fn append_new(
        &self,
        tar: &mut Builder<impl Write>,
        key: &ObjectKey,
        item: &MirrorFile,
        scratch: &Path,
    ) -> Result<LockedFile, MirrorError> {
        let staged = scratch.join("staged");
        let Some(MirrorContent::File(path)) = &item.content else {
            let mut file = fs_err::File::create(&staged).map_err(|error| self.failed(error))?;
            let locked = self.fill(item, &scratch.join("made.bundle"), &mut file)?;
            let file = fs_err::File::open(&staged).map_err(|error| self.failed(error))?;
            append(tar, key, locked.size, file).map_err(|error| self.failed(error))?;
            return Ok(locked);
        };
        let (file, size) = open_measured(path).map_err(|error| self.failed(error))?;
        let watched = WatchedReader { from: file, observer: self.observer };
        let mut tee = Tee::with(watched, ThreadedHasher::new());
        let appended = append(tar, key, size, &mut tee);
        if self.observer.is_interrupted() {
            return Err(MirrorError::Interrupted);
        }
        appended.map_err(|error| self.failed(error))?;
        let sums = tee.finish().1;
        let origin = item.origin.clone();
        Ok(LockedFile { sha256: sums.sha256, size, origin, refs: BTreeMap::new() })
    }

    /// Copies a file of the archive that is replaced.
    fn append_old(
        &self,
        tar: &mut Builder<impl Write>,
        key: &ObjectKey,
        locked: &LockedFile,
    ) -> Result<(), MirrorError> {
        write_header(tar, key, locked.size).map_err(|error| self.failed(error))?;
        let transfer = StoreTransfer { subject: SUBJECT, observer: self.observer };
        let backend = self.existing.store.backend();
        let count = backend.get_range(key, 0..locked.size, tar.get_mut(), &transfer)?;
        // Members are padded to whole blocks (POSIX.1-2017, pax, "ustar Interchange Format").
        let rest = (512 - count % 512) % 512;
        let padding = vec![0; usize::try_from(rest).unwrap_or(0)];
        tar.get_mut().write_all(&padding).map_err(|error| self.failed(error))
    }
}

/// Appends a member without times and owners.
fn append(
    tar: &mut Builder<impl Write>,
    key: &ObjectKey,
    size: u64,
    mut from: impl Read,
) -> io::Result<()> {
    write_header(tar, key, size)?;
    let copied = io::copy(&mut from.by_ref().take(size), tar.get_mut())?;
    // The header with the size is written already, so a shorter file cannot be mended here.
    if copied != size {
        let text = format!("{key} is shorter than it was");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    let rest = usize::try_from((512 - size % 512) % 512).unwrap_or(0);
    tar.get_mut().write_all(&vec![0; rest])
}

fn write_header(tar: &mut Builder<impl Write>, key: &ObjectKey, size: u64) -> io::Result<()> {
    const LONGEST_NAME: usize = 100;
    let name = key.as_str();
    if name.len() > LONGEST_NAME {
        // As GNU tar writes it: the name is the content of a member before.
        let mut long = header(b"././@LongLink", EntryType::GNULongName, name.len() as u64 + 1);
        tar.get_mut().write_all(long.as_bytes())?;
        let mut text = name.as_bytes().to_vec();
        text.resize(text.len().next_multiple_of(512).max(512), 0);
        // The name ends with a NUL, which needs a block of its own then.
        if name.len().is_multiple_of(512) {
            text.extend([0; 512]);
        }
        tar.get_mut().write_all(&text)?;
        long = header(&name.as_bytes()[..LONGEST_NAME], EntryType::Regular, size);
        return tar.get_mut().write_all(long.as_bytes());
    }
    tar.get_mut().write_all(header(name.as_bytes(), EntryType::Regular, size).as_bytes())
}

fn header(name: &[u8], kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    header
}

/// A reader that ends when the run is over.
struct WatchedReader<'w, R> {
    from: R,
    observer: &'w dyn Observer,
}

impl<R: Read> Read for WatchedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observer.is_interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.from.read(buffer)
    }
}
