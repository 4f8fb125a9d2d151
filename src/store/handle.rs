//! Handle of a store for the rest of the program: a backend, and its reachability in this run.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::backend::{Backend, StoreTransfer};
#[cfg(feature = "builder")]
use super::cloud::{CloudAddress, CloudBackend, CloudKind, CloudSettings};
use super::failure::FailureKind;
use super::folder::FolderBackend;
use super::http::HttpBackend;
#[cfg(feature = "builder")]
use super::oci::{OciBackend, OciUrlError};
use super::prefix::PrefixBackend;
use super::reach::{Consequence, Reach};
#[cfg(feature = "builder")]
use super::registry::{Connections, RegistryOptions};
use super::tar::TarBackend;
use crate::base::causes::with_causes;
use crate::base::event::Event;
use crate::base::http::{HttpClient, redact};

/// A store. Copies share the backend and the knowledge about its reachability.
#[derive(Debug, Clone)]
pub struct Store {
    backend: Arc<dyn Backend>,
    reach: Arc<Reach>,
}

/// Parameters for opening stores: clients, and the user's settings.
#[derive(Debug, Clone, Default)]
pub struct StoreAccess {
    /// Client for web servers; its attempts, waits and limits hold for stores in clouds, too.
    pub http: HttpClient,
    /// Settings of stores in clouds.
    #[cfg(feature = "builder")]
    pub clouds: CloudSettings,
    /// Options of registries.
    #[cfg(feature = "builder")]
    pub registries: RegistryOptions,
}

impl StoreAccess {
    /// Creates access to stores that need no settings but the client's.
    pub fn new(http: HttpClient) -> Self {
        Self {
            http,
            #[cfg(feature = "builder")]
            clouds: CloudSettings::default(),
            #[cfg(feature = "builder")]
            registries: RegistryOptions::default(),
        }
    }
}

/// Forms of locations that [`Store::open`] reads.
#[cfg(feature = "builder")]
const STORES: &str =
    "a folder, or a URL with file:///absolute, http://, https://, s3://, az://, gs:// or oci://";
#[cfg(not(feature = "builder"))]
const STORES: &str = "a folder, or a URL with file:///absolute, http:// or https://";

/// Text that does not name a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: expected {expected}")]
pub struct StoreUrlError {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

/// True if a path ends as that of a tar archive.
pub fn is_tar_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

impl StoreUrlError {
    fn new(text: &str, kind: &'static str, expected: &'static str) -> Self {
        Self { text: redact(text), kind, expected }
    }
}

impl Store {
    /// Creates a store from its backend.
    pub fn new(backend: impl Backend + 'static) -> Self {
        Self { backend: Arc::new(backend), reach: Arc::default() }
    }

    /// Creates a store in a folder.
    pub fn in_folder(folder: impl Into<PathBuf>) -> Self {
        Self::new(FolderBackend::new(folder.into()))
    }

    /// Creates a store in a folder or, where the path is that of a file or ends in `.tar`, a tar archive.
    pub fn at_path(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let is_tar = path.is_file() || !path.is_dir() && is_tar_name(&path);
        if is_tar { Self::new(TarBackend::new(path)) } else { Self::in_folder(path) }
    }

