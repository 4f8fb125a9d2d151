//! Bootstraps in a store, in the layout of a repository: archive, list of packages, sum and signature.
//!
//! The list comes last: a reader requests the list first, and treats a bootstrap without a list as
//! missing. An existing archive of the same id stays, whatever its bytes: packages of one id may
//! have been built twice.

use std::io::{self, Seek};
use std::path::Path;

use super::error::PublishError;
use super::target::{ArchiveTarget, Published};
use crate::archive::compression::decompressed;
use crate::base::digest::Sha256Sum;
use crate::base::event::Observer;
use crate::package::paths::{active_path, bootstrap_path};
use crate::store::signature::Signer;
use crate::store::{About, Backend, Put, StoreTransfer};

/// A bootstrap to be put into a store.
#[derive(Debug, Clone)]
pub struct BootstrapPublication<'p> {
    /// Bootstrap id.
    pub id: &'p str,
    /// Archive.
    pub archive: &'p Path,
    /// Size of the archive in bytes.
    pub size: u64,
    /// SHA-256 of the archive.
    pub sha256: &'p Sha256Sum,
    /// Text of the list of its packages.
    pub active: &'p str,
    /// Signature of this archive by another machine; without one, a new signature is made.
    pub signature: Option<&'p str>,
    /// Description for people and other programs.
    pub about: About<'p>,
}

/// Publishes a bootstrap, with its accompanying files, to a store.
pub fn publish_bootstrap(
    backend: &dyn Backend,
    bootstrap: &BootstrapPublication<'_>,
    signer: Option<&Signer>,
    observer: &dyn Observer,
) -> Result<Published, PublishError> {
    let what = bootstrap_path(bootstrap.id);
    let target = ArchiveTarget {
        backend,
        what: &what,
        transfer: StoreTransfer { subject: &what, observer },
    };
    let BootstrapPublication { archive, size, sha256, signature, .. } = *bootstrap;
    let put = target.put(archive, size, &bootstrap.about)?;
    let is_new = put == Put::Written;
    let theirs = if is_new { None } else { target.stated_sum()? };
    let is_ours = is_new || theirs.as_deref() == Some(sha256.as_str());
    let mut files = Vec::new();
    if is_ours {
        files.push(target.sum_file(sha256));
        files.extend(target.signature_file(archive, sha256, signature, signer)?);
    } else if theirs.is_none() {
        let mut copy = target.copy(archive)?;
        let sum = Sha256Sum::of_reader(&copy).map_err(target.file())?;
        files.push(target.sum_file(&sum));
        if sum != *sha256 {
            // Another version may compress differently; a damaged archive gets no sum that vouches for it.
            copy.rewind().map_err(target.file())?;
            decompressed(copy)
                .and_then(|mut tar| io::copy(&mut tar, &mut io::sink()))
                .map_err(|error| target.damaged(error.to_string()))?;
        }
        // This machine's key vouches only for the bytes that were made here.
        if sum == *sha256 {
            files.extend(target.signature_file(archive, sha256, signature, signer)?);
        }
    }
    files.push((active_path(bootstrap.id), bootstrap.active.as_bytes().to_vec()));
    target.put_beside(files, is_new)?;
    Ok(if is_new { Published::Written } else { Published::WasThere })
}
