//! Errors as a command shows them: with their causes, logs and remedies.

use crate::base::causes::with_causes;
use crate::base::remedy::hints_of;
use crate::build::project::ProjectError;
use crate::build::shell::ShellError;
use crate::build::supply::BuildError;
use crate::build::upstream::UpstreamError;
use crate::portable::PortableJobError;
use crate::tree::TreeError;

use super::error::CliError;
use super::shell_error::ShellCommandError;
use super::ui::{Complaint, Printer, Weight};

const KEEP_GOING: &str =
    "to build all that does not need what failed, too, add --keep-going to the command";

impl CliError {
    /// Shows the error with its remedies.
    pub fn show(&self, printer: Printer) {
        if let Self::Project(error) = self
            && let ProjectError::Failed(failures) = &**error
        {
            // Last what one looks for first, at the end of a log.
            for (skipped, because) in &failures.skipped {
                printer.skipped(&skipped.to_string(), Some(&because.to_string()));
            }
            for left in &failures.not_begun {
                printer.skipped(&left.to_string(), None);
            }
            // Builds that an interruption ended did not fail: the user knows why they ended.
            let failed = failures.errors.iter().filter(|error| !error.is_interruption());
            let mut complaints: Vec<Complaint> = failed.map(tree_complaint).collect();
            let was_interrupted = complaints.len() < failures.errors.len();
            if let Some(last) = complaints.last_mut()
                && !was_interrupted
                && !failures.not_begun.is_empty()
            {
                last.hints.push(KEEP_GOING.to_owned());
            }
            for complaint in &complaints {
                printer.complain(complaint);
            }
            return;
        }
        if let Self::Project(error) = self
            && let ProjectError::Tree(TreeError::Problems(reports))
            | ProjectError::Upstream(UpstreamError::Tree(TreeError::Problems(reports))) =
                &**error
        {
            for report in reports {
                let hints = hints_of(report.hint().unwrap_or_default());
                let message = report.to_string();
                printer.complain(&Complaint { message, hints, ..Complaint::default() });
            }
            return;
        }
        if let Self::Job(error) = self
            && let PortableJobError::Build(error) = &**error
        {
            printer.complain(&build_complaint(error));
            return;
        }
        if let Self::Shell(ShellCommandError::Shell(error)) = self
            && let ShellError::Build(error) = &**error
        {
            printer.complain(&build_complaint(error));
            return;
        }
        if let Self::Supplies(failures) = self {
            for failure in failures {
                let hints = hints_of(&failure.hint().unwrap_or_default());
                let message = with_causes(failure);
                printer.complain(&Complaint { message, hints, ..Complaint::default() });
            }
            printer.line(Weight::Error, &self.to_string());
            return;
        }
        if let Self::Exchange(failures) = self {
            for failure in failures {
                let hints = hints_of(&failure.error.hint().unwrap_or_default());
                let message = with_causes(failure);
                printer.complain(&Complaint { message, hints, ..Complaint::default() });
            }
            printer.line(Weight::Error, &self.to_string());
            return;
        }
        let hint = self.hint().unwrap_or_default();
        let hints = hints_of(&hint);
        printer.complain(&Complaint { message: with_causes(self), hints, ..Complaint::default() });
    }
}

/// Error of a build with its log and remedies.
fn build_complaint(error: &BuildError) -> Complaint {
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
fn tree_complaint(error: &BuildError) -> Complaint {
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
