//! `mkpanda explain`: inputs of a package's id, and the first one that differs from another build.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::args::{ExplainArgs, FormatArg};
use super::super::error::CliError;
use super::super::inspect_error::InspectError;
use super::super::ui::Weight;
use super::super::ui::columns::{Columns, stdout_width};
use super::{Context, at_hand};
use crate::inspect::explain::{self, Against, BuildComparison, Explanation, RecordFolders};
use crate::package::{PackageName, path_of_file_url};
use crate::tree::PackageKey;

/// Explains an id.
pub fn run(context: &Context<'_>, args: &ExplainArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let packages = at_hand::packages(context, None)?;
    let name = match &args.package {
        Some(package) => package.clone(),
        None if packages != folder => {
            folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
        }
        None => return Err(InspectError::NoPackageNamed.into()),
    };
    let looked = at_hand::open(context, packages)?;
    let project = &looked.project;
    let (key, others) = at_hand::typed_key(&folder, &project.tree, &name)?;
    let key = &key;
    // Without its upstream, a tree lacks packages that are not faulty.
    let faults = if looked.missing_upstream.is_none() {
        project.tree.faults_of(&BTreeSet::from([key.clone()]))
    } else {
        project.tree.faults_of_package(key)
    };
    if !faults.is_empty() {
        return Err(crate::build::project::ProjectError::Tree(crate::tree::TreeError::Problems(
            faults,
        ))
        .into());
    }
    let known = explain::identify(project, key, &looked.progress)?;
    let Some(mut explanation) = explain::explain(project, &known, key) else {
        let without = known.without.get(key).cloned().unwrap_or_default();
        return Err(InspectError::NoId { package: key.to_string(), without }.into());
    };
    let against = against(&folder, args.against.as_deref())?;
    let stores = match &against {
        Against::Store(folder) => vec![folder.clone()],
        _ => Vec::new(),
    };
    let caches = looked.settings.shared_caches.iter();
    let caches = caches.filter_map(|cache| cache.store().local_folder()).map(Path::to_owned);
    let records = RecordFolders::new(project.home(), &project.cache, stores, caches.collect());
    let last = project.last_build(key);
    let other = records.against(key, last.as_ref(), &against).map_err(InspectError::from)?;
    explanation.comparison =
        other.and_then(|other| explain::compare(project, &known, key, &other, &records));
    match args.format {
        FormatArg::Json => context.print_json(&explanation),
        FormatArg::Text => context.printer.data(&text(&explanation, &against)),
    }
    if !others.is_empty() {
        let others: Vec<String> = others
            .iter()
            .filter(|key| key.variant.name().is_some())
            .map(PackageKey::typed)
            .collect();
        let message = format!("{} has other variants: {}", key.name, others.join(", "));
        context.printer.line(Weight::Progress, &message);
    }
    Ok(())
}

/// The other build: an existing path, or an id.
fn against(folder: &Path, typed: Option<&str>) -> Result<Against, CliError> {
    let Some(text) = typed else { return Ok(Against::Last) };
    let path: PathBuf = match path_of_file_url(text) {
        Some(path) => path.into(),
        None if text.contains("://") => {
            return Err(InspectError::RemoteRecords(text.to_owned()).into());
        }
        None => folder.join(text),
    };
    match fs_err::metadata(&path) {
        Ok(data) if data.is_dir() => Ok(Against::Store(path)),
        Ok(_) => Ok(Against::File(path)),
        // An id has no slash, so a path was meant.
        Err(source) if text.contains('/') => Err(CliError::Folder { path, source }),
        Err(_) => Ok(Against::Id(text.to_owned())),
    }
}

fn text(explanation: &Explanation, against: &Against) -> String {
    let Explanation { id, built, inputs, dependencies, comparison, .. } = explanation;
    let mut text = format!("{id} ({})\n\n", if *built { "built" } else { "not built" });
    let mut table = Columns::new(&["INPUT", "VALUE", "FROM"]);
    for input in inputs {
        let value = match &input.value {
            serde_json::Value::String(text) if text.is_empty() => "\"\"".to_owned(),
            serde_json::Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        table.row([input.input.clone(), value, input.origin.clone().unwrap_or_default()]);
    }
    for needed in dependencies {
        let name = format!("requires/{}", needed.id.name());
        let from = if needed.direct { "" } else { "(required by another one)" };
        table.row([name, needed.id.to_string(), from.to_owned()]);
    }
    text.push_str(&table.text(stdout_width()));
    text.push('\n');
    text.push_str(&compared(comparison.as_ref(), against));
    text
}

fn compared(comparison: Option<&BuildComparison>, against: &Against) -> String {
    let Some(comparison) = comparison else {
        return "never built in this tree, so there is nothing to compare with\n".to_owned();
    };
    let which = if *against == Against::Last { "the last build, " } else { "" };
    if comparison.same {
        return format!("nothing changed since {which}{}\n", comparison.against);
    }
    let mut text = format!("against {which}{}:\n  {}\n", comparison.against, comparison.sentence());
    for step in &comparison.chain {
        for change in step.changes.iter().skip(1) {
            _ = writeln!(text, "  also in {}: {}", step.name, change.words());
        }
        if let [_, others @ ..] = step.changed_dependencies.as_slice()
            && !others.is_empty()
        {
            let names: Vec<&str> = others.iter().map(PackageName::as_str).collect();
            let names = names.join(", ");
            _ = writeln!(text, "  other requirements of {} that changed: {names}", step.name);
        }
    }
    text
}
