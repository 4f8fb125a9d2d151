//! A fetched source, as it is put into a shared cache.

use std::collections::BTreeSet;
use std::path::Path;

use crate::artifact::shared_cache::{SOURCES, SharedCache};
use crate::base::causes::with_causes;
use crate::base::event::{Event, Observer};
use crate::base::http::redact;
use crate::package::SourceSpec;
use crate::source::{BundleRequest, FetchOptions, FetchedSource, SourceProblem, SourceRequest};
use crate::store::{
    Backend, FailureKind, ObjectContent, ObjectKey, Put, StoreError, StoreTransfer,
};

/// Name of a cache in warnings.
const ROLE: &str = "the cache";

/// A source to be uploaded.
#[derive(Debug, Clone)]
pub struct SourceUpload {
    key: ObjectKey,
    request: SourceRequest,
    fetched: FetchedSource,
}

/// A source cannot be uploaded.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bundle cannot be made.
    #[error("the git bundle cannot be made")]
    Bundle(#[source] Box<SourceProblem>),
    /// A local file cannot be read.
    #[error("the source cannot be read")]
    File(#[source] std::io::Error),
}

impl UploadError {
    /// Classifies the failure.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Store(error) => Some(error.kind()),
            Self::Bundle(_) | Self::File(_) => None,
        }
    }

    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Bundle(problem) => problem.hint(),
            Self::File(_) => None,
        }
    }
}

impl SourceUpload {
    /// Creates an upload; `None` for a source that no cache holds.
    pub fn new(request: &SourceRequest, fetched: &FetchedSource) -> Option<Self> {
        let key = request.mirror_key()?;
        Some(Self { key, request: request.clone(), fetched: fetched.clone() })
    }

    /// The source.
    pub fn request(&self) -> &SourceRequest {
        &self.request
    }

    /// Name of the source below the cache's `sources/`.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Puts the source into a cache that lacks it, and reports a failure as a warning. `scratch` is a folder
    /// for a bundle.
    pub fn put(
        &self,
        cache: &SharedCache,
        scratch: &Path,
        options: &FetchOptions,
        observer: &dyn Observer,
    ) -> Option<Put> {
        let subject = self.request.subject();
        let transfer = StoreTransfer { subject: &subject, observer };
        let store = cache.store().folder(SOURCES);
        let put = store.item(ROLE, &transfer, UploadError::kind, |backend| {
            self.upload(backend, scratch, options, &transfer)
        });
        put.unwrap_or_else(|error| {
            let message = format!("not uploaded to {}: {}", cache.name(), with_causes(&error));
            observer.event(Event::Warning { subject: subject.clone(), message });
            None
        })
    }

    /// Uploads the source to a store's folder of sources, unless present.
    pub fn upload(
        &self,
        backend: &dyn Backend,
        scratch: &Path,
        options: &FetchOptions,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, UploadError> {
        match backend.head(&self.key, transfer) {
            Ok(_) => return Ok(Put::WasThere),
            // Stores that know no HEAD get the source again, which changes nothing.
            Err(error) if error.is_not_found() || error.kind() == FailureKind::Unsupported => {}
            Err(error) => return Err(error.into()),
        }
        let put = |path: &Path| -> Result<Put, UploadError> {
            let size = fs_err::metadata(path).map_err(UploadError::File)?.len();
            Ok(backend.put(&self.key, ObjectContent::File(path, size), transfer)?)
        };
        let SourceSpec::Git { url, commit, ref_origin } = &self.request.source.spec else {
            return put(self.fetched.path());
        };
        let folder = tempfile::tempdir_in(scratch).map_err(UploadError::File)?;
        let bundle = folder.path().join("made.bundle");
        let request = BundleRequest {
            subject: transfer.subject,
            url: &redact(url),
            repository: self.fetched.path(),
            commit,
            ref_origins: &BTreeSet::from([ref_origin.clone()]),
        };
        request
            .write(&bundle, options, transfer.observer)
            .map_err(|problem| UploadError::Bundle(Box::new(problem)))?;
        put(&bundle)
    }
}
