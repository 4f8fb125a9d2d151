//! The digest of files of layers that a COPY is about to take: it, and not the layers', goes into the
//! build cache's key, so that a stage that gives the same files again changes nothing.

use std::io;

use super::super::job::{DigestWork, StepFailure};
use super::super::content::describe;
use super::super::select::select;
use super::{Work, failed};
use crate::base::digest::{Sha256Sum, Tee};
use crate::container::within_root::locate;
use crate::dockerfile::step::CopySource;

impl Work<'_> {
    pub(super) fn digest(&self, work: &DigestWork) -> Result<Sha256Sum, StepFailure> {
        let folders = self.unpacked(&work.layers)?;
        let tree = self.mount_tree(&folders, "digest")?;
        let mut text = Tee::new(io::sink());
        for source in &work.sources {
            let CopySource::Path(pattern) = source else { continue };
            for found in select(&tree, pattern, &work.exclude).map_err(failed)? {
                let from = locate(&tree, &found.path, false).map_err(failed)?;
                describe(&from, &found.path, true, &mut text).map_err(failed)?;
                for below in &found.entries {
                    describe(&from.join(below), &found.path.join(below), true, &mut text)
                        .map_err(failed)?;
                }
            }
        }
        Ok(text.finish().1.sha256)
    }
}
