//! Carrying out the difference between what a mirror holds and what it is to hold.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tar::{Builder, EntryType, Header};

use super::contents::{Content, Contents, Item, index_entries};
use super::error::MirrorError;
use super::existing::{Existing, SUBJECT, States, lock_path, state_of};
use crate::base::atomic::{self, AtomicFile, TemporaryFolder};
use crate::base::digest::Tee;
use crate::base::event::Observer;
use crate::image::registry::IMAGES;
use crate::source::{BundleRequest, FetchOptions};
use crate::store::{Key, LockFile, LockedFile, Transfer};

const BUFFER: usize = 256 << 10;

/// What writing a mirror has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of files of the mirror.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Number of files that were written.
    pub added: usize,
    /// Number of files that were dropped.
    pub dropped: usize,
}

/// Difference to be carried out.
struct Work<'w> {
    existing: &'w Existing,
    /// Files that stay as they are.
    kept: BTreeMap<Key, LockedFile>,
    /// Files to be written.
    new: BTreeMap<Key, Item>,
    dropped: Vec<Key>,
    fetch: &'w FetchOptions,
    observer: &'w dyn Observer,
}

/// Makes a mirror hold its contents, and nothing else if `prune` is set.
pub fn write(
    existing: &Existing,
    mut contents: Contents,
    prune: bool,
    fetch: &FetchOptions,
    observer: &dyn Observer,
) -> Result<Written, MirrorError> {
    let old = if prune { BTreeMap::new() } else { old_images(existing, observer)? };
    contents.finish(old);
    let work = Work::plan(existing, contents, prune, fetch, observer);
    if existing.is_tar { work.archive() } else { work.folder() }
}

fn old_images(
    existing: &Existing,
    observer: &dyn Observer,
) -> Result<BTreeMap<String, serde_json::Value>, MirrorError> {
    let name = format!("{IMAGES}/index.json");
    if !existing.has(&name) {
        return Ok(BTreeMap::new());
    }
    let mut text = Vec::new();
    let transfer = Transfer { subject: SUBJECT, observer };
    existing.store.backend().get_range(&name.parse()?, 0..u64::MAX, &mut text, &transfer)?;
    Ok(index_entries(&text))
}

impl<'w> Work<'w> {
    fn plan(
        existing: &'w Existing,
        contents: Contents,
        prune: bool,
        fetch: &'w FetchOptions,
        observer: &'w dyn Observer,
    ) -> Self {
        let mut kept = BTreeMap::new();
        let mut new = BTreeMap::new();
        let mut old = existing.lock.files.clone();
        for (key, item) in contents.items {
            let mut item = item;
            let locked = old.remove(&key);
            if let (Some(Content::Bundle(_)), Some(locked), false) = (&item.content, &locked, prune)
            {
                // Other trees may find the commit by these.
                let short = |name: &String| Some(name.strip_prefix("refs/heads/")?.to_owned());
                item.ref_origins.extend(locked.refs.keys().filter_map(short));
            }
            match locked {
                Some(locked) if is_same(&key, &item, &locked) => {
                    kept.insert(key, locked);
                }
                _ if item.content.is_some() => {
                    new.insert(key, item);
                }
                // Its caller said that the mirror has it.
                Some(locked) => {
                    kept.insert(key, locked);
                }
                None => {}
            }
        }
        let mut dropped = Vec::new();
        if prune {
            dropped.extend(old.into_keys());
        } else {
            kept.extend(old);
        }
        Self { existing, kept, new, dropped, fetch, observer }
    }

    fn failed(&self, source: io::Error) -> MirrorError {
        MirrorError::Write { place: self.existing.place.clone(), source }
    }

    fn written(&self, lock: &LockFile) -> Written {
        Written {
            files: lock.files.len(),
            bytes: lock.files.values().map(|file| file.size).sum(),
            added: self.new.len(),
            dropped: self.dropped.len(),
        }
    }

