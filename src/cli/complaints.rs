//! Errors of builds, with their logs and remedies.

use crate::base::causes::with_causes;
use crate::base::remedy::hints_of;
use crate::build::supply::BuildError;

use super::ui::Complaint;

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
        let name = failed.id.name();
        complaint.hints.push(format!("the whole log: mkpanda log {name}"));
        complaint.hints.push(if failed.is_kept {
            format!("look around in what it left: mkpanda shell {name} --failed")
        } else {
            format!("to look around in what it leaves, add --keep-failed to the command, and then: mkpanda shell {name} --failed")
        });
    }
    complaint
}
