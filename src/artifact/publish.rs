//! Putting a package into a store.
//!
//! The archive comes first, and the files beside it (sum, signature, record) describe the archive that the
//! store has: of two writers at once the store takes one archive, and a writer that was killed leaves an
//! archive that the next one describes. Other bytes under one id are not damage in themselves, since another
//! version may compress differently: archives are compared by the digest of their tar.

use std::io;
use std::path::Path;

use super::record::{self, PackageRecord};
use super::repository::{LONGEST_SUM, package_path};
use super::signed::signed_id;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::store::signature::{SUFFIX, SignError, Signer};
use crate::store::{
    About, Backend, Content, FailureKind, Key, KeyError, Put, StoreError, Transfer,
};

/// A package to be put into a store.
#[derive(Debug, Clone)]
pub struct Publication<'p> {
    /// Digests and origin.
    pub record: &'p PackageRecord,
    /// Archive.
    pub archive: &'p Path,
    /// Description for people and other programs.
    pub about: About<'p>,
}

/// Result of putting a package into a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The store has taken the archive.
    Written,
    /// The store had the same package already.
    WasThere,
}

/// A package cannot be put into a store.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The package's name is not valid in a store.
    #[error(transparent)]
    Name(#[from] KeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive or a temporary file cannot be read or written.
    #[error("cannot read {what} for an upload")]
    File {
        /// The artifact.
        what: String,
        /// The system's message.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be signed.
    #[error("cannot sign {what}")]
    Sign {
        /// The artifact.
        what: String,
        /// The cause.
        #[source]
        source: SignError,
    },
    /// The store has another package under the id.
    #[error(
        "{store} has another {what}, which was left as it is: its tar has the SHA-256 {theirs}, and the one built here {ours}"
    )]
    Different {
        /// The artifact.
        what: String,
        /// The store's name.
        store: String,
        /// Digest of the tar in the store.
        theirs: Sha256Sum,
        /// Digest of the tar on this machine.
        ours: Sha256Sum,
    },
    /// The store's object is damaged.
    #[error("{what} in {store} is damaged, and was left as it is: {reason}")]
    Damaged {
        /// The artifact.
        what: String,
        /// The store's name.
        store: String,
        /// The fault.
        reason: String,
    },
}

impl PublishError {
    /// Classifies the failure.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Store(error) => Some(error.kind()),
            // This machine's faults, and objects of a store that answers.
            _ => None,
        }
    }

    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(error) => error.hint(),
            Self::Different { what, .. } | Self::Damaged { what, .. } => Some(format!(
                "find out which of the two is right; if it is this machine's, remove {what} and the files beside it from the cache"
            )),
            _ => None,
        }
    }
}

/// Puts a package, with the files beside it, into a store that lacks it.
pub(super) fn publish(
    backend: &dyn Backend,
    package: &Publication<'_>,
    signer: Option<&Signer>,
    observer: &dyn Observer,
) -> Result<Published, PublishError> {
    let what = package_path(&package.record.id);
    let transfer = Transfer { subject: &what, observer };
    let work = Work { backend, package, signer, what: &what, transfer };
    let key: Key = what.parse()?;
    let content = Content::File(package.archive, package.record.size);
    // Spares the upload of most.
    let put = match backend.head(&key, &transfer) {
        Ok(_) => Put::WasThere,
        Err(error) if error.is_not_found() || error.kind() == FailureKind::Unsupported => {
            backend.put_described(&key, content, &package.about, &transfer)?
        }
        Err(error) => return Err(error.into()),
    };
    match put {
        Put::Written => {
            let found = backend.head(&key, &transfer)?.size;
            if found.is_some_and(|size| size != package.record.size) {
                let size = found.unwrap_or_default();
                let reason = format!("it has {size} bytes instead of {}", package.record.size);
                return Err(work.damaged(reason));
            }
            work.describe(package.record, true)?;
            Ok(Published::Written)
        }
        Put::WasThere => {
            work.complete()?;
            Ok(Published::WasThere)
        }
    }
}

struct Work<'w> {
    backend: &'w dyn Backend,
    package: &'w Publication<'w>,
    signer: Option<&'w Signer>,
    what: &'w str,
    transfer: Transfer<'w>,
}

