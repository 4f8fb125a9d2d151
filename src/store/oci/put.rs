//! Puts an object: its blob, the empty configuration, and then the manifest with the tag.
//!
//! The protocol has no conditional write of a tag. The tag is requested before the upload, directly
//! before the manifest is put, and afterwards; within a process one thread at a time does so for a
//! tag. A small object is uploaded so fast that the first two requests are one, and the existence
//! of its blob is not checked before. Between two processes a gap of one request remains, in which
//! the later manifest replaces the earlier one. Both lead to whole blobs by their digests, so a
//! reader gets one of the two objects and never a mixture; with equal content and an equal
//! description even the manifests are equal. A registry with immutable tags closes the gap: its
//! refusal means that the object exists.

use std::fs::File;
use std::io::{self, Read};
use std::sync::PoisonError;
use std::time::Duration;

use oci_spec::image::MediaType;

use super::artifact::{self, EMPTY, ObjectBlob};
use super::error::OciError;
use super::tag;
use super::{OciBackend, find, find_manifest};
use crate::base::atomic::naming_file;
use crate::base::digest::{Sha256, Sha256Sum};
use crate::store::backend::{About, ObjectContent, Put, StoreTransfer};
use crate::store::error::StoreError;
use crate::store::key::ObjectKey;
use crate::store::registry::manifest::{self, DocumentRequest};
use crate::store::registry::upload::{self, BlobUpload};
use crate::store::registry::{BlobDigest, RegistryExchangeError, RegistryWire};

/// Number of bytes read at once.
const BUFFER: usize = 256 << 10;
/// Delays before a refused manifest is put again.
const BLOB_WAITS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// Upper limit of the bytes of a small object.
const SMALL: u64 = 1 << 20;

impl OciBackend {
    pub(super) fn put_artifact(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let failed = |error: OciError| self.failed_put(key, error);
        let failed_exchange = |error: RegistryExchangeError| failed(error.into());
        let wire = self.wire(transfer).map_err(|error| failed(error.into()))?;
        let (tag, is_small) = (tag::of(key), content.length() <= SMALL);
        // A large upload would keep out others of the same lock for its whole time.
        let turn = is_small.then(|| self.turn(&tag));
        if find(&wire, key, transfer).map_err(failed)?.is_some() {
            return Ok(Put::WasThere);
        }
        let blob =
            ObjectBlob { digest: digest(key, content, transfer)?.into(), size: content.length() };
        let bytes = limited(artifact::manifest(key, &blob, about)).map_err(failed)?;
        if is_small
            || !upload::has(&wire, &blob.digest, transfer.subject).map_err(failed_exchange)?
        {
            self.send(&wire, &blob.digest, content, transfer).map_err(failed)?;
        }
        self.send_config(&wire, transfer).map_err(failed)?;
        let _turn = if let Some(turn) = turn {
            turn
        } else {
            let turn = self.turn(&tag);
            if find(&wire, key, transfer).map_err(failed)?.is_some() {
                return Ok(Put::WasThere);
            }
            turn
        };
        // Last: until then, no reader finds the blob, and a collection of the registry may take it.
        let put = self.put_manifest(&wire, key, &bytes, transfer);
        // The repository might have been emptied meanwhile.
        *self.has_config.lock().unwrap_or_else(PoisonError::into_inner) &= put.is_ok();
        put.map_err(failed)
    }

    /// Puts an object in place of another one: the tag moves to a new manifest.
    pub(super) fn replace_artifact(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        let failed = |error: OciError| self.failed_put(key, error);
        let wire = self.wire(transfer).map_err(|error| failed(error.into()))?;
        let blob =
            ObjectBlob { digest: digest(key, content, transfer)?.into(), size: content.length() };
        if !upload::has(&wire, &blob.digest, transfer.subject)
            .map_err(|error| failed(error.into()))?
        {
            self.send(&wire, &blob.digest, content, transfer).map_err(failed)?;
        }
        self.move_tag(&wire, key, &blob, about, transfer).map_err(failed)
    }

