//! `--repository-url`: packages and bootstraps that were built elsewhere (docs/format.md,
//! "Repositories").
//!
//! ```text
//! <url>/packages/<name>/<id>.tar.xz
//! <url>/bootstrap/<bootstrap id>.bootstrap.tar.xz and .active.json
//! <file>.sha256                                    beside any of them: its sum, checked
//! <file>.minisig                                   its signature, checked if signatures are required
//! ```
//!
//! A file and its digest file are a single item: if one of the two cannot be fetched, the
//! repository has failed once. In a build, a missing item is built, as is an item of an unreachable
//! repository; a repository that refuses the request, or returns damaged content, fails the
//! package. A package is read to its end, its names are checked, and if its `buildinfo.full.json`
//! contains the hashed input, the hash must match the version.
//!
//! Where signatures are required ([`Repository::requiring`]), a file is used if a trusted key signed it.
//! For a build, a file without a trusted signature counts as missing, with a warning; a signature
//! that claims to be of a trusted key and is not right ends the build of the package.

#[cfg(feature = "builder")]
mod presence;

use std::io::{self, Read, Seek};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub use super::repository_error::RepositoryError;
use super::repository_error::{CACHE, Need};
use super::signed::{self, SignedError, signed_id};
use crate::archive::{self, ArchiveLimits};
use crate::base::atomic::{self, AtomicFile};
use crate::base::causes::with_causes;
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::package::PackageId;
use crate::package::paths::{
    active_name, active_path, bootstrap_name, bootstrap_path, package_path,
};
use crate::store::signature::{SUFFIX, TrustedKeys};
use crate::store::{Backend, ObjectKey, Store, StoreTransfer};

/// Upper limit of a bootstrap's list of packages, in bytes.
pub const LONGEST_LIST: u64 = 64 << 20;
/// Upper limit of the bytes that are read of a file with a sum.
pub const LONGEST_SUM: u64 = 4096;

/// A store of packages and bootstraps.
#[derive(Debug, Clone)]
pub struct Repository {
    store: Store,
    /// Keys of which one must have signed each file; `None` if signatures are not required.
    signers: Option<Arc<TrustedKeys>>,
    need: Need,
}

/// Checks a package's `buildinfo.full.json`: `Ok(None)` if the file fits the id, `Ok(Some(reason))` if
/// the file does not tell, `Err(reason)` if another package has it.
pub type ContentCheck<'a> =
    dyn Fn(&PackageId, Option<&[u8]>) -> Result<Option<String>, String> + 'a;

/// A file that was fetched and checked, under a temporary name.
#[derive(Debug)]
struct FetchedFile {
    file: AtomicFile,
    /// Text of the valid signature, if required.
    signature: Option<Vec<u8>>,
}

impl FetchedFile {
    /// Renames the file to its final name, and writes the signature beside the file, as a proof for
    /// other users.
    fn commit(self) -> io::Result<()> {
        let mut beside = self.file.target().as_os_str().to_owned();
        beside.push(SUFFIX);
        // The archive before its signature: a signature alone would be taken for that of a later
        // archive.
        self.file.commit()?;
        match self.signature {
            Some(text) => atomic::write(Path::new(&beside), &text),
            None => Ok(()),
        }
    }
}

impl Repository {
    /// Creates a repository in a store.
    pub fn new(store: Store) -> Self {
        Self { store, signers: None, need: Need::Repository }
    }

    /// Creates a repository whose faults, damaged content included, are warnings.
    pub fn cache(store: Store) -> Self {
        Self { need: Need::Cache, ..Self::new(store) }
    }

    /// Returns the repository with all faults as errors, except missing items.
    #[must_use]
    pub fn sole(self) -> Self {
        Self { need: Need::Sole, ..self }
    }

    /// Requires a signature of one of these keys for every file.
    #[must_use]
    pub fn requiring(self, keys: TrustedKeys) -> Self {
        Self { signers: Some(Arc::new(keys)), ..self }
    }

    /// True if a network is needed to ask the repository.
    pub fn is_remote(&self) -> bool {
        self.store.is_remote()
    }

    /// Fetches a package into its place in the cache; `false` if the repository lacks it or cannot be
    /// reached, with a warning in the second case.
    pub fn fetch_package(
        &self,
        id: &PackageId,
        target: &Path,
        limits: &ArchiveLimits,
        check: &ContentCheck<'_>,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        let fetched = self.fetch_checked(id, target, limits, check, observer);
        // The faults of a cache end here, not further down: below, they still count against the
        // store in this run.
        self.dispensing(&id.to_string(), fetched, observer)
    }

    /// Turns the faults of a cache into warnings.
    fn dispensing(
        &self,
        subject: &str,
        fetched: Result<bool, RepositoryError>,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        match fetched {
            Err(error) if self.need == Need::Cache && !error.is_local() => {
                let message = format!("{}; {CACHE} is not used for it", with_causes(&error));
                observer.event(Event::Warning { subject: subject.to_owned(), message });
                Ok(false)
            }
            fetched => fetched,
        }
    }