    /// Writes a new file's content to `to`; returns its entry.
    fn fill(
        &self,
        item: &Item,
        scratch: &Path,
        to: &mut dyn Write,
    ) -> Result<LockedFile, MirrorError> {
        let mut refs = BTreeMap::new();
        let mut bundle = PathBuf::new();
        let (mut bytes, mut file);
        let from: &mut dyn Read = match item.content.as_ref() {
            Some(Content::Bytes(content)) => {
                bytes = content.as_slice();
                &mut bytes
            }
            Some(Content::File(path)) => {
                file = fs_err::File::open(path).map_err(|error| self.failed(error))?;
                &mut file
            }
            Some(Content::Bundle(wanted)) => {
                bundle = scratch.join("made.bundle");
                let request = BundleRequest {
                    subject: SUBJECT,
                    url: item.origin.as_deref().unwrap_or_default(),
                    repository: &wanted.repository,
                    commit: &wanted.commit,
                    ref_origins: &item.ref_origins,
                };
                refs = request.write(&bundle, self.fetch, self.observer).map_err(|source| {
                    let commit = wanted.commit.to_string();
                    MirrorError::Bundle { commit, source: Box::new(source) }
                })?;
                // Names that mean the commit itself without a ref.
                refs.extend(
                    item.ref_origins
                        .iter()
                        .map(|name| (name.clone(), wanted.commit.to_string()))
                        .filter(|(name, _)| name == "HEAD" || *name == wanted.commit.to_string()),
                );
                file = fs_err::File::open(&bundle).map_err(|error| self.failed(error))?;
                &mut file
            }
            None => unreachable!("a new file has a content"),
        };
        let mut tee = Tee::new(to);
        let mut buffer = vec![0; BUFFER];
        loop {
            if self.observer.is_interrupted() {
                return Err(MirrorError::Interrupted);
            }
            match from.read(&mut buffer).map_err(|error| self.failed(error))? {
                0 => break,
                count => tee.write_all(&buffer[..count]).map_err(|error| self.failed(error))?,
            }
        }
        if !bundle.as_os_str().is_empty() {
            fs_err::remove_file(bundle).map_err(|error| self.failed(error))?;
        }
        let sums = tee.finish().1;
        let origin = item.origin.clone();
        Ok(LockedFile { sha256: sums.sha256, size: sums.bytes, origin, refs })
    }

    /// Changes a folder.
    fn folder(self) -> Result<Written, MirrorError> {
        let place = &self.existing.place;
        fs_err::create_dir_all(place).map_err(|error| self.failed(error))?;
        self.sweep();
        let scratch = TemporaryFolder::create(place).map_err(|error| self.failed(error))?;
        let mut lock = LockFile { files: self.kept.clone() };
        let mut states = States(
            self.existing
                .states
                .0
                .iter()
                .filter(|(name, _)| name.parse().is_ok_and(|key: Key| self.kept.contains_key(&key)))
                .map(|(name, state)| (name.clone(), *state))
                .collect(),
        );
        // The index of images after what it leads to.
        let (documents, blobs): (Vec<_>, Vec<_>) =
            self.new.iter().partition(|(key, _)| is_document(key));
        for (key, item) in blobs.into_iter().chain(documents) {
            let path = place.join(key.as_str());
            check_folders(place, &path).map_err(|error| self.failed(error))?;
            let mut file = AtomicFile::create(&path).map_err(|error| self.failed(error))?;
            let locked = self.fill(item, scratch.path(), file.file())?;
            file.commit_unsynced().map_err(|error| self.failed(error))?;
            states.0.extend(state_of(&path).map(|state| (key.to_string(), state)));
            lock.files.insert(key.clone(), locked);
        }
        // The names are on the disk before the lock file says so.
        if !self.new.is_empty() {
            let folder = fs_err::File::open(place).map_err(|error| self.failed(error))?;
            nix::unistd::syncfs(folder.file()).map_err(|error| self.failed(error.into()))?;
        }
        atomic::write_if_changed(&lock_path(place), &lock.to_text())
            .map_err(|error| self.failed(error))?;
        for key in &self.dropped {
            self.remove(key).map_err(|error| self.failed(error))?;
        }
        self.existing.note(&states).map_err(|error| self.failed(error))?;
        Ok(self.written(&lock))
    }