    /// Puts the blob of an object under another key, too.
    pub(super) fn copy_artifact(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        let wire = self.wire(transfer).map_err(|error| self.failed_put(to, error.into()))?;
        let failed = |error| self.failed("copy", from, error);
        let blob = find(&wire, from, transfer).map_err(failed)?;
        let blob = blob.ok_or_else(|| self.not_found(from))?;
        self.move_tag(&wire, to, &blob, about, transfer).map_err(|error| self.failed_put(to, error))
    }

    /// Puts the blob of an object under another key, too, unless there is an object of that key.
    pub(super) fn copy_new_artifact(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let wire = self.wire(transfer).map_err(|error| self.failed_put(to, error.into()))?;
        let failed = |error| self.failed("copy", from, error);
        let failed_put = |error| self.failed_put(to, error);
        let blob = find(&wire, from, transfer).map_err(failed)?;
        let blob = blob.ok_or_else(|| self.not_found(from))?;
        let bytes = limited(artifact::manifest(to, &blob, about)).map_err(failed_put)?;
        self.send_config(&wire, transfer).map_err(failed_put)?;
        let _turn = self.turn(&tag::of(to));
        if find(&wire, to, transfer).map_err(failed_put)?.is_some() {
            return Ok(Put::WasThere);
        }
        self.put_manifest(&wire, to, &bytes, transfer).map_err(failed_put)
    }

    /// Puts the manifest of an object whose blob is there, unless the tag has that manifest. Anything else
    /// than an artifact of the key under the tag is an error, and stays.
    fn move_tag(
        &self,
        wire: &RegistryWire<'_>,
        key: &ObjectKey,
        blob: &ObjectBlob,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), OciError> {
        let bytes = limited(artifact::manifest(key, blob, about))?;
        self.send_config(wire, transfer)?;
        let tag = tag::of(key);
        let _turn = self.turn(&tag);
        let wanted = BlobDigest::from(Sha256Sum::of(&bytes));
        if find_manifest(wire, key, transfer)?.is_some_and(|(digest, _)| digest == wanted) {
            return Ok(());
        }
        Self::put_document(wire, &tag, &bytes, transfer)
            .map_err(|error| self.without_repository(error))
    }

    /// Sends the empty configuration, unless the registry has it. One thread at a time: docker-registry refuses
    /// manifests (400, "provided digest did not match uploaded content") while a blob of them is written again.
    fn send_config(
        &self,
        wire: &RegistryWire<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), OciError> {
        let mut has_config = self.has_config.lock().unwrap_or_else(PoisonError::into_inner);
        if *has_config {
            return Ok(());
        }
        let empty = Sha256Sum::of(EMPTY).into();
        if !upload::has(wire, &empty, transfer.subject)? {
            self.send(wire, &empty, ObjectContent::Bytes(EMPTY), transfer)?;
        }
        *has_config = true;
        Ok(())
    }

    /// Puts the manifest, with retries where another process may be writing its blobs.
    fn put_document(
        wire: &RegistryWire<'_>,
        tag: &str,
        bytes: &[u8],
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), RegistryExchangeError> {
        let media_type = MediaType::ImageManifest.to_string();
        let mut waits = BLOB_WAITS.iter();
        loop {
            let put = manifest::put(wire, tag, &media_type, bytes, transfer.subject);
            let is_refused = matches!(&put, Err(RegistryExchangeError::Status { status, .. }) if status.as_u16() == 400);
            match waits.next().filter(|_| is_refused && !transfer.observer.is_interrupted()) {
                Some(wait) => std::thread::sleep(*wait),
                None => return put,
            }
        }
    }

