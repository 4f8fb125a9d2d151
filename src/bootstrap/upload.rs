//! A bootstrap of a tree's cache, as it is put into shared caches.
//!
//! The archive is trusted if a trusted key signed it, or if this home made the archive of trusted
//! packages ([`Evidence`]): a tree may have packages of its own in its cache, which a bootstrap
//! would pass on.

use std::path::{Path, PathBuf};

use super::record::BootstrapRecord;
use crate::artifact::publish::{BootstrapPublication, Published};
use crate::artifact::shared_cache::SharedCaches;
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer, WithoutDownloads};
use crate::build::cache::Cache;
use crate::build::upload::{Evidence, UnprovenError, unknown, warning_of};
use crate::package::PackageId;
use crate::package::paths::bootstrap_path;
use crate::store::About;

/// A bootstrap to be uploaded, whose archive is to be believed.
#[derive(Debug, Clone)]
pub struct BootstrapUpload {
    id: String,
    archive: PathBuf,
    size: u64,
    sha256: Sha256Sum,
    active: String,
    signature: Option<String>,
    variant: Option<String>,
}

/// A bootstrap must not leave the tree's cache.
#[derive(Debug, thiserror::Error)]
pub enum UnprovenBootstrap {
    /// The archive itself is not believed, or cannot be read.
    #[error(transparent)]
    Archive(#[from] UnprovenError),
    /// A package in it is not believed.
    #[error(
        "not sent: it has {package}, which this machine has no record of building and no trusted key signed"
    )]
    Package {
        /// The package.
        package: PackageId,
    },
}

impl UnprovenBootstrap {
    /// Returns the remedy, where one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Archive(error) => error.hint(),
            Self::Package { .. } => Some(
                "sign packages where they are built (--sign KEY), and fetch them with --require-signature=PUBKEY"
                    .to_owned(),
            ),
        }
    }
}

impl BootstrapUpload {
    /// Creates an upload of a bootstrap of a tree's cache, if the archive is to be believed. `active` is the
    /// text of its list of packages; `variant` is that of the tree, for people.
    pub fn of_cached(
        id: &str,
        active: String,
        variant: Option<String>,
        cache: &Cache,
        evidence: &Evidence<'_>,
    ) -> Result<Self, UnprovenBootstrap> {
        let what = bootstrap_path(id);
        let archive = cache.root().join(&what);
        let sha256 = evidence.sum(&archive)?;
        let size = fs_err::metadata(&archive).map_err(UnprovenError::File)?.len();
        let signature = evidence.signature(&what, &sha256, &archive);
        // A good signature of a trusted key says as much as the record.
        if signature.is_none() {
            check(id, &archive, &sha256, cache, evidence)?;
        }
        Ok(Self { id: id.to_owned(), archive, size, sha256, active, signature, variant })
    }

    /// Size of the archive in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Calls a function with what is to be published, of a tree at a commit.
    pub fn publish<T>(
        &self,
        commit: Option<&str>,
        put: impl FnOnce(&BootstrapPublication<'_>) -> T,
    ) -> T {
        put(&BootstrapPublication {
            id: &self.id,
            archive: &self.archive,
            size: self.size,
            sha256: &self.sha256,
            active: &self.active,
            signature: self.signature.as_deref(),
            about: About { variant: self.variant.as_deref(), commit, ..About::default() },
        })
    }

    /// Puts the bootstrap into every cache that is written to; failures are warnings.
    pub(super) fn put(&self, caches: &SharedCaches, observer: &dyn Observer) {
        let uploading = WithoutDownloads(observer);
        for cache in caches.iter().filter(|cache| cache.writes()) {
            let result = self.publish(caches.commit(), |bootstrap| {
                cache.publish_bootstrap(bootstrap, caches.signer(), &uploading)
            });
            let subject = format!("bootstrap {}", self.id);
            let put = warning_of(result, &subject, cache, observer);
            if put == Some(Published::Written) {
                let (subject, place) = (bootstrap_path(&self.id), cache.name());
                observer.event(Event::Sent { subject, place, bytes: self.size });
            }
        }
    }
}

fn check(
    id: &str,
    archive: &Path,
    sha256: &Sha256Sum,
    cache: &Cache,
    evidence: &Evidence<'_>,
) -> Result<(), UnprovenBootstrap> {
    let record = BootstrapRecord::find(evidence.home, id, sha256);
    let record = record.ok_or_else(|| unknown(archive, sha256))?;
    let is_unproven = |(package, sum): &(&PackageId, &Sha256Sum)| {
        !evidence.vouches_for(package, sum, &cache.archive(package))
    };
    match record.packages.iter().find(is_unproven) {
        None => Ok(()),
        Some((package, _)) => Err(UnprovenBootstrap::Package { package: package.clone() }),
    }
}
