//! Errors of projects and builds, with their remedies.

use crate::base::causes::with_causes;
use crate::base::remedy::hints_of;
use crate::build::id::IdentityError;
use crate::build::project::{OutsideError, ProjectError};
use crate::build::supply::BuildError;
use crate::build::upstream::UpstreamError;

use super::ui::Complaint;

/// Remedy of an error of a project.
pub(super) fn project_hint(error: &ProjectError) -> Option<String> {
    match error {
        ProjectError::Tree(error) | ProjectError::Upstream(UpstreamError::Tree(error)) => {
            error.hint()
        }
        ProjectError::Upstream(UpstreamError::Source { source, .. }) => source.problem.hint(),
        ProjectError::Identity(error) => match &**error {
            IdentityError::Outside { source: OutsideError::Image(error), .. } => error.hint(),
            IdentityError::Outside { source: OutsideError::Source(error), .. } => {
                error.problem.hint()
            }
            IdentityError::Files { source, .. } => source.hint(),
            _ => None,
        },
        ProjectError::Missing(list) => {
            let mut hint = "make a mirror where there is a network (mkpanda mirror create DIR) and name it here (--mirror DIR), or run once without --offline".to_owned();
            if let Some(name) = list.first_image() {
                let ways = format!(
                    "\nan image alone: mkpanda image pull {name}, where there is a network\nor load it: mkpanda image load --name {name} FILE   (docker save, podman save or skopeo copy write such a FILE)"
                );
                hint.push_str(&ways);
            }
            Some(hint)
        }
        ProjectError::Lock(faults) | ProjectError::Upstream(UpstreamError::Lock(faults)) => {
            Some(faults.hint())
        }
        ProjectError::CacheLink(_) => Some(
            "remove the link; to have the cache elsewhere, bind-mount a folder there".to_owned(),
        ),
        ProjectError::Session(error) => error.hint(),
        ProjectError::Source(error) => error.problem.hint(),
        _ => None,
    }
}

/// Error of a build with its log and remedies.
pub(super) fn build_complaint(error: &BuildError) -> Complaint {
    let mut complaint = Complaint { message: with_causes(error), ..Complaint::default() };
    complaint.package = Some(error.package().to_string());
    complaint.log = error.log().map(|log| log.display().to_string());
    complaint.hints = hints_of(&error.hint().unwrap_or_default());
    if let BuildError::Failed(failed) = error {
        complaint.tail.clone_from(&failed.tail);
    }
    complaint
}

/// A failed build of a tree, with the commands that look at it.
pub(super) fn tree_complaint(error: &BuildError) -> Complaint {
    let mut complaint = build_complaint(error);
    if let BuildError::Failed(failed) = error
        && failed.log.is_some()
    {
        complaint.hints.push(format!("the whole log: mkpanda log {}", failed.id.name()));
    }
    complaint
}
