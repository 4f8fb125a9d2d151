//! Builder images in a store: blobs by their digests, and an index of one image for each key.

use std::path::PathBuf;

use super::error::PublishError;
use super::target::{ArchiveTarget, Published};
use crate::artifact::signed::signed_id;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::store::signature::{SUFFIX, Signer};
use crate::store::{Backend, FailureKind, ObjectContent, ObjectKey, Put, StoreTransfer};

/// Upper limit of the bytes that are read of an index.
const LONGEST_INDEX: u64 = 1 << 20;

/// An image to be put into a store.
#[derive(Debug, Clone)]
pub struct ImagePublication {
    /// Names of the index: one for each lookup key of the image.
    pub documents: Vec<String>,
    /// Text of the index.
    pub index: Vec<u8>,
    /// Blobs to which the index leads, with their names in the store.
    pub blobs: Vec<(String, PathBuf)>,
}

/// Puts an image into a store: blobs first, then each index that is missing, then the index's signature.
pub fn publish_image(
    backend: &dyn Backend,
    image: &ImagePublication,
    signer: Option<&Signer>,
    observer: &dyn Observer,
) -> Result<Published, PublishError> {
    let mut missing = Vec::new();
    for document in &image.documents {
        let target = target(backend, document, observer);
        match target.small(document, LONGEST_INDEX)? {
            None => missing.push(document),
            // A killed run may have put the index, and not its signature.
            Some(found) if found == image.index => sign(&target, image, signer)?,
            // Another build of the same folder.
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        return Ok(Published::WasThere);
    }
    for (name, path) in &image.blobs {
        let target = target(backend, name, observer);
        let key: ObjectKey = name.parse()?;
        match backend.head(&key, &target.transfer) {
            // Names of blobs are their digests: what is there is the same.
            Ok(_) => continue,
            Err(error) if error.is_not_found() || error.kind() == FailureKind::Unsupported => {}
            Err(error) => return Err(error.into()),
        }
        let size = fs_err::metadata(path).map_err(target.file())?.len();
        backend.put(&key, ObjectContent::File(path, size), &target.transfer)?;
    }
    let mut result = Published::WasThere;
    for document in missing {
        let target = target(backend, document, observer);
        let put = backend.put(
            &document.parse()?,
            ObjectContent::Bytes(&image.index),
            &target.transfer,
        )?;
        if put == Put::Written {
            result = Published::Written;
            sign(&target, image, signer)?;
        }
    }
    Ok(result)
}

/// True if a store has an image under one of its names.
pub fn has_image(
    backend: &dyn Backend,
    image: &ImagePublication,
    observer: &dyn Observer,
) -> Result<bool, PublishError> {
    for document in &image.documents {
        let found = target(backend, document, observer).small(document, LONGEST_INDEX)?;
        if found.is_some_and(|found| found == image.index) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn target<'p>(
    backend: &'p dyn Backend,
    what: &'p str,
    observer: &'p dyn Observer,
) -> ArchiveTarget<'p> {
    ArchiveTarget { backend, what, transfer: StoreTransfer { subject: what, observer } }
}

/// Puts the signature of an index, unless there is one.
fn sign(
    target: &ArchiveTarget<'_>,
    image: &ImagePublication,
    signer: Option<&Signer>,
) -> Result<(), PublishError> {
    let Some(signer) = signer else { return Ok(()) };
    let sum = Sha256Sum::of(&image.index);
    let text = signer.sign(image.index.as_slice(), signed_id(target.what), &sum);
    let text =
        text.map_err(|source| PublishError::Sign { what: target.what.to_owned(), source })?;
    let name = format!("{}{SUFFIX}", target.what);
    target.put_beside(vec![(name, text.into_bytes())], false)
}
