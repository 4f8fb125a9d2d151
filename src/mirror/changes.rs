//! Difference between a mirror's existing and wanted contents, and the contents of new files.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use super::contents::{MirrorContent, MirrorContents, MirrorFile};
use super::error::MirrorError;
use super::existing::{ExistingMirror, SUBJECT};
use crate::base::digest::Tee;
use crate::base::event::Observer;
use crate::base::total::total;
use crate::source::{BundleRequest, FetchOptions};
use crate::store::{LockFile, LockedFile, ObjectKey};

pub(super) const BUFFER: usize = 256 << 10;

/// Result of writing a mirror.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MirrorSummary {
    /// Number of files of the mirror.
    pub files: usize,
    /// Total size in bytes.
    pub bytes: u64,
    /// Number of new files.
    pub added: usize,
    /// Number of dropped files.
    pub dropped: usize,
}

/// Difference to be carried out.
pub(super) struct MirrorChanges<'w> {
    pub(super) existing: &'w ExistingMirror,
    /// Unchanged files.
    pub(super) kept: BTreeMap<ObjectKey, LockedFile>,
    /// Files to be written.
    pub(super) new: BTreeMap<ObjectKey, MirrorFile>,
    pub(super) dropped: Vec<ObjectKey>,
    fetch: &'w FetchOptions,
    pub(super) observer: &'w dyn Observer,
}

impl<'w> MirrorChanges<'w> {
    pub(super) fn plan(
        existing: &'w ExistingMirror,
        contents: MirrorContents,
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
            if let (Some(MirrorContent::Bundle(_)), Some(locked), false) =
                (&item.content, &locked, prune)
            {
                // Other trees may find the commit by these.
                let short = |name: &String| Some(name.strip_prefix("refs/heads/")?.to_owned());
                item.ref_origins.extend(locked.refs.keys().filter_map(short));
            }
            match locked {
                Some(locked) if is_same(&item, &locked) => {
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

    pub(super) fn failed(&self, source: io::Error) -> MirrorError {
        MirrorError::Write { place: self.existing.place.clone(), source }
    }

    pub(super) fn written(&self, lock: &LockFile) -> MirrorSummary {
        MirrorSummary {
            files: lock.files.len(),
            bytes: total(lock.files.values().map(|file| file.size)),
            added: self.new.len(),
            dropped: self.dropped.len(),
        }
    }

    /// Writes a new file's content to `to`; returns its entry. A bundle is made at a path of its own.
    pub(super) fn fill(
        &self,
        item: &MirrorFile,
        bundle: &Path,
        to: &mut dyn Write,
    ) -> Result<LockedFile, MirrorError> {
        let mut refs = BTreeMap::new();
        let mut is_bundle = false;
        let (mut bytes, mut file);
        let from: &mut dyn Read = match item.content.as_ref() {
            Some(MirrorContent::Bytes(content)) => {
                bytes = content.as_slice();
                &mut bytes
            }
            Some(MirrorContent::File(path)) => {
                file = fs_err::File::open(path).map_err(|error| self.failed(error))?;
                &mut file
            }
            Some(MirrorContent::Bundle(wanted)) => {
                is_bundle = true;
                let request = BundleRequest {
                    subject: SUBJECT,
                    url: item.origin.as_deref().unwrap_or_default(),
                    repository: &wanted.repository,
                    commit: &wanted.commit,
                    ref_origins: &item.ref_origins,
                };
                refs = request.write(bundle, self.fetch, self.observer).map_err(|source| {
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
                file = fs_err::File::open(bundle).map_err(|error| self.failed(error))?;
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
        if is_bundle {
            fs_err::remove_file(bundle).map_err(|error| self.failed(error))?;
        }
        let sums = tee.finish().1;
        let origin = item.origin.clone();
        Ok(LockedFile { sha256: sums.sha256, size: sums.bytes, origin, refs })
    }
}

/// True if the mirror's file is the wanted one.
fn is_same(item: &MirrorFile, locked: &LockedFile) -> bool {
    match &item.content {
        Some(MirrorContent::Bytes(bytes)) => {
            crate::base::digest::Sha256Sum::of(bytes) == locked.sha256
        }
        // Names of sources and blobs depend on their content, names of packages on their inputs.
        Some(MirrorContent::File(_)) | None => true,
        // There is one name more.
        Some(MirrorContent::Bundle(_)) => false,
    }
}
