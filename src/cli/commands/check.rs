//! `mkpanda check`: faults and oddities of a tree, found without building.

use serde::Serialize;

use super::super::args::{CheckArgs, FormatArg};
use super::super::config::SettingsError;
use super::super::error::CliError;
use super::super::inspect_error::InspectError;
use super::super::ui::{Finding as Shown, Weight, counted};
use super::{Context, at_hand};
use crate::base::causes::with_causes;
use crate::build::project::{Project, ProjectError};
use crate::inspect::check::{Checked, Finding, Rule, Severity, check};
use crate::package::{PackageName, Problem, Report};
use crate::tree::{PackageTree, has_buildinfo};

/// Checks a tree.
pub fn run(context: &Context<'_>, args: &CheckArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    // A folder that is not a package is a tree.
    let tree = match args.items.as_slice() {
        [item] => Some(folder.join(item)).filter(|path| path.is_dir() && !has_buildinfo(path)),
        _ => None,
    };
    let packages = at_hand::packages(context, tree.as_deref())?;
    let (settings, faults) = match context.settings(None, Some(&packages)) {
        Ok(settings) => (settings, Vec::new()),
        Err(CliError::Settings(error)) => {
            // What is wrong with the tree's file is one fault of others; with one's own nothing can be done.
            let settings = context.settings(None, None)?;
            (settings, vec![settings_report(&error, &packages)])
        }
        Err(error) => return Err(error),
    };
    let settings = at_hand::offline(settings);
    let items: &[String] = if tree.is_some() { &[] } else { &args.items };
    let own = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let options = at_hand::options(context, &settings, packages.clone());
    let mut wanted = Vec::new();
    if !items.is_empty() || tree.is_none() && folder != packages {
        // With the packages of upstreams, where these are in order.
        let tree = match Project::open_at_hand(options.clone()) {
            Ok((project, _)) => project.tree,
            Err(_) => PackageTree::read(&packages, &[]).map_err(ProjectError::Tree)?,
        };
        let items = if items.is_empty() { std::slice::from_ref(&own) } else { items };
        for item in items {
            wanted.push(typed(&tree, item)?);
        }
    }
    let checked = check(options, &wanted, faults).map_err(ProjectError::Tree)?;
    if checked.packages == 0 && checked.findings.is_empty() {
        let tree = PackageTree::read(&packages, &[]).map_err(ProjectError::Tree)?;
        at_hand::warn_of_nothing(context, &tree);
    }
    show(context, args, &checked)
}

/// Resolves a package by name, or by the path of the folder.
fn typed(tree: &PackageTree, item: &str) -> Result<PackageName, CliError> {
    let name = item.trim_end_matches('/');
    let name = name.strip_prefix("./").unwrap_or(name);
    at_hand::typed_name(tree, name)
}

fn settings_report(error: &SettingsError, packages: &std::path::Path) -> Report {
    if let SettingsError::Parse(report) = error {
        return report.clone();
    }
    let problem = Problem::whole(with_causes(error));
    let problem = match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    };
    problem.in_file(&packages.join("mkpanda.toml"), "")
}

/// The result as JSON.
#[derive(Serialize)]
struct Document<'a> {
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
    fn of(finding: &'a Finding) -> Self {
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
            context.print_json(&Document {
                packages: checked.packages,
                errors,
                warnings,
                findings,
            });
        }
        FormatArg::Text => {
            // Errors stand last, where one looks first.
            let is_error = |finding: &&Finding| finding.severity == Severity::Error;
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
                context.printer.finding(weight, &Shown { text: &text, message, place, rule, hint });
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