    /// Reads the place of a store of any kind: a folder, or a URL with a scheme that this program knows.
    pub fn open(text: &str, access: &StoreAccess) -> Result<Self, StoreUrlError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return if text.is_empty() {
                Err(StoreUrlError::new(text, "store", STORES))
            } else {
                Ok(Self::in_folder(text))
            };
        };
        match scheme {
            "http" | "https" | "file" => Self::plain(text, &access.http)
                .ok_or_else(|| StoreUrlError::new(text, "store", STORES)),
            "s3" | "az" | "gs" => Self::in_cloud(text, scheme, rest, access),
            "oci" => Self::in_registry(text, access),
            _ => Err(StoreUrlError::new(text, "store", STORES)),
        }
    }

    /// Reads the place of a mirror: a folder, a tar archive, or a URL with `http`, `https` or `file`.
    pub fn mirror(text: &str, http: &HttpClient) -> Result<Self, StoreUrlError> {
        let found = match text.split_once("://") {
            None if !text.is_empty() => Some(Self::at_path(text)),
            Some(("file", path)) if path.starts_with('/') => Some(Self::at_path(path)),
            _ => Self::plain(text, http),
        };
        found.ok_or_else(|| {
            let expected =
                "a folder, a tar archive, or a URL with http://, https:// or file:///absolute";
            StoreUrlError::new(text, "mirror", expected)
        })
    }

    /// Reads the URL of a repository: with `http`, `https`, or `file` and an absolute path. A path that
    /// is relative counts from `folder`, if one is given.
    pub fn repository(
        url: &str,
        folder: Option<&Path>,
        http: &HttpClient,
    ) -> Result<Self, StoreUrlError> {
        let relative = || Some(Self::in_folder(folder?.join(url.strip_prefix("file://")?)));
        Self::plain(url, http).or_else(relative).ok_or_else(|| {
            let expected = "a URL with http://, https:// or file:///absolute";
            StoreUrlError::new(url, "repository", expected)
        })
    }

    /// Reads a URL of which every program of the crate has the backend.
    fn plain(url: &str, http: &HttpClient) -> Option<Self> {
        match url.split_once("://")? {
            ("http" | "https", rest) if !rest.is_empty() => {
                Some(Self::new(HttpBackend::new(url, http.clone())))
            }
            ("file", path) if path.starts_with('/') => Some(Self::in_folder(path)),
            _ => None,
        }
    }

    #[cfg(feature = "builder")]
    fn in_cloud(
        text: &str,
        scheme: &str,
        rest: &str,
        access: &StoreAccess,
    ) -> Result<Self, StoreUrlError> {
        let (kind, expected) = match scheme {
            "s3" => (CloudKind::S3, "s3://BUCKET or s3://BUCKET/PREFIX"),
            "az" => (CloudKind::Azure, "az://CONTAINER or az://CONTAINER/PREFIX"),
            _ => (CloudKind::Gcs, "gs://BUCKET or gs://BUCKET/PREFIX"),
        };
        let address = CloudAddress::parse(kind, rest)
            .ok_or_else(|| StoreUrlError::new(text, "store", expected))?;
        Ok(Self::new(CloudBackend::new(address, access.clouds.clone(), access.http.clone())))
    }

    #[cfg(feature = "builder")]
    fn in_registry(text: &str, access: &StoreAccess) -> Result<Self, StoreUrlError> {
        let url = text.parse().map_err(|_error: OciUrlError| {
            StoreUrlError::new(text, "store", "oci://HOST[:PORT]/REPOSITORY")
        })?;
        let connections = Arc::new(Connections::new(access.registries.clone()));
        Ok(Self::new(OciBackend::new(connections, url)))
    }

    #[cfg(not(feature = "builder"))]
    fn in_registry(text: &str, access: &StoreAccess) -> Result<Self, StoreUrlError> {
        Self::in_cloud(text, "", "", access)
    }

    #[cfg(not(feature = "builder"))]
    fn in_cloud(text: &str, _: &str, _: &str, _: &StoreAccess) -> Result<Self, StoreUrlError> {
        let expected = "a folder, or a URL with http://, https:// or file:///absolute; mkpanda also knows stores in clouds";
        Err(StoreUrlError::new(text, "store", expected))
    }

    /// Returns a folder of the store as a store of its own, with the same reachability. `name` is a
    /// valid key.
    #[must_use]
    pub fn folder(&self, name: &str) -> Self {
        match name.parse() {
            Ok(prefix) => Self {
                backend: Arc::new(PrefixBackend::new(Arc::clone(&self.backend), prefix)),
                // A server that is down is down for all of its folders.
                reach: Arc::clone(&self.reach),
            },
            Err(_) => self.clone(),
        }
    }

    /// The backend, for a place without an alternative: nothing is skipped or counted.
    pub fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Local folder, if the store is one.
    pub fn local_folder(&self) -> Option<&Path> {
        self.backend.local_folder()
    }

    /// Base URL of the objects for plain HTTP, with credentials, if any.
    pub fn base_url(&self) -> Option<&str> {
        self.backend.base_url()
    }

    /// True if a network is needed to ask the store.
    pub fn is_remote(&self) -> bool {
        !self.backend.is_local()
    }

    /// Asks for an item that can come from elsewhere, too. Returns `None` if the store lacks the item,
    /// cannot give it, or is skipped.
    ///
    /// `requests` makes all requests for the item, so that an item counts once. `kind` classifies their
    /// error; an error without a kind, or of this machine, is returned. Other errors are warnings,
    /// in which `role` names the store. After three failed items in a row, or a refused connection,
    /// the warning says that the store is skipped, and no further request is made in this run.
    pub fn item<T, E: Error + 'static>(
        &self,
        role: &str,
        transfer: &StoreTransfer<'_>,
        kind: impl Fn(&E) -> Option<FailureKind>,
        requests: impl FnOnce(&dyn Backend) -> Result<T, E>,
    ) -> Result<Option<T>, E> {
        if self.reach.is_skipped() {
            return Ok(None);
        }
        let error = match requests(&*self.backend) {
            Ok(found) => {
                self.reach.answered();
                return Ok(Some(found));
            }
            Err(error) => error,
        };
        let failure = match kind(&error) {
            None | Some(FailureKind::Local) => return Err(error),
            // A refusal is an answer, too: the server is there.
            Some(FailureKind::NotFound | FailureKind::Unsupported) => {
                self.reach.answered();
                return Ok(None);
            }
            Some(failure) => failure,
        };
        let end = match self.reach.failed(failure) {
            Consequence::Continue => "",
            Consequence::Skip => "; it is not asked again in this run",
            // Another thread has told of it.
            Consequence::Skipped => return Ok(None),
        };
        let (subject, message) =
            (transfer.subject.to_owned(), format!("{role} failed: {}{end}", with_causes(&error)));
        transfer.observer.event(Event::Warning { subject, message });
        Ok(None)
    }
}
