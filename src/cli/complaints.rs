//! Errors of builds, with their logs and remedies.

use crate::base::causes::with_causes;
use crate::build::supply::BuildError;

use super::ui::Complaint;

/// Error of a build with its log and remedies.
pub(super) fn build_complaint(error: &BuildError) -> Complaint {
    let mut complaint = Complaint { message: with_causes(error), ..Complaint::default() };
    complaint.package = Some(error.package().to_string());
    complaint.log = error.log().map(|log| log.display().to_string());
    match error {
        BuildError::Failed(failed) => {
            complaint.tail.clone_from(&failed.tail);
            complaint.hints.extend(failed.failure.hint.clone());
        }
        BuildError::Job { source, .. } => complaint.hints.extend(source.hint()),
        BuildError::Source { source, .. } => complaint.hints.extend(source.problem.hint()),
        BuildError::Repository { source, .. } => {
            complaint.hints.extend(source.hint());
            complaint
                .hints
                .push("put it right there, or build without --repository-url".to_owned());
        }
        _ => {}
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
