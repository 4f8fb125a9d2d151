//! `--repository-url`: packages and bootstraps that somebody built already (SPEC §9).
//!
//! ```text
//! <url>/packages/<name>/<id>.tar.xz
//! <url>/bootstrap/<bootstrap id>.bootstrap.tar.xz and .active.json
//! <file>.sha256                                    beside any of them: its sum, checked
//! ```
//!
//! What isn't there is built. What is damaged is never used: it is read to its end, its names are
//! checked, and if its `buildinfo.full.json` says what was hashed, that must give its version.

use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::archive::{self, Limits};
use crate::base::atomic::{AtomicFile, naming_file};
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::http::{HttpClient, HttpError};
use crate::base::memory_file::memory_file;
use crate::package::PackageId;

/// A place to fetch packages and bootstraps from.
#[derive(Debug, Clone)]
pub struct Repository {
    place: Place,
    http: HttpClient,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Url(String),
    Folder(PathBuf),
}

/// The text is no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no repository: give an http://, https:// or file:///absolute URL")]
pub struct RepositoryUrlError(String);

/// A fetched artifact can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The transfer failed.
    #[error("can't fetch {what} from the repository")]
    Http {
        /// What was fetched.
        what: String,
        /// What went wrong.
        #[source]
        source: HttpError,
    },
    /// A file can't be read or written.
    #[error("can't fetch {what} from the repository")]
    File {
        /// What was fetched.
        what: String,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The sum beside it says otherwise.
    #[error(
        "{what} from the repository is damaged: its SHA-256 is {found}, but {what}.sha256 says {expected}"
    )]
    Sum {
        /// What was fetched.
        what: String,
        /// What the file has.
        found: Sha256Sum,
        /// What is said.
        expected: String,
    },
    /// The archive is damaged, or not what a package may be.
    #[error("{what} from the repository is damaged or no package")]
    Archive {
        /// What was fetched.
        what: String,
        /// What is wrong.
        #[source]
        source: archive::ReadError,
    },
    /// The contents are of another package.
    #[error("{what} from the repository holds another package: {reason}")]
    Other {
        /// What was fetched.
        what: String,
        /// What doesn't fit.
        reason: String,
    },
}

impl RepositoryError {
    /// What to do, where that isn't plain.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Http { source, .. } => source.hint().map(str::to_owned),
            _ => None,
        }
    }
}

/// Looks at a package's `buildinfo.full.json`: `Ok(None)` if it fits the id, `Ok(Some(why))` if
/// that can't be told, `Err(why)` if it is another package's.
pub type ContentCheck<'a> =
    dyn Fn(&PackageId, Option<&[u8]>) -> Result<Option<String>, String> + 'a;

impl Repository {
    /// The repository at a URL.
    pub fn new(url: &str, http: HttpClient) -> Result<Self, RepositoryUrlError> {
        match url.strip_prefix("file://") {
            Some(path) if !path.starts_with('/') => Err(RepositoryUrlError(url.to_owned())),
            _ => Self::from_folder(url, Path::new("/"), http),
        }
    }

    /// The repository at a URL, which may also be `file://relative`, counted from a folder.
    pub fn from_folder(
        url: &str,
        folder: &Path,
        http: HttpClient,
    ) -> Result<Self, RepositoryUrlError> {
        let trimmed = url.trim_end_matches('/');
        let place = if let Some(path) = trimmed.strip_prefix("file://") {
            Place::Folder(folder.join(path))
        } else if trimmed.starts_with("http://") || trimmed.starts_with("https://") {
            Place::Url(trimmed.to_owned())
        } else {
            return Err(RepositoryUrlError(url.to_owned()));
        };
        Ok(Self { place, http })
    }

    /// Whether asking it needs a network.
    pub fn is_remote(&self) -> bool {
        matches!(self.place, Place::Url(_))
    }

    /// Whether a package is there, if that can be told without a network.
    pub fn has_locally(&self, id: &PackageId) -> bool {
        match &self.place {
            Place::Folder(folder) => folder.join(package_path(id)).is_file(),
            Place::Url(_) => false,
        }
    }

    /// Fetches a package into its place in the cache; `false` if the repository doesn't have it.
    pub fn fetch_package(
        &self,
        id: &PackageId,
        target: &Path,
        limits: &Limits,
        check: &ContentCheck<'_>,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        let what = package_path(id);
        let Some(mut file) = self.fetch(&what, target, observer)? else { return Ok(false) };
        let index = verify(&what, &mut file, limits)?;
        match check(id, index.buildinfo.as_deref()) {
            Ok(None) => {}
            Ok(Some(why)) => {
                observer.event(Event::Warning { subject: id.to_string(), message: why });
            }
            Err(reason) => return Err(RepositoryError::Other { what, reason }),
        }
        file.commit().map_err(|source| RepositoryError::File { what, source })?;
        Ok(true)
    }

