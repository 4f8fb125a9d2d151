//! Existing contents of a mirror: the files that match its lock file.
//!
//! Sums are taken once: the state of each file (size, times, number) is noted in the builder's own folder, and a
//! file whose state is as noted is not read again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::MirrorError;
use crate::base::atomic;
use crate::base::digest::{Sha256Sum, Sums, Tee};
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::base::regular::read_own;
use crate::image::registry::IMAGES;
use crate::package::SourceSpec;
use crate::source::SourceRequest;
use crate::store::{
    Backend, LOCK_FILE, LONGEST_LOCK, LockFile, ObjectKey, Store, StoreError, StoreTransfer,
    is_tar_name,
};

/// Metadata of a file that differs after every change of its content.
pub(super) type MirrorStamp = (u64, i64, i64, i64, i64, u64);

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MirrorStamps(pub(super) BTreeMap<String, MirrorStamp>);

/// Existing mirror, locked for changes.
#[derive(Debug)]
pub struct ExistingMirror {
    pub(super) place: PathBuf,
    pub(super) is_tar: bool,
    pub(super) store: Store,
    pub(super) lock: LockFile,
    /// File with the noted states.
    pub(super) noted: PathBuf,
    pub(super) stamps: MirrorStamps,
    _turn: FileLock,
}

/// Name of a mirror's transfers in events.
pub(super) const SUBJECT: &str = "mirror";

impl ExistingMirror {
    /// Opens the mirror at a path, a folder or a tar archive; `home` is the builder's own folder, `locks` that
    /// of locks. A file that is not as the lock file says is as good as none.
    pub fn open(
        place: &Path,
        home: &Path,
        locks: &Path,
        observer: &dyn Observer,
    ) -> Result<Self, MirrorError> {
        let failed = |source| MirrorError::Write { place: place.to_owned(), source };
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        fs_err::create_dir_all(parent).map_err(failed)?;
        let place = match place.file_name() {
            // A new mirror does not exist yet, and so has no canonical path; its folder has one.
            Some(name) if !place.is_dir() => {
                fs_err::canonicalize(parent).map_err(failed)?.join(name)
            }
            _ => fs_err::canonicalize(place).map_err(failed)?,
        };
        let sum = Sha256Sum::of(place.as_os_str().as_encoded_bytes());
        let waiting = || {
            let message = format!("waiting for another process that writes {}", place.display());
            observer.event(Event::Note { message });
        };
        // In the builder's own folder: the mirror's may be read by others, and must hold nothing
        // but its files.
        let turn = locks.join(format!("mirror-{sum}.lock"));
        let turn = FileLock::acquire_unless(&turn, waiting, || observer.is_interrupted())
            .map_err(failed)?
            .ok_or(MirrorError::Interrupted)?;
        // What is there counts; only for a new mirror does the name decide.
        let is_tar = place.is_file() || !place.is_dir() && is_tar_name(&place);
        let store = Store::at_path(&place);
        let noted = home.join("mirrors").join(format!("{sum}.json"));
        let stamps = read_own(&noted).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut existing = Self {
            place,
            is_tar,
            store,
            lock: LockFile::default(),
            noted,
            stamps: stamps.unwrap_or_default(),
            _turn: turn,
        };
        existing.read_lock(observer)?;
        existing.check(observer)?;
        Ok(existing)
    }

