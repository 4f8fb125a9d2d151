//! A repository of a registry as a store: `oci://registry[:port]/repository`.
//!
//! ```text
//! url        the URLs
//! tag        keys as tags
//! kind       media types, by the key
//! artifact   manifests, written and read
//! put        blob, configuration, manifest; two writers of one tag
//! list       tags to keys, with the sizes of the manifests
//! error      failures with their remedies
//! ```
//!
//! Each object is an OCI artifact: an image manifest with an `artifactType`, the empty configuration, and
//! one layer whose blob is the object itself, so that the blob's digest is the SHA-256 of the object.
//! Annotations have the key, and the description of a package. `docs/format.md` has the formats.
//! Manifest and blob are checked: the artifact must have the key of the requested object, and the
//! blob its size and digest. Any other content under a tag is an error, and is neither used nor
//! replaced.
//!
//! # Why one repository
//!
//! All objects are tags of one repository, although a repository for each package would be more
//! readable. A token is valid for the named repositories only, so an upload of many packages would
//! need as many tokens; many registries make no repository by themselves, and Docker Hub has names
//! of two parts only; and the repositories below a path cannot be listed where the catalogue is
//! hidden, which is nearly everywhere.
//!
//! # Why not `ocipkg`
//!
//! The crate `ocipkg` (0.4.0) was considered for the manifests. The crate takes a blob as a slice
//! of bytes, and makes a manifest only together with all blobs in a layout, an archive or a
//! registry; its own client for registries would be a second one beside ours, without limits. What
//! remains is a map of annotations. Without the client, the crate would add 24 crates to those of
//! `Cargo.lock`, 18 s of processor time in a debug build, among them second versions of `toml`,
//! `sha2`, `base64` and of `oci-spec` (0.8), whose types differ from those of the other documents,
//! and a reader of object files (`goblin`). The manifest is written by hand in `artifact`, and read
//! by our version of `oci-spec`.

mod artifact;
mod error;
mod kind;
mod list;
mod put;
mod tag;
mod url;

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Seek, Write};
use std::ops::Range;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use oci_spec::image::MediaType;

pub use artifact::ArtifactError;
pub use error::OciError;
pub use url::{OciUrl, OciUrlError};

use self::artifact::ObjectBlob;
use super::backend::{
    About, Backend, GotObject, Listed, ObjectContent, ObjectHead, Put, StoreTransfer,
};
use super::error::StoreError;
use super::key::ObjectKey;
use super::registry::manifest::{self, DocumentRequest};
use super::registry::{
    BlobDigest, BlobRequest, Connections, CopyError, Endpoint, RegistryExchangeError, RegistryWire,
    copy_blob,
};
use crate::base::atomic::naming_file;
use crate::base::digest::Tee;

/// Number of locks for tags that are being written.
const TURNS: usize = 64;

/// Store in a repository of a registry.
#[derive(Debug)]
pub struct OciBackend {
    connections: Arc<Connections>,
    url: OciUrl,
    endpoint: Endpoint,
    /// True if the repository has the empty configuration.
    has_config: Mutex<bool>,
    /// Locks by the hash of a tag, held while its manifest is put.
    turns: [Mutex<()>; TURNS],
}

impl OciBackend {
    /// Creates a store in a repository. Credentials, CAs and plain HTTP are those of the connections;
    /// mirrors of the registry have no part in it.
    pub fn new(connections: Arc<Connections>, url: OciUrl) -> Self {
        let endpoint = connections.repository(url.host(), url.repository());
        let turns = std::array::from_fn(|_| Mutex::default());
        Self { connections, url, endpoint, has_config: Mutex::default(), turns }
    }

    fn wire<'w>(
        &'w self,
        transfer: &StoreTransfer<'w>,
    ) -> Result<RegistryWire<'w>, RegistryExchangeError> {
        RegistryWire::new(&self.connections, &self.endpoint, transfer.observer)
    }

    /// Waits until no other thread of this process writes a tag.
    fn turn(&self, tag: &str) -> MutexGuard<'_, ()> {
        // A fixed number of locks: two tags may share one, which costs a wait and nothing else.
        let mut hasher = DefaultHasher::new();
        tag.hash(&mut hasher);
        let number = usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default();
        self.turns[number].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, and finds an object that has to be there.
    fn open<'w>(
        &'w self,
        operation: &'static str,
        key: &ObjectKey,
        transfer: &StoreTransfer<'w>,
    ) -> Result<(RegistryWire<'w>, BlobRequest), StoreError> {
        let failed = |error| self.failed(operation, key, error);
        let wire = self.wire(transfer).map_err(|error| failed(error.into()))?;
        let blob = find(&wire, key, transfer).map_err(failed)?;
        let ObjectBlob { digest, size } = blob.ok_or_else(|| self.not_found(key))?;
        let subject = Some(transfer.subject.to_owned());
        Ok((wire, BlobRequest { digest, size, what: key.to_string(), subject }))
    }

    fn copy_range(
        &self,
        key: &ObjectKey,
        wire: &RegistryWire<'_>,
        request: &BlobRequest,
        range: Range<u64>,
        to: &mut dyn Write,
    ) -> Result<u64, StoreError> {
        copy_blob(wire, request, range, to).map_err(|error| match error {
            CopyError::Exchange(RegistryExchangeError::NotFound { what: blob, .. }) => {
                self.failed("get", key, OciError::LostBlob { blob })
            }
            CopyError::Exchange(error) => self.failed("get", key, error.into()),
            CopyError::Write(error) => StoreError::Destination { key: key.clone(), error },
        })
    }

    fn not_found(&self, key: &ObjectKey) -> StoreError {
        StoreError::NotFound { store: self.name(), key: key.clone() }
    }

    fn failed(&self, operation: &'static str, key: &ObjectKey, error: OciError) -> StoreError {
        match error {
            OciError::Exchange(RegistryExchangeError::NotFound { .. }) => self.not_found(key),
            OciError::Exchange(RegistryExchangeError::Interrupted) => StoreError::Interrupted,
            OciError::Exchange(RegistryExchangeError::ReadFile(error)) => {
                StoreError::Content { key: key.clone(), error }
            }
            error => StoreError::Backend {
                operation,
                key: key.clone(),
                store: self.name(),
                failure: error.kind(),
                error: Box::new(error.hinted(&self.url)),
            },
        }
    }
}

