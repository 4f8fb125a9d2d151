//! The digest of files of layers that a COPY is about to take: it, and not the layers', goes into the
//! build cache's key, so that a stage that gives the same files again changes nothing.

use super::super::choose::{Owners, choice, choose_with_digest};
use super::super::job::{DigestWork, StepFailure};
use super::{Work, failed, from_context};
use crate::base::digest::Sha256Sum;
use crate::dockerfile::context::Files;
use crate::dockerfile::step::CopySource;
use crate::image::layers::KnownOwners;

impl Work<'_> {
    pub(super) fn digest(&self, work: &DigestWork) -> Result<Sha256Sum, StepFailure> {
        let folders = self.unpacked(&work.layers)?;
        let files = Files::of_tree(&self.mount_tree(&folders, "digest")?);
        let choice = choice(&work.exclude, work.parents).map_err(from_context)?;
        let known = KnownOwners::read(&folders).map_err(failed)?;
        let owners = if self.is_single() { Owners::Told(&known) } else { Owners::Disk };
        let mut digests = String::new();
        for source in &work.sources {
            let CopySource::Path(pattern) = source else { continue };
            let (_, digest) =
                choose_with_digest(&files, pattern, &choice, &owners).map_err(from_context)?;
            digests.push_str(digest.as_str());
        }
        Ok(Sha256Sum::of(digests.as_bytes()))
    }
}