    fn fetch_checked(
        &self,
        id: &PackageId,
        target: &Path,
        limits: &ArchiveLimits,
        check: &ContentCheck<'_>,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        let what = package_path(id);
        let fetched = self
            .item(&what, observer, |backend| self.get(backend, &what, limits, target, observer))?;
        let Some(FetchedFile { mut file, signature }) = fetched else { return Ok(false) };
        check_package(id, file.file(), limits, check, observer)?;
        FetchedFile { file, signature }.commit().map_err(in_file(&what))?;
        Ok(true)
    }

    /// Reads a package that is checked as by [`Repository::fetch_package`], and is not kept; `None` if the
    /// repository lacks it. `folder` is for temporary files.
    pub fn read_package(
        &self,
        id: &PackageId,
        folder: &Path,
        limits: &ArchiveLimits,
        check: &ContentCheck<'_>,
        observer: &dyn Observer,
    ) -> Result<Option<archive::PackageIndex>, RepositoryError> {
        let (what, target) = (package_path(id), folder.join(format!("{id}.tar.xz")));
        let fetched = self
            .item(&what, observer, |backend| self.get(backend, &what, limits, &target, observer))?;
        let Some(FetchedFile { mut file, .. }) = fetched else { return Ok(None) };
        check_package(id, file.file(), limits, check, observer).map(Some)
    }

    /// Fetches a bootstrap and its `active.json`, which has to be equal to `active`; `false` if the
    /// repository lacks one of the two or cannot be reached, with a warning in the last case. The list
    /// decides nothing, and needs no signature.
    pub fn fetch_bootstrap(
        &self,
        name: &str,
        folder: &Path,
        active: &str,
        limits: &ArchiveLimits,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        let fetched = self.fetch_checked_bootstrap(name, folder, active, limits, observer);
        self.dispensing(&format!("bootstrap {name}"), fetched, observer)
    }

    fn fetch_checked_bootstrap(
        &self,
        name: &str,
        folder: &Path,
        active: &str,
        limits: &ArchiveLimits,
        observer: &dyn Observer,
    ) -> Result<bool, RepositoryError> {
        let (list, archive) = (active_path(name), bootstrap_path(name));
        let fetched = self.item(&archive, observer, |backend| {
            let place = folder.join(active_name(name));
            let mut list_file = get(backend, &list, LONGEST_LIST, &place, observer)?;
            // The list first: it is small, and if it is another bootstrap's the archive need not be
            // fetched.
            check_list(&list, &mut list_file, active)?;
            let place = folder.join(bootstrap_name(name));
            let file = self.get(backend, &archive, limits, &place, observer)?;
            Ok((list_file, file))
        })?;
        let Some((list_file, mut fetched)) = fetched else { return Ok(false) };
        verify(&archive, fetched.file.file(), limits)?;
        // In this order: a bootstrap counts as there once it has its list.
        fetched.commit().map_err(in_file(&archive))?;
        list_file.commit().map_err(in_file(&list))?;
        Ok(true)
    }

    /// Fetches one file under a temporary name beside `target` and checks the sum; `None` if the
    /// repository lacks the file. Without an alternative, the repository gets all attempts.
    pub fn fetch(
        &self,
        what: &str,
        target: &Path,
        observer: &dyn Observer,
    ) -> Result<Option<AtomicFile>, RepositoryError> {
        match self.get(self.store.backend(), what, &ArchiveLimits::NONE, target, observer) {
            Err(RepositoryError::Store { source, .. }) if source.is_not_found() => Ok(None),
            other => other.map(|fetched| Some(fetched.file)),
        }
    }

    /// Asks for an item that can be built, too.
    fn item<T>(
        &self,
        what: &str,
        observer: &dyn Observer,
        requests: impl FnOnce(&dyn Backend) -> Result<T, RepositoryError>,
    ) -> Result<Option<T>, RepositoryError> {
        let transfer = StoreTransfer { subject: what, observer };
        let role = self.need.role();
        let kind = |error: &RepositoryError| error.dispensable(self.need);
        // The repository answers, so its reachability is not in question.
        let asked = self.store.item(role, &transfer, kind, |backend| match requests(backend) {
            Err(error) if error.is_untrusted() && self.need != Need::Sole => Ok(Err(error)),
            other => other.map(Ok),
        })?;
        let untrusted = match asked {
            None => return Ok(None),
            Some(Ok(found)) => return Ok(Some(found)),
            Some(Err(error)) => error,
        };
        let (subject, message) = (what.to_owned(), with_causes(&untrusted));
        observer.event(Event::Warning { subject, message });
        Ok(None)
    }