impl Work<'_> {
    fn damaged(&self, reason: String) -> PublishError {
        PublishError::Damaged { what: self.what.to_owned(), store: self.backend.name(), reason }
    }

    fn file(&self) -> impl Fn(io::Error) -> PublishError + use<'_> {
        |source| PublishError::File { what: self.what.to_owned(), source }
    }

    /// Reads a small object; `None` if there is none.
    fn small(&self, name: &str, longest: u64) -> Result<Option<Vec<u8>>, PublishError> {
        let mut text = Vec::new();
        match self.backend.get_range(&name.parse()?, 0..longest, &mut text, &self.transfer) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Adds the files beside an archive that the store had already, once it is known to be this package.
    fn complete(&self) -> Result<(), PublishError> {
        let ours = self.package.record;
        let sum = self.small(&format!("{}.sha256", self.what), LONGEST_SUM)?;
        let sum = sum.map(|text| String::from_utf8_lossy(&text).into_owned());
        let sum = sum.as_deref().and_then(|text| text.split_whitespace().next());
        if sum == Some(ours.sha256.to_string().as_str()) {
            return self.describe(ours, false);
        }
        let theirs = match self.small(&record_path(ours), record::LONGEST)? {
            Some(text) => PackageRecord::parse(&text, &ours.id)
                .ok_or_else(|| self.damaged("its record cannot be read".to_owned()))?,
            None => self.record_of_theirs()?,
        };
        if theirs.tar_sha256 != ours.tar_sha256 {
            return Err(PublishError::Different {
                what: self.what.to_owned(),
                store: self.backend.name(),
                theirs: theirs.tar_sha256,
                ours: ours.tar_sha256.clone(),
            });
        }
        // Described by somebody: what is said of the archive is theirs.
        if sum.is_some() { Ok(()) } else { self.describe(&theirs, false) }
    }

    /// Downloads the archive of a store that lacks its record.
    fn record_of_theirs(&self) -> Result<PackageRecord, PublishError> {
        let copy = tempfile::NamedTempFile::new().map_err(self.file())?;
        let mut file = copy.reopen().map_err(self.file())?;
        self.backend.get(&self.what.parse()?, &mut file, &self.transfer)?;
        let buildinfo = self.package.record.buildinfo.clone();
        PackageRecord::of_archive(&self.package.record.id, copy.path(), buildinfo)
            .map_err(|error| self.damaged(error.to_string()))
    }

    /// Puts sum, record and signature beside an archive with this record. `is_new` if the archive is this
    /// machine's and the store has just taken it: then files that say otherwise are left from an archive that
    /// is gone.
    fn describe(&self, record: &PackageRecord, is_new: bool) -> Result<(), PublishError> {
        let sum = format!("{}  {}.tar.xz\n", record.sha256, record.id);
        let mut files = vec![
            (format!("{}.sha256", self.what), sum.into_bytes()),
            (record_path(record), record.text().into_bytes()),
        ];
        if let Some(text) = self.signature(record)? {
            files.push((format!("{}{SUFFIX}", self.what), text.into_bytes()));
        }
        for (name, text) in files {
            let key: Key = name.parse()?;
            let put =
                |backend: &dyn Backend| backend.put(&key, Content::Bytes(&text), &self.transfer);
            if put(self.backend)? == Put::WasThere
                && is_new
                && self.small(&name, record::LONGEST)?.is_none_or(|found| found != text)
            {
                self.backend.delete(&key, &self.transfer)?;
                put(self.backend)?;
            }
        }
        Ok(())
    }

    /// Signature of the archive, if it is the one of this machine.
    fn signature(&self, record: &PackageRecord) -> Result<Option<String>, PublishError> {
        let Some(signer) = self.signer.filter(|_| record.sha256 == self.package.record.sha256)
        else {
            return Ok(None);
        };
        let archive = fs_err::File::open(self.package.archive).map_err(self.file())?;
        let text = signer.sign(archive, signed_id(self.what), &record.sha256);
        let what = self.what.to_owned();
        text.map(Some).map_err(|source| PublishError::Sign { what, source })
    }
}

/// Name of a package's record in a store.
pub fn record_path(record: &PackageRecord) -> String {
    format!("records/{}/{}.json", record.id.name(), record.id)
}
