//! Each artifact of a store against the files beside it; nothing is changed.
//!
//! ```text
//! fault      findings as they are shown; findings: those of one artifact
//! stream     an object read by several checks at once
//! archive    packages and bootstraps; single: sources; image: files of builder images
//! ```
//!
//! An object is streamed once, and read by all its checks. A file beside an archive that is missing is a
//! finding, too: a reader of the store would have nothing to check by.

mod archive;
mod fault;
mod findings;
mod image;
mod single;
mod stream;

pub use fault::{ArtifactFault, FaultKind};

use super::contents::{SUBJECT, StoreContents};
use crate::archive::ArchiveLimits;
use crate::base::event::{Observer, WithoutDownloads};
use crate::base::parallel;
use crate::package::PackageId;
use crate::store::signature::TrustedKeys;
use crate::store::{Backend, Listed, Store, StoreError, StoreTransfer};

/// Findings in a store.
#[derive(Debug, Default)]
pub struct Verified {
    /// Number of checked artifacts.
    pub artifacts: usize,
    /// Bytes of the objects that were read.
    pub bytes: u64,
    /// Findings, in the order of names.
    pub faults: Vec<ArtifactFault>,
    /// Objects that are not part of a cache.
    pub strays: Vec<Listed>,
}

/// Keys and limits of a verification.
#[derive(Debug, Clone, Copy)]
pub(super) struct VerifyRules<'r> {
    /// Keys of which one must have signed each package and bootstrap.
    pub(super) required: Option<&'r TrustedKeys>,
    /// Keys whose signatures are checked where there are some.
    pub(super) trusted: &'r TrustedKeys,
    pub(super) limits: ArchiveLimits,
}

/// Artifact with its parts.
enum ArtifactParts<'a> {
    Package(&'a PackageId, super::contents::PartSizes),
    Bootstrap(&'a str, super::contents::PartSizes),
    Source(&'a Listed),
    Image(&'a Listed),
}

/// Object of a store to be checked.
#[derive(Clone, Copy)]
pub(super) struct ObjectCheck<'l> {
    pub(super) backend: &'l dyn Backend,
    pub(super) transfer: StoreTransfer<'l>,
    pub(super) rules: VerifyRules<'l>,
}

/// Checks all artifacts of a store, with limited parallelism. With `required`, each package and
/// bootstrap needs a signature by one of these keys; existing signatures by trusted keys are
/// checked in any case.
pub fn verify(
    store: &Store,
    (required, trusted): (Option<&TrustedKeys>, &TrustedKeys),
    limits: ArchiveLimits,
    threads: usize,
    observer: &dyn Observer,
) -> Result<Verified, StoreError> {
    let contents = StoreContents::list(store.backend(), observer)?;
    let packages = contents.packages.iter().map(|(id, parts)| ArtifactParts::Package(id, *parts));
    let bootstraps = contents.bootstraps.iter();
    let artifacts: Vec<_> = packages
        .chain(bootstraps.map(|(id, parts)| ArtifactParts::Bootstrap(id, *parts)))
        .chain(contents.sources.iter().map(ArtifactParts::Source))
        .chain(contents.images.iter().map(ArtifactParts::Image))
        .collect();
    let quiet = WithoutDownloads(observer);
    let transfer = StoreTransfer { subject: SUBJECT, observer: &quiet };
    let rules = VerifyRules { required, trusted, limits };
    let look = ObjectCheck { backend: store.backend(), transfer, rules };
    let results = parallel::each(&artifacts, threads, observer, |artifact| match artifact {
        ArtifactParts::Package(id, parts) => archive::package(look, id, *parts),
        ArtifactParts::Bootstrap(id, parts) => archive::bootstrap(look, id, *parts),
        ArtifactParts::Source(listed) => single::source(look, listed),
        ArtifactParts::Image(listed) => image::check(look, listed, &contents.images),
    });
    if observer.is_interrupted() {
        return Err(StoreError::Interrupted);
    }
    let mut verified = Verified { artifacts: artifacts.len(), ..Verified::default() };
    for (bytes, faults) in results.into_iter().flatten() {
        verified.bytes += bytes;
        verified.faults.extend(faults);
    }
    verified.strays = contents.strays;
    Ok(verified)
}