    fn read_lock(&mut self, observer: &dyn Observer) -> Result<(), MirrorError> {
        let failed = |source| MirrorError::Write { place: self.place.clone(), source };
        let is_there = if self.is_tar {
            self.place.exists()
        } else {
            !is_empty(&self.place).map_err(failed)?
        };
        if !is_there {
            return Ok(());
        }
        match read_lock(self.store.backend(), observer) {
            Ok(lock) => self.lock = lock,
            Err(MirrorError::Read(error)) if error.is_not_found() => {
                // A folder with other files could be anything, and is not one to put a mirror into.
                return Err(MirrorError::NoMirror(self.place.clone()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Forgets the files that are not as the lock file says.
    fn check(&mut self, observer: &dyn Observer) -> Result<(), MirrorError> {
        let whole = self.is_tar.then(|| stamp_of(&self.place)).flatten();
        let is_known = whole.is_some() && self.stamps.0.get("") == whole.as_ref();
        let mut stamps = MirrorStamps::default();
        if let Some(whole) = whole {
            stamps.0.insert(String::new(), whole);
        }
        let mut wrong = Vec::new();
        for (key, locked) in &self.lock.files {
            if observer.is_interrupted() {
                return Err(MirrorError::Interrupted);
            }
            let stamp = if self.is_tar { None } else { stamp_of(&self.place.join(key.as_str())) };
            let noted = self.stamps.0.get(key.as_str());
            let is_as_noted =
                if self.is_tar { is_known } else { stamp.is_some() && noted == stamp.as_ref() };
            let is_right = is_as_noted
                || sums(self.store.backend(), key, observer).is_ok_and(|sums| {
                    sums.sha256 == locked.sha256
                        && sums.bytes == locked.size
                        // The lock file may have been changed with the file; readers go by the
                        // name.
                        && named_otherwise(key, &sums).is_none()
                });
            if is_right {
                stamps.0.extend(stamp.map(|stamp| (key.to_string(), stamp)));
            } else {
                wrong.push(key.clone());
            }
        }
        for key in wrong {
            let message =
                format!("{key} is not as the lock file says: it is written again if it is needed");
            let subject = self.place.display().to_string();
            observer.event(Event::Warning { subject, message });
            self.lock.files.remove(&key);
        }
        self.stamps = stamps;
        Ok(())
    }

    /// True if the mirror has a source under all required names.
    pub fn has_source(&self, request: &SourceRequest) -> bool {
        let locked = request.mirror_key().and_then(|key| self.lock.files.get(&key));
        let Some(locked) = locked else { return false };
        match &request.source.spec {
            SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => {
                file.sha256.as_ref().is_none_or(|sum| *sum == locked.sha256)
            }
            // A bundle without the name would not be found by a source that asks for it.
            SourceSpec::Git { ref_origin, .. } => locked.refs.keys().any(|name| {
                let short = name.strip_prefix("refs/tags/").or(name.strip_prefix("refs/heads/"));
                name == ref_origin || short == Some(ref_origin.as_str())
            }),
            SourceSpec::GitLocal { .. } => true,
        }
    }

    /// True if the mirror has a file.
    pub fn has(&self, name: &str) -> bool {
        name.parse::<ObjectKey>().is_ok_and(|key| self.lock.files.contains_key(&key))
    }

    /// Path of the mirror.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Records the states of the files, so that the next run does not read them.
    pub(super) fn note(&self, stamps: &MirrorStamps) -> io::Result<()> {
        let text = serde_json::to_vec(stamps).map_err(io::Error::other)?;
        atomic::write_if_changed(&self.noted, &text)
    }
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    match fs_err::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Reads the lock file of a mirror.
pub(super) fn read_lock(
    place: &dyn Backend,
    observer: &dyn Observer,
) -> Result<LockFile, MirrorError> {
    let mut text = Vec::new();
    let transfer = StoreTransfer { subject: SUBJECT, observer };
    place.get_range(&LockFile::key(), 0..LONGEST_LOCK, &mut text, &transfer)?;
    let name = place.name();
    LockFile::parse(&text).map_err(|source| MirrorError::Lock { place: name, source })
}

/// Takes the sums of a file.
pub(super) fn sums(
    place: &dyn Backend,
    key: &ObjectKey,
    observer: &dyn Observer,
) -> Result<Sums, StoreError> {
    let mut tee = Tee::with_sha1(io::sink());
    let transfer = StoreTransfer { subject: SUBJECT, observer };
    place.get_range(key, 0..u64::MAX, &mut tee as &mut dyn Write, &transfer)?;
    Ok(tee.finish().1)
}

/// Returns the digest in the name of a file that is named by its content, with the digest's kind
/// and the file's real digest, if they differ.
pub(super) fn named_otherwise<'s>(
    key: &'s ObjectKey,
    sums: &'s Sums,
) -> Option<(&'static str, &'s str, &'s str)> {
    let blobs = format!("{IMAGES}/blobs/sha256/");
    let kinds =
        [("sha1/", "SHA-1", sums.sha1.as_str()), (&*blobs, "SHA-256", sums.sha256.as_str())];
    kinds.into_iter().find_map(|(folder, kind, found)| {
        let name = key.as_str().strip_prefix(folder)?;
        (name != found).then_some((kind, name, found))
    })
}

/// Stamp of a plain file; `None` of anything else.
pub(super) fn stamp_of(path: &Path) -> Option<MirrorStamp> {
    let data = fs_err::symlink_metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    let (modified, changed) =
        ((data.mtime(), data.mtime_nsec()), (data.ctime(), data.ctime_nsec()));
    // The time of change cannot be set by programs, unlike that of modification (inode(7)).
    Some((data.size(), modified.0, modified.1, changed.0, changed.1, data.ino()))
}

/// Name of the lock file below a folder.
pub(super) fn lock_path(place: &Path) -> PathBuf {
    place.join(LOCK_FILE)
}
