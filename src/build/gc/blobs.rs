//! Disk space freed in the image store by removals, with blobs shared by several users.

use std::collections::BTreeMap;

use crate::image::digest::BlobDigest;
use crate::image::store::{ImageStore, ImageStoreError};

/// The store's blobs, with how many need each.
pub(super) struct Blobs {
    all: BTreeMap<BlobDigest, Held>,
}

#[derive(Clone, Copy)]
struct Held {
    bytes: u64,
    by: usize,
}

impl Blobs {
    /// Reads the blobs of a store, without users so far.
    pub(super) fn of(store: &ImageStore) -> Result<Self, ImageStoreError> {
        let held = |(digest, bytes)| (digest, Held { bytes, by: 0 });
        Ok(Self { all: store.blobs()?.into_iter().map(held).collect() })
    }

    /// Adds a user for blobs.
    pub(super) fn hold<'b>(&mut self, blobs: impl IntoIterator<Item = &'b BlobDigest>) {
        for digest in blobs {
            if let Some(held) = self.all.get_mut(digest) {
                held.by += 1;
            }
        }
    }

    /// Removes a user of blobs; returns the number of bytes without a user.
    pub(super) fn release(&mut self, blobs: &[BlobDigest]) -> u64 {
        let mut bytes = 0;
        for digest in blobs {
            if let Some(held) = self.all.get_mut(digest).filter(|held| held.by > 0) {
                held.by -= 1;
                if held.by == 0 {
                    bytes += held.bytes;
                }
            }
        }
        bytes
    }

    pub(super) fn has(&self, digest: &BlobDigest) -> bool {
        self.all.contains_key(digest)
    }

    /// Returns the blobs without a user, with their sizes in bytes.
    pub(super) fn unneeded(&self) -> Vec<(BlobDigest, u64)> {
        let unneeded = self.all.iter().filter(|(_, held)| held.by == 0);
        unneeded.map(|(digest, held)| (digest.clone(), held.bytes)).collect()
    }
}