    /// Sends a blob.
    fn send(
        &self,
        wire: &RegistryWire<'_>,
        digest: &BlobDigest,
        content: ObjectContent<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), OciError> {
        let reports = content.length() > EMPTY.len() as u64;
        upload::send(wire, &BlobUpload { digest, content, subject: transfer.subject, reports })
            .map_err(|error| self.without_repository(error))
    }

    /// Puts the manifest, within the tag's turn.
    fn put_manifest(
        &self,
        wire: &RegistryWire<'_>,
        key: &ObjectKey,
        bytes: &[u8],
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, OciError> {
        let tag = tag::of(key);
        let media_type = MediaType::ImageManifest.to_string();
        let subject = transfer.subject;
        match Self::put_document(wire, &tag, bytes, transfer) {
            Ok(()) => {}
            Err(error @ RegistryExchangeError::Status { .. }) => {
                // Tags of this registry might be unchangeable, and another writer was first.
                return match find(wire, key, transfer) {
                    Ok(Some(_)) => Ok(Put::WasThere),
                    _ => Err(error.into()),
                };
            }
            Err(error) => return Err(self.without_repository(error)),
        }
        let accept = [media_type.as_str()];
        let request = DocumentRequest { name: &tag, accept: &accept, subject };
        match manifest::head(wire, &request) {
            // Asked again, since the last writer of a tag wins.
            Ok(found) if found == Some(Sha256Sum::of(bytes).into()) => Ok(Put::Written),
            Ok(_) | Err(RegistryExchangeError::NotFound { .. }) => {
                match find_manifest(wire, key, transfer)? {
                    None => Err(OciError::Lost { tag }),
                    Some((digest, _)) if digest == Sha256Sum::of(bytes).into() => Ok(Put::Written),
                    Some(_) => Ok(Put::WasThere),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the error of a request that begins or ends an upload.
    fn without_repository(&self, error: RegistryExchangeError) -> OciError {
        match error {
            RegistryExchangeError::NotFound { .. } => {
                OciError::NoRepository { repository: self.url.repository().to_owned() }
            }
            error => error.into(),
        }
    }

    /// Returns the error of a put; a missing object is not a possible error.
    fn failed_put(&self, key: &ObjectKey, error: OciError) -> StoreError {
        match error {
            OciError::Exchange(error) => self.failed("put", key, self.without_repository(error)),
            error => self.failed("put", key, error),
        }
    }
}

/// Refuses a manifest that readers would not take.
fn limited(manifest: Vec<u8>) -> Result<Vec<u8>, OciError> {
    let (bytes, limit) = (manifest.len() as u64, artifact::LONGEST);
    if bytes > limit { Err(OciError::LongManifest { bytes, limit }) } else { Ok(manifest) }
}

/// Computes the digest of content of exactly the announced length.
fn digest(
    key: &ObjectKey,
    content: ObjectContent<'_>,
    transfer: &StoreTransfer<'_>,
) -> Result<Sha256Sum, StoreError> {
    let unreadable = |error| StoreError::Content { key: key.clone(), error };
    let (path, length) = match content {
        ObjectContent::Bytes(bytes) => return Ok(Sha256Sum::of(bytes)),
        ObjectContent::File(path, length) => (path, length),
    };
    let file = fs_err::File::open(path).map_err(unreadable)?.into_file();
    let (mut hasher, mut buffer, mut left) = (Sha256::new(), vec![0; BUFFER], length);
    while left > 0 {
        if transfer.observer.is_interrupted() {
            return Err(StoreError::Interrupted);
        }
        let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        let count = read(&file, &mut buffer[..most]).map_err(unreadable)?;
        if count == 0 {
            let text = format!("it ends after {} of {length} bytes", length - left);
            return Err(unreadable(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
        }
        hasher.update(&buffer[..count]);
        left -= count as u64;
    }
    Ok(Sha256Sum::from_hasher(hasher))
}

fn read(mut file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(|error| naming_file(file, error)),
        }
    }
}
