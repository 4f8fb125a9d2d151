//! The blobs of one repository of a registry as a store.
//!
//! ```text
//! sha256/<hex>     a blob; a put checks nothing of the content, the registry does
//! ```
//!
//! Images do not come through this interface: a pull goes on with the bytes that an earlier run has left,
//! and gives each byte to the unpacker while the rest is under way, so it reads a stream of the blob itself.

use std::fs::File;
use std::io::{Seek, Write};
use std::ops::Range;
use std::sync::Arc;

use super::blob::{self, BlobRequest, CopyError};
use super::connections::Connections;
use super::digest::BlobDigest;
use super::error::RegistryExchangeError;
use super::host::Endpoint;
use super::reference::ImageRef;
use super::upload::{self, BlobUpload};
use super::wire::RegistryWire;
use crate::base::atomic::naming_file;
use crate::base::digest::{Sha256Sum, Tee};
use crate::base::event::Observer;
use crate::store::backend::{
    About, Backend, GotObject, Listed, ObjectContent, ObjectHead, Put, StoreTransfer,
};
use crate::store::error::StoreError;
use crate::store::key::ObjectKey;

/// Folder of the keys.
const FOLDER: &str = "sha256/";

/// Store of a repository's blobs.
#[derive(Debug)]
pub struct RegistryBlobs {
    connections: Arc<Connections>,
    endpoint: Endpoint,
}

impl RegistryBlobs {
    /// Creates a store of the blobs in the repository that a reference names.
    pub fn new(connections: Arc<Connections>, repository: &ImageRef) -> Self {
        let endpoint = connections.endpoint(repository);
        Self { connections, endpoint }
    }

    /// Returns the key of a blob.
    pub fn key(digest: &BlobDigest) -> Option<ObjectKey> {
        format!("{FOLDER}{}", digest.hex()).parse().ok()
    }

    fn not_found(&self, key: &ObjectKey) -> StoreError {
        StoreError::NotFound { store: self.name(), key: key.clone() }
    }

    fn failed(
        &self,
        operation: &'static str,
        key: &ObjectKey,
        error: RegistryExchangeError,
    ) -> StoreError {
        let failure = error.kind();
        match error {
            RegistryExchangeError::NotFound { .. } => self.not_found(key),
            RegistryExchangeError::Interrupted => StoreError::Interrupted,
            RegistryExchangeError::ReadFile(error) => {
                StoreError::Content { key: key.clone(), error }
            }
            error => {
                let (store, key, error) = (self.name(), key.clone(), Box::new(error));
                StoreError::Backend { operation, key, store, failure, error }
            }
        }
    }

    fn wire<'w>(
        &'w self,
        key: &ObjectKey,
        observer: &'w dyn Observer,
    ) -> Result<(RegistryWire<'w>, BlobDigest), StoreError> {
        let hex = key.as_str().strip_prefix(FOLDER);
        let sum = hex.and_then(|hex| hex.parse::<Sha256Sum>().ok());
        let sum = sum.ok_or_else(|| self.not_found(key))?;
        let wire = RegistryWire::new(&self.connections, &self.endpoint, observer);
        Ok((wire.map_err(|error| self.failed("reach", key, error))?, sum.into()))
    }

    /// Streams a part of a blob, or the whole, of at most so many bytes; returns the number of bytes.
    fn stream(
        &self,
        key: &ObjectKey,
        (range, longest): (Option<Range<u64>>, u64),
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
    ) -> Result<u64, StoreError> {
        let failed = |error| self.failed("get", key, error);
        let (wire, digest) = self.wire(key, transfer.observer)?;
        let size = blob::size(&wire, &digest, transfer.subject).map_err(failed)?;
        if size > longest {
            return Err(StoreError::TooLarge { store: self.name(), key: key.clone(), longest });
        }
        let subject = Some(transfer.subject.to_owned());
        let request = BlobRequest { digest, size, what: key.to_string(), subject };
        blob::copy(&wire, &request, range.unwrap_or(0..size), to).map_err(|error| match error {
            CopyError::Exchange(error) => failed(error),
            CopyError::Write(error) => StoreError::Destination { key: key.clone(), error },
        })
    }

    fn unsupported(&self, operation: &'static str) -> StoreError {
        let reason = "a registry has no request for that";
        StoreError::Unsupported { store: self.name(), operation, reason }
    }
}

impl Backend for RegistryBlobs {
    fn name(&self) -> String {
        format!("{}/{}", self.endpoint.host, self.endpoint.repository)
    }

    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        let kept = |to: &File, error| StoreError::Destination {
            key: key.clone(),
            error: naming_file(to, error),
        };
        to.set_len(0).and_then(|()| to.rewind()).map_err(|error| kept(to, error))?;
        let mut tee = Tee::new(to);
        let bytes = self.stream(key, (None, longest), &mut tee, transfer)?;
        let (_, sums) = tee.finish();
        let (found, expected) =
            (BlobDigest::from(sums.sha256), self.wire(key, transfer.observer)?.1);
        if found != expected {
            let what = key.to_string();
            return Err(self.failed(
                "get",
                key,
                RegistryExchangeError::Digest { what, expected, found },
            ));
        }
        // All answers are of one blob, by its digest.
        Ok(GotObject { bytes, is_pieced: false })
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
        self.stream(key, (Some(range), u64::MAX), to, transfer)
    }

    fn head(
        &self,
        key: &ObjectKey,
        transfer: &StoreTransfer<'_>,
    ) -> Result<ObjectHead, StoreError> {
        let (wire, digest) = self.wire(key, transfer.observer)?;
        let size = blob::size(&wire, &digest, transfer.subject);
        let size = size.map_err(|error| self.failed("look for", key, error))?;
        Ok(ObjectHead { size: Some(size) })
    }

    fn put_described(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        _: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let failed = |error| self.failed("put", key, error);
        let (wire, digest) = self.wire(key, transfer.observer)?;
        if upload::has(&wire, &digest, transfer.subject).map_err(failed)? {
            return Ok(Put::WasThere);
        }
        let upload =
            BlobUpload { digest: &digest, content, subject: transfer.subject, reports: true };
        upload::send(&wire, &upload).map_err(failed)?;
        Ok(Put::Written)
    }

    fn list(
        &self,
        _: Option<&ObjectKey>,
        _: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        Err(self.unsupported("list blobs"))
    }

    fn delete(&self, _: &ObjectKey, _: &StoreTransfer<'_>) -> Result<bool, StoreError> {
        Err(self.unsupported("remove a blob"))
    }
}
