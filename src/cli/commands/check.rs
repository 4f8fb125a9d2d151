//! `mkpanda check`: faults and oddities of a tree, found without building.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::args::{CheckArgs, FormatArg};
use super::super::error::CliError;
use super::super::inspect_error::InspectError;
use super::super::settings_error::SettingsError;
use super::super::ui::{ShownFinding, Weight, counted};
use super::{Context, at_hand};
use crate::base::causes::with_causes;
use crate::build::project::ProjectError;
use crate::inspect::check::{Checked, OpenedTree, Rule, Severity, TreeFinding};
use crate::package::{Problem, Report};
use crate::tree::has_buildinfo;

/// Checks a tree.
pub fn run(context: &Context<'_>, args: &CheckArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let (tree, items) = tree_and_packages(&folder, &args.items);
    let packages = at_hand::packages(context, tree.as_deref())?;
    let (settings, faults) = match context.settings(None, Some(&packages)) {
        Ok(settings) => (settings, Vec::new()),
        Err(CliError::Settings(error)) => {
            // A fault of the tree's file is one finding of several; a fault of the user's own file ends the command.
            let settings = context.settings(None, None)?;
            (settings, vec![settings_report(&error, &packages)])
        }
        Err(error) => return Err(error),
    };
    let options = at_hand::options(context, &at_hand::offline(settings), packages.clone());
    let opened = OpenedTree::read(options, faults).map_err(ProjectError::Tree)?;
    let mut wanted = Vec::new();
    let mut nothing = None;
    if let Some(found) = opened.tree() {
        nothing = at_hand::reason_of_nothing(found);
        for item in &items {
            wanted.push(at_hand::typed_name(&folder, found, item)?);
        }
        // In a package's folder, that package is meant, as with `mkpanda` alone.
        if items.is_empty() && tree.is_none() && folder != packages {
            wanted.push(at_hand::typed_name(&folder, found, "./")?);
        }
    }
    let checked = opened.check(&wanted).map_err(ProjectError::Tree)?;
    if checked.packages == 0
        && checked.findings.is_empty()
        && let Some(reason) = &nothing
    {
        at_hand::warn_of_nothing(context, reason);
    }
    show(context, args, &checked)
}

/// Tells the packages folder, if one is named, from packages: a single folder that is not a package's is a tree, and
/// packages that are all named by paths may be those of another tree.
fn tree_and_packages(folder: &Path, items: &[String]) -> (Option<PathBuf>, Vec<String>) {
    if let [item] = items {
        let path = folder.join(item);
        if path.is_dir() && !has_buildinfo(&path) {
            return (Some(path), Vec::new());
        }
    }
    let folders: Option<Vec<_>> =
        items.iter().map(|item| at_hand::typed_folder(folder, item)).collect();
    if let Some([(tree, _), others @ ..]) = folders.as_deref()
        && others.iter().all(|(other, _)| other == tree)
    {
        return (Some(tree.clone()), items.to_vec());
    }
    (None, items.to_vec())
}

fn settings_report(error: &SettingsError, packages: &Path) -> Report {
    if let SettingsError::Parse(report) = error {
        return report.clone();
    }
    // The other errors name the key in their text, and know no line.
    let problem = Problem::whole(with_causes(error));
    let problem = match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    };
    problem.in_file(&packages.join("mkpanda.toml"), "")
}

/// The result as JSON.
#[derive(Serialize)]
struct CheckDocument<'a> {
    packages: usize,
    errors: usize,
    warnings: usize,
    findings: Vec<JsonFinding<'a>>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    severity: Severity,
    rule: Rule,
    path: std::borrow::Cow<'a, str>,
    line: Option<usize>,
    column: Option<usize>,
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> JsonFinding<'a> {
    fn of(finding: &'a TreeFinding) -> Self {
        let report = &finding.report;
        let place = report.line_and_column();
        Self {
            severity: finding.severity,
            rule: finding.rule,
            path: report.path().to_string_lossy(),
            line: place.map(|(line, _)| line),
            column: place.map(|(_, column)| column),
            message: report.message(),
            hint: report.hint(),
        }
    }
}

fn show(context: &Context<'_>, args: &CheckArgs, checked: &Checked) -> Result<(), CliError> {
    let (errors, warnings) = (checked.count(Severity::Error), checked.count(Severity::Warning));
    match args.format {
        FormatArg::Json => {
            let findings = checked.findings.iter().map(JsonFinding::of).collect();
            context.print_json(&CheckDocument {
                packages: checked.packages,
                errors,
                warnings,
                findings,
            });
        }
        FormatArg::Text => {
            // Errors stand last, where one looks first.
            let is_error = |finding: &&TreeFinding| finding.severity == Severity::Error;
            let (errors, warnings): (Vec<_>, Vec<_>) = checked.findings.iter().partition(is_error);
            for finding in warnings.into_iter().chain(errors) {
                let JsonFinding { path, line, column, message, hint, .. } =
                    JsonFinding::of(finding);
                let weight = match finding.severity {
                    Severity::Error => Weight::Error,
                    Severity::Warning => Weight::Warning,
                };
                let text = finding.report.to_string();
                let rule = serde_json::to_value(finding.rule).unwrap_or_default();
                let place = (path.as_ref(), line, column);
                context
                    .printer
                    .finding(weight, &ShownFinding { text: &text, message, place, rule, hint });
            }
        }
    }
    if errors > 0 || args.strict && warnings > 0 {
        return Err(InspectError::Check { errors, warnings }.into());
    }
    let packages = counted(checked.packages, "package");
    let message = match warnings {
        0 => format!("{packages} checked, nothing found"),
        _ => format!("{packages} checked, {}", counted(warnings, "warning")),
    };
    context.printer.line(Weight::Progress, &message);
    Ok(())
}