/// Looks up an object; returns the digest of its manifest, and its blob.
fn find_manifest(
    wire: &RegistryWire<'_>,
    key: &ObjectKey,
    transfer: &StoreTransfer<'_>,
) -> Result<Option<(BlobDigest, ObjectBlob)>, OciError> {
    let tag = tag::of(key);
    let Some((digest, bytes)) = fetch(wire, &tag, transfer.subject)? else { return Ok(None) };
    match artifact::read(&bytes, key) {
        Ok(blob) => Ok(Some((digest, blob))),
        Err(problem) => Err(OciError::Artifact { tag, problem }),
    }
}

fn find(
    wire: &RegistryWire<'_>,
    key: &ObjectKey,
    transfer: &StoreTransfer<'_>,
) -> Result<Option<ObjectBlob>, OciError> {
    Ok(find_manifest(wire, key, transfer)?.map(|(_, blob)| blob))
}

/// Fetches the manifest of a tag; `None` if there is no such tag, or no such repository.
fn fetch(
    wire: &RegistryWire<'_>,
    tag: &str,
    subject: &str,
) -> Result<Option<(BlobDigest, Vec<u8>)>, OciError> {
    let accept = [MediaType::ImageManifest.to_string(), MediaType::ImageIndex.to_string()];
    let accept = [accept[0].as_str(), accept[1].as_str()];
    let request = DocumentRequest { name: tag, accept: &accept, subject };
    match manifest::get(wire, &request, None, artifact::LONGEST) {
        Ok(document) => Ok(Some((document.digest, document.bytes))),
        Err(RegistryExchangeError::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Backend for OciBackend {
    fn name(&self) -> String {
        self.url.to_string()
    }

    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        let (wire, request) = self.open("get", key, transfer)?;
        if request.size > longest {
            return Err(StoreError::TooLarge { store: self.name(), key: key.clone(), longest });
        }
        let kept = |to: &File, error| StoreError::Destination {
            key: key.clone(),
            error: naming_file(to, error),
        };
        to.set_len(0).and_then(|()| to.rewind()).map_err(|error| kept(to, error))?;
        let mut tee = Tee::new(to);
        let bytes = self.copy_range(key, &wire, &request, 0..request.size, &mut tee)?;
        let found = BlobDigest::from(tee.finish().1.sha256);
        if found != request.digest {
            let (what, expected) = (request.what, request.digest);
            let error = RegistryExchangeError::Digest { what, expected, found };
            return Err(self.failed("get", key, error.into()));
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
        let (wire, request) = self.open("get", key, transfer)?;
        self.copy_range(key, &wire, &request, range, to)
    }

    fn head(
        &self,
        key: &ObjectKey,
        transfer: &StoreTransfer<'_>,
    ) -> Result<ObjectHead, StoreError> {
        let (_, request) = self.open("look for", key, transfer)?;
        Ok(ObjectHead { size: Some(request.size) })
    }

    fn put_described(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        self.put_artifact(key, content, about, transfer)
    }

    fn replace(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        self.replace_artifact(key, content, about, transfer)
    }

    fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        self.copy_artifact(from, to, about, transfer)
    }

    fn copy_new(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        self.copy_new_artifact(from, to, about, transfer)
    }

    fn list(
        &self,
        below: Option<&ObjectKey>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError> {
        self.list_objects(below, transfer)
    }

    fn delete(&self, key: &ObjectKey, transfer: &StoreTransfer<'_>) -> Result<bool, StoreError> {
        let failed = |error| self.failed("remove", key, error);
        let wire = self.wire(transfer).map_err(|error| failed(error.into()))?;
        let found = find_manifest(&wire, key, transfer).map_err(failed)?;
        let Some((digest, _)) = found else { return Ok(false) };
        match manifest::delete(&wire, &digest, transfer.subject) {
            Ok(()) => Ok(true),
            Err(RegistryExchangeError::NotFound { .. }) => Ok(false),
            // "400 Bad Request or 405 Method Not Allowed" (distribution specification, "Deleting tags").
            Err(RegistryExchangeError::Status { status, .. })
                if matches!(status.as_u16(), 400 | 405) =>
            {
                Err(failed(OciError::NoDeletion))
            }
            Err(error) => Err(failed(error.into())),
        }
    }
}