    /// Fetches a bootstrap and its `active.json`; `false` if the repository doesn't have both.
    /// `active` is what the latter must say.
    pub fn fetch_bootstrap(
        &self,
        name: &str,
        folder: &Path,
        active: &str,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        let list = format!("bootstrap/{name}.active.json");
        let archive = format!("bootstrap/{name}.bootstrap.tar.xz");
        let place = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        let Some(mut list_file) = self.fetch(&list, &place("active.json"), observer)? else {
            return Ok(false);
        };
        let file = |what: &str| {
            let what = what.to_owned();
            move |source| RepositoryError::File { what, source }
        };
        let mut text = String::new();
        list_file.file().rewind().map_err(file(&list))?;
        list_file.file().take(64 << 20).read_to_string(&mut text).map_err(file(&list))?;
        let listed = |text: &str| serde_json::from_str::<Vec<PackageId>>(text).ok();
        if listed(&text).is_none() || listed(&text) != listed(active) {
            let reason = "it lists other packages than the bootstrap of that id has".to_owned();
            return Err(RepositoryError::Other { what: list, reason });
        }
        let Some(mut archive_file) = self.fetch(&archive, &place("bootstrap.tar.xz"), observer)?
        else {
            return Ok(false);
        };
        verify(&archive, &mut archive_file, limits)?;
        archive_file.commit().map_err(file(&archive))?;
        list_file.commit().map_err(file(&list))?;
        Ok(true)
    }

    /// Fetches one file under a temporary name beside `target`, its sum checked; `None` if it isn't
    /// there.
    pub fn fetch(
        &self,
        what: &str,
        target: &Path,
        observer: &dyn Observer,
    ) -> Result<Option<AtomicFile>, RepositoryError> {
        let broken = |source| RepositoryError::File { what: what.to_owned(), source };
        let mut file = AtomicFile::create(target).map_err(broken)?;
        if !self.copy_to(what, file.file(), observer)? {
            return Ok(None);
        }
        let sum = format!("{what}.sha256");
        let mut text = memory_file().map_err(broken)?;
        if self.copy_to(&sum, &mut text, observer)? {
            text.rewind().map_err(broken)?;
            let mut expected = String::new();
            text.take(4096).read_to_string(&mut expected).map_err(broken)?;
            let expected = expected.split_whitespace().next().unwrap_or_default().to_owned();
            file.file().rewind().map_err(broken)?;
            let found = Sha256Sum::of_reader(file.file()).map_err(broken)?;
            if Sha256Sum::from_str(&expected).ok().as_ref() != Some(&found) {
                return Err(RepositoryError::Sum { what: what.to_owned(), found, expected });
            }
        }
        Ok(Some(file))
    }

    fn copy_to(
        &self,
        what: &str,
        to: &mut std::fs::File,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        match &self.place {
            Place::Folder(folder) => match fs_err::File::open(folder.join(what)) {
                Ok(from) => copy(from.file(), to, observer).map(|()| true).map_err(|error| {
                    RepositoryError::File { what: what.to_owned(), source: naming_file(to, error) }
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(source) => Err(RepositoryError::File { what: what.to_owned(), source }),
            },
            Place::Url(url) => {
                match self.http.download(&format!("{url}/{what}"), what, to, observer) {
                    Ok(_) => Ok(true),
                    Err(error) if error.is_not_found() => Ok(false),
                    Err(source) => Err(RepositoryError::Http { what: what.to_owned(), source }),
                }
            }
        }
    }
}

/// So much is copied between two looks whether the run is over.
const COPIED_AT_ONCE: u64 = 64 << 20;

fn copy(
    mut from: &std::fs::File,
    to: &mut std::fs::File,
    observer: &dyn Observer,
) -> io::Result<()> {
    while io::copy(&mut from.by_ref().take(COPIED_AT_ONCE), to)? == COPIED_AT_ONCE {
        if observer.is_interrupted() {
            return Err(io::Error::other("interrupted"));
        }
    }
    Ok(())
}

/// Where a repository has a package.
pub fn package_path(id: &PackageId) -> String {
    format!("packages/{}/{id}.tar.xz", id.name())
}

/// Reads an archive to its end and checks its names.
fn verify(
    what: &str,
    file: &mut AtomicFile,
    limits: &Limits,
) -> Result<archive::PackageIndex, RepositoryError> {
    file.file()
        .rewind()
        .map_err(|source| RepositoryError::File { what: what.to_owned(), source })?;
    archive::verify_package(file.file(), limits)
        .map_err(|source| RepositoryError::Archive { what: what.to_owned(), source })
}
