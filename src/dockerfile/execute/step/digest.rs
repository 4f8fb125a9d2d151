//! Digest of a COPY's files from layers: the key of the build cache contains this digest instead of
//! the layers', so that a rebuilt stage with the same files changes nothing.

use super::super::choose::{TreeOwners, choice, choose_with_digest};
use super::super::job::DigestJob;
use super::{from_context, inputs};
use crate::base::digest::Sha256Sum;
use crate::container::namespace::Network;
use crate::dockerfile::context::ContextFiles;
use crate::dockerfile::step::CopySource;
use crate::image::layers::KnownOwners;
use crate::runner::job::{Job, JobFailure, Performed};
use crate::runner::workspace::Workspace;

impl Job for DigestJob {
    const KIND: &'static str = "digest";
    type Answer = Sha256Sum;

    fn perform(&self) -> Performed<'_, Sha256Sum> {
        let workspace =
            match Workspace::enter(&self.folders, inputs::of_layers(&self.layers), Network::None) {
                Ok(workspace) => workspace,
                Err(failure) => return Err(failure).into(),
            };
        let result = digest(&workspace, self).map_err(|failure| JobFailure {
            message: workspace.named_outside(&failure.message),
            ..failure
        });
        let clear_up = move || drop(workspace.clear_up(|_name| false));
        Performed { result, clear_up: Some(Box::new(clear_up)) }
    }
}

fn digest(workspace: &Workspace<'_>, job: &DigestJob) -> Result<Sha256Sum, JobFailure> {
    let folders = workspace.unpacked(&job.layers)?;
    let files = ContextFiles::of_tree(&workspace.mount_tree(&folders, "digest")?);
    let choice = choice(&job.exclude, job.parents).map_err(from_context)?;
    let known = KnownOwners::read(&folders).map_err(JobFailure::of)?;
    let owners = if workspace.is_single() { TreeOwners::Known(&known) } else { TreeOwners::Disk };
    let mut digests = String::new();
    for source in &job.sources {
        let CopySource::Path(pattern) = source else { continue };
        let (_, digest) =
            choose_with_digest(&files, pattern, &choice, &owners).map_err(from_context)?;
        digests.push_str(digest.as_str());
    }
    Ok(Sha256Sum::of(digests.as_bytes()))
}
