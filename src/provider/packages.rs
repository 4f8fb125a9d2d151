//! Configuration packages: the configuration of a cluster's hosts, as packages (docs/providers.md).
//!
//! ```text
//! packages/<name>/<name>--setup_<config id>.tar.xz                    files whose values are known
//! packages/<late>/<late>--setup.dcos_config                           files with values of the machine
//! package_lists/<list id>.package_list.json                           all packages of the cluster
//! ```
//!
//! The config id is the hash of all values and templates, so that equal names mean equal bytes.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::archive::{PackedFile, pack_files};
use super::argument::ArgumentOrigin;
use super::bounds::RenderBudget;
use super::engine::TemplateEngine;
use super::error::ProviderError;
use super::folder::DEFINITION;
use super::kind::TextKind;
use super::model::{Provider, ProviderFile};
use crate::archive::EntryPath;
use crate::host::LATE_BEGIN;
use crate::package::PackageId;
use crate::package::hash::{hash_strings, hash_value};
use crate::package::paths::{late_path, package_list_path, package_path};

/// Packages of a configuration, and the resulting values for templates.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    pub(super) files: Vec<ProviderFile>,
    pub(super) values: Map<String, Value>,
}

impl Provider {
    /// Renders the packages for one set of values.
    pub(super) fn configuration(
        &self,
        engine: &TemplateEngine,
        variables: &Map<String, Value>,
        budget: &mut RenderBudget<'_>,
    ) -> Result<Configuration, ProviderError> {
        let config_id = self.config_id(variables);
        let mut late = String::from("package:\n");
        let (mut files, mut ids, mut has_late) = (Vec::new(), Vec::new(), false);
        for package in &self.packages {
            let id = self.id(&format!("{}--setup_{config_id}", package.name))?;
            let mut packed = BTreeMap::new();
            for file in &package.files {
                let is_wanted = file.when.as_ref().is_none_or(|name| is_set(variables.get(name)));
                let Ok(path) = EntryPath::parse(file.path.as_bytes()) else { continue };
                if !is_wanted {
                    continue;
                }
                let text = engine.render(&file.template, file.kind, &file.path)?;
                budget.count(text.len(), "outputs")?;
                if text.contains(LATE_BEGIN) {
                    has_late = true;
                    _ = write!(
                        late,
                        "- path: {}\n  content: {}\n  permissions: \"{:04o}\"\n",
                        TextKind::Yaml.written(&json!(format!("/{}", file.path))),
                        TextKind::Yaml.written(&json!(text)),
                        file.mode
                    );
                } else {
                    packed.insert(path, PackedFile { mode: file.mode, content: text.into_bytes() });
                }
            }
            let bytes = pack_files(&packed).map_err(|error| ProviderError::Pack {
                provider: self.name.clone(),
                package: id.clone(),
                reason: crate::base::causes::with_causes(&error),
            })?;
            files.push(reproducible(package_path(&id), bytes));
            ids.push(id);
        }
        let mut late_package = String::new();
        if has_late {
            let id = self.id(&format!("dcos-provider-{config_id}-{}--setup", self.name))?;
            files.push(reproducible(late_path(&id), late.into_bytes()));
            late_package = id.to_string();
        }
        let mut values = Map::new();
        add_list(&ids, variables, &mut files, &mut values);
        values.insert("late_package".to_owned(), late_package.into());
        values.insert("late_values".to_owned(), self.late_values(variables));
        Ok(Configuration { files, values })
    }

    /// Late values: names, and the expressions for resolution on the machine or in its cloud.
    fn late_values(&self, variables: &Map<String, Value>) -> Value {
        let late = self.arguments.iter().filter(|argument| {
            let value = variables.get(&argument.name).and_then(Value::as_str);
            argument.origin == ArgumentOrigin::Late
                && value.is_some_and(|value| value.contains(LATE_BEGIN))
        });
        late.map(|argument| {
            let expression = argument.written_as.clone().unwrap_or_default();
            json!({ "name": argument.name, "written_as": expression })
        })
        .collect()
    }

    /// Hash of all that a configuration depends on. The original had no sums of templates in it, so that
    /// a changed template of the same commit kept its id.
    pub(super) fn config_id(&self, variables: &Map<String, Value>) -> String {
        // As texts: `H` has no hash for null and fractions.
        let text = |value: &Value| Value::String(value.to_string());
        let arguments: Map<_, _> =
            variables.iter().map(|(name, value)| (name.clone(), text(value))).collect();
        let bases = self.bases.iter().map(|(name, text)| (format!("{name}:{DEFINITION}"), &**text));
        let files = self.files().map(|(name, text)| (name.to_owned(), text));
        let sums = files.chain(bases).map(|(name, text)| {
            let sum = crate::base::digest::Sha1Sum::of(text.as_bytes());
            (name, Value::String(sum.to_string()))
        });
        let sums: Map<_, _> = sums.collect();
        let value = json!({
            "argument_dict": Value::Object(arguments),
            "provider": self.name,
            "template_sums": Value::Object(sums),
        });
        // Strings and objects of strings always have a hash.
        hash_value(&value).map(|hash| hash.to_string()).unwrap_or_default()
    }

    fn id(&self, text: &str) -> Result<PackageId, ProviderError> {
        text.parse()
            .map_err(|source| ProviderError::PackageName { provider: self.name.clone(), source })
    }
}

/// Adds the list of all packages of the cluster, if the provider knows the variant's packages.
fn add_list(
    ids: &[PackageId],
    variables: &Map<String, Value>,
    files: &mut Vec<ProviderFile>,
    values: &mut Map<String, Value>,
) {
    let config: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let mut all = config.clone();
    let variant = variables.get("package_ids").and_then(Value::as_array);
    all.extend(variant.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
    // The list is named by its hash, which the original makes of sorted ids.
    all.sort_unstable();
    all.dedup();
    let mut list_id = String::new();
    if variant.is_some() {
        list_id = hash_strings(all.iter().map(String::as_str)).to_string();
        let quoted: Vec<String> = all.iter().map(|id| json!(id).to_string()).collect();
        let text = format!("[{}]", quoted.join(", "));
        files.push(reproducible(package_list_path(&list_id), text.into_bytes()));
    }
    values.insert("config_packages".to_owned(), config.into());
    values.insert("cluster_packages".to_owned(), all.into());
    values.insert("cluster_package_list".to_owned(), list_id.into());
}

fn reproducible(name: String, bytes: Vec<u8>) -> ProviderFile {
    ProviderFile { name, content_type: None, bytes, reproducible: true }
}

/// True unless a value is missing, empty or `false`.
pub(super) fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(entries)) => !entries.is_empty(),
        Some(_) => true,
    }
}
