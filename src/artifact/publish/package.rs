//! Packages in a store: `packages/<name>/<id>.tar.xz` with sum, record and signature.

use std::path::Path;

use super::error::PublishError;
use super::target::{ArchiveTarget, Published};
use crate::archive::ArchiveLimits;
use crate::artifact::record::{self, PackageRecord};
use crate::base::event::Observer;
use crate::package::PackageId;
use crate::package::paths::package_path;
use crate::store::signature::Signer;
use crate::store::{About, Backend, Put, StoreTransfer};

/// A package to be put into a store.
#[derive(Debug, Clone)]
pub struct Publication<'p> {
    /// Digests and origin.
    pub record: &'p PackageRecord,
    /// Archive.
    pub archive: &'p Path,
    /// Signature of this archive by another machine; without one, a new signature is made.
    pub signature: Option<&'p str>,
    /// Description for people and other programs.
    pub about: About<'p>,
}

/// Publishes a package, with its accompanying files, to a store.
pub fn publish(
    backend: &dyn Backend,
    package: &Publication<'_>,
    signer: Option<&Signer>,
    observer: &dyn Observer,
) -> Result<Published, PublishError> {
    let what = package_path(&package.record.id);
    let target = ArchiveTarget {
        backend,
        what: &what,
        transfer: StoreTransfer { subject: &what, observer },
    };
    let run = PublishRun { target, package, signer };
    match run.target.put(package.archive, package.record.size, &package.about)? {
        Put::Written => {
            run.describe(package.record, true)?;
            Ok(Published::Written)
        }
        Put::WasThere => {
            run.complete()?;
            Ok(Published::WasThere)
        }
    }
}

struct PublishRun<'w> {
    target: ArchiveTarget<'w>,
    package: &'w Publication<'w>,
    signer: Option<&'w Signer>,
}

impl PublishRun<'_> {
    /// Adds missing accompanying files to an archive already in the store, after a check that the
    /// archive is this package.
    fn complete(&self) -> Result<(), PublishError> {
        let ours = self.package.record;
        let sum = self.target.stated_sum()?;
        // Most often: the same version of mkpanda made the same bytes, and nothing need be fetched.
        if sum.as_deref() == Some(ours.sha256.as_str()) {
            return self.describe(ours, false);
        }
        let theirs = match self.target.small(&record_path(&ours.id), record::LONGEST)? {
            Some(text) => PackageRecord::parse(&text, &ours.id)
                .ok_or_else(|| self.target.damaged("its record cannot be read".to_owned()))?,
            None => self.record_of_theirs()?,
        };
        if theirs.tar_sha256 != ours.tar_sha256 {
            return Err(PublishError::Different {
                what: self.target.what.to_owned(),
                store: self.target.backend.name(),
                theirs: theirs.tar_sha256,
                ours: ours.tar_sha256.clone(),
            });
        }
        // The other writer has described the archive already.
        if sum.is_some() { Ok(()) } else { self.describe(&theirs, false) }
    }

    /// Downloads the archive of a store without its record.
    fn record_of_theirs(&self) -> Result<PackageRecord, PublishError> {
        let copy = self.target.copy(self.package.archive)?;
        let ours = self.package.record;
        // The same package has a tar of about this length, whatever the user's limits.
        let limits = ArchiveLimits::default();
        let limits = ArchiveLimits { max_bytes: limits.max_bytes.max(ours.tar_size), ..limits };
        let ends = || self.target.transfer.observer.is_interrupted();
        PackageRecord::of_reader(&ours.id, copy, ours.buildinfo.clone(), &limits, ends)
            .map_err(|error| self.target.damaged(error.to_string()))
    }

    /// Publishes digest, record and signature of an archive with this record; a signature only for
    /// this machine's archive.
    fn describe(&self, record: &PackageRecord, is_new: bool) -> Result<(), PublishError> {
        let mut files = vec![
            self.target.sum_file(&record.sha256),
            (record_path(&record.id), record.text().into_bytes()),
        ];
        if record.sha256 == self.package.record.sha256 {
            let Publication { archive, signature, .. } = *self.package;
            let signed =
                self.target.signature_file(archive, &record.sha256, signature, self.signer)?;
            files.extend(signed);
        }
        self.target.put_beside(files, is_new)
    }
}

/// Name of a package's record in a store.
pub fn record_path(id: &PackageId) -> String {
    format!("records/{}/{id}.json", id.name())
}