    /// Fetches an archive, and checks its digest, and its signature if required. A packed archive of more
    /// bytes than it may unpack to is not fetched.
    fn get(
        &self,
        backend: &dyn Backend,
        what: &str,
        limits: &ArchiveLimits,
        target: &Path,
        observer: &dyn Observer,
    ) -> Result<FetchedFile, RepositoryError> {
        let Some(keys) = &self.signers else {
            let file = get(backend, what, limits.max_bytes, target, observer)?;
            return Ok(FetchedFile { file, signature: None });
        };
        let untrusted = |source| {
            let (what, place) = (what.to_owned(), backend.name());
            RepositoryError::Signature { what, place, source }
        };
        let (claim, text) =
            signed::claim(backend, what, keys, observer).map_err(|error| match error {
                SignedError::Name(error) => error.into(),
                SignedError::Store(source) => {
                    RepositoryError::Store { what: what.to_owned(), source }
                }
                SignedError::Signature(source) => untrusted(source),
            })?;
        let mut file = get(backend, what, limits.max_bytes, target, observer)?;
        // What is verified is the file on disk that will be renamed, not the stream that was
        // written to it.
        let content = file.rewound().map_err(in_file(what))?;
        let key = claim.verify(content, signed_id(what)).map_err(untrusted)?;
        tracing::info!(what, %key, "the signature is good");
        Ok(FetchedFile { file, signature: Some(text) })
    }
}

/// Fetches a file of at most so many bytes, and checks its digest file.
fn get(
    backend: &dyn Backend,
    what: &str,
    longest: u64,
    target: &Path,
    observer: &dyn Observer,
) -> Result<AtomicFile, RepositoryError> {
    let broken = in_file(what);
    let mut file = AtomicFile::create(target).map_err(&broken)?;
    copy(backend, what, longest, file.file(), observer)?;
    let mut text = Vec::new();
    // No more than the beginning is asked for: it is kept in memory.
    let transfer = StoreTransfer { subject: what, observer };
    match backend.get_range(
        &format!("{what}.sha256").parse()?,
        0..LONGEST_SUM,
        &mut text,
        &transfer,
    ) {
        Ok(_) => {}
        // The original's repositories have no such files.
        Err(source) if source.is_not_found() => return Ok(file),
        Err(source) => {
            return Err(RepositoryError::Store { what: format!("{what}.sha256"), source });
        }
    }
    let expected = stated_sum(&String::from_utf8_lossy(&text)).to_owned();
    let found = file.rewound().and_then(Sha256Sum::of_reader).map_err(&broken)?;
    if Sha256Sum::from_str(&expected).ok().as_ref() == Some(&found) {
        Ok(file)
    } else {
        Err(RepositoryError::Sum { what: what.to_owned(), found, expected })
    }
}

fn copy(
    backend: &dyn Backend,
    what: &str,
    longest: u64,
    to: &mut std::fs::File,
    observer: &dyn Observer,
) -> Result<(), RepositoryError> {
    let key: ObjectKey = what.parse()?;
    backend
        .get_within(&key, longest, to, &StoreTransfer { subject: what, observer })
        .map(drop)
        .map_err(|source| RepositoryError::Store { what: what.to_owned(), source })
}

/// Checks that a bootstrap's list names the packages of `active`.
fn check_list(what: &str, file: &mut AtomicFile, active: &str) -> Result<(), RepositoryError> {
    let mut text = String::new();
    file.file().rewind().map_err(in_file(what))?;
    file.file().read_to_string(&mut text).map_err(in_file(what))?;
    // In any order: others have written it differently.
    let listed = |text: &str| {
        let mut ids = serde_json::from_str::<Vec<PackageId>>(text).ok()?;
        ids.sort();
        Some(ids)
    };
    // Two texts that cannot be read are not the same list.
    if listed(&text).is_some() && listed(&text) == listed(active) {
        return Ok(());
    }
    let reason = "it lists other packages than the bootstrap of that id has".to_owned();
    Err(RepositoryError::Other { what: what.to_owned(), reason })
}

/// Sum in the text of a file beside an artifact, which may name the file, too.
pub fn stated_sum(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

/// Reads a whole archive and checks the names in it.
fn verify(
    what: &str,
    file: &mut std::fs::File,
    limits: &ArchiveLimits,
) -> Result<archive::PackageIndex, RepositoryError> {
    file.rewind().map_err(in_file(what))?;
    archive::verify_package(file, limits)
        .map_err(|source| RepositoryError::Archive { what: what.to_owned(), source })
}

/// Reads a package's whole archive, and checks that it is the one of the id.
pub fn check_package(
    id: &PackageId,
    file: &mut std::fs::File,
    limits: &ArchiveLimits,
    check: &ContentCheck<'_>,
    observer: &dyn Observer,
) -> Result<archive::PackageIndex, RepositoryError> {
    let what = package_path(id);
    let index = verify(&what, file, limits)?;
    match check(id, index.buildinfo.as_deref()) {
        Ok(None) => Ok(index),
        Ok(Some(message)) => {
            observer.event(Event::Warning { subject: id.to_string(), message });
            Ok(index)
        }
        Err(reason) => Err(RepositoryError::Other { what, reason }),
    }
}

fn in_file(what: &str) -> impl Fn(io::Error) -> RepositoryError + use<'_> {
    move |source| RepositoryError::File { what: what.to_owned(), source }
}