    /// Removes a dropped file, and folders that are empty then.
    fn remove(&self, key: &Key) -> io::Result<()> {
        let path = self.existing.place.join(key.as_str());
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let above = path.ancestors().skip(1).take_while(|folder| *folder != self.existing.place);
        for folder in above {
            if fs_err::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Removes what killed runs left; the mirror's lock is held.
    fn sweep(&self) {
        let place = &self.existing.place;
        let mut folders = vec![place.clone()];
        for name in ["sha1", "bundles", "images", "images/blobs/sha256"] {
            folders.push(place.join(name));
        }
        let packages = fs_err::read_dir(place.join("packages"));
        folders.extend(packages.into_iter().flatten().flatten().map(|entry| entry.path()));
        for folder in folders.iter().filter(|folder| folder.is_dir()) {
            atomic::sweep_under_lock(folder).report(self.observer);
        }
    }

    /// Writes an archive, unless the one that is there has it all.
    fn archive(self) -> Result<Written, MirrorError> {
        let place = &self.existing.place;
        if self.new.is_empty() && self.dropped.is_empty() && place.exists() {
            self.existing.note(&self.existing.states).map_err(|error| self.failed(error))?;
            return Ok(self.written(&LockFile { files: self.kept.clone() }));
        }
        let parent = place.parent().unwrap_or(place);
        let scratch = TemporaryFolder::create(parent).map_err(|error| self.failed(error))?;
        let mut file = AtomicFile::create(place).map_err(|error| self.failed(error))?;
        let mut lock = LockFile { files: self.kept.clone() };
        let output = io::BufWriter::with_capacity(BUFFER, file.file());
        let mut tar = Builder::new(output);
        let keys: std::collections::BTreeSet<&Key> =
            self.kept.keys().chain(self.new.keys()).collect();
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
        file.commit().map_err(|error| self.failed(error))?;
        let states =
            States(state_of(place).map(|state| (String::new(), state)).into_iter().collect());
        self.existing.note(&states).map_err(|error| self.failed(error))?;
        Ok(self.written(&lock))
    }

    /// Appends a new file. Its size stands before it, so one whose size is unknown is made first.
    fn append_new(
        &self,
        tar: &mut Builder<impl Write>,
        key: &Key,
        item: &Item,
        scratch: &Path,
    ) -> Result<LockedFile, MirrorError> {
        let staged = scratch.join("staged");
        let path = match &item.content {
            Some(Content::File(path)) => path.clone(),
            _ => {
                let mut file = fs_err::File::create(&staged).map_err(|error| self.failed(error))?;
                let locked = self.fill(item, scratch, &mut file)?;
                let file = fs_err::File::open(&staged).map_err(|error| self.failed(error))?;
                append(tar, key, locked.size, file).map_err(|error| self.failed(error))?;
                return Ok(locked);
            }
        };
        let file = fs_err::File::open(path).map_err(|error| self.failed(error))?;
        let size = file.metadata().map_err(|error| self.failed(error))?.len();
        let mut tee = Tee::new(Watched { from: file, observer: self.observer });
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
        key: &Key,
        locked: &LockedFile,
    ) -> Result<(), MirrorError> {
        write_header(tar, key, locked.size).map_err(|error| self.failed(error))?;
        let transfer = Transfer { subject: SUBJECT, observer: self.observer };
        let backend = self.existing.store.backend();
        let count = backend.get_range(key, 0..locked.size, tar.get_mut(), &transfer)?;
        let rest = (512 - count % 512) % 512;
        let padding = vec![0; usize::try_from(rest).unwrap_or(0)];
        tar.get_mut().write_all(&padding).map_err(|error| self.failed(error))
    }
}

/// True if the mirror's file is the one that is wanted.
fn is_same(key: &Key, item: &Item, locked: &LockedFile) -> bool {
    match &item.content {
        None => true,
        Some(Content::Bytes(bytes)) => crate::base::digest::Sha256Sum::of(bytes) == locked.sha256,
        // Sources and blobs are named by their content, packages by what they were made of.
        Some(Content::File(_)) => !key.as_str().is_empty(),
        // There is one name more.
        Some(Content::Bundle(_)) => false,
    }
}

fn is_document(key: &Key) -> bool {
    key.as_str().starts_with(IMAGES) && !key.as_str().contains("/blobs/")
}

/// Refuses a symlink on the way to a file of the mirror.
fn check_folders(place: &Path, path: &Path) -> io::Result<()> {
    let below = path.strip_prefix(place).unwrap_or(path);
    crate::base::within::without_links(place, below.parent().unwrap_or(below))
}

/// Appends a member without times and owners.
fn append(
    tar: &mut Builder<impl Write>,
    key: &Key,
    size: u64,
    mut from: impl Read,
) -> io::Result<()> {
    write_header(tar, key, size)?;
    let copied = io::copy(&mut from.by_ref().take(size), tar.get_mut())?;
    if copied != size {
        let text = format!("{key} is shorter than it was");
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    let rest = usize::try_from((512 - size % 512) % 512).unwrap_or(0);
    tar.get_mut().write_all(&vec![0; rest])
}

fn write_header(tar: &mut Builder<impl Write>, key: &Key, size: u64) -> io::Result<()> {
    const LONGEST_NAME: usize = 100;
    let name = key.as_str();
    if name.len() > LONGEST_NAME {
        // As GNU tar writes it: the name is the content of a member before.
        let mut long = header(b"././@LongLink", EntryType::GNULongName, name.len() as u64 + 1);
        tar.get_mut().write_all(long.as_bytes())?;
        let mut text = name.as_bytes().to_vec();
        text.resize(text.len().next_multiple_of(512).max(512), 0);
        if name.len() % 512 == 0 {
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
struct Watched<'w, R> {
    from: R,
    observer: &'w dyn Observer,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observer.is_interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.from.read(buffer)
    }
}
