//! From a provider and values to files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::argument::ArgumentType;
use super::bounds::{OutputLimits, RenderBudget};
use super::engine::TemplateEngine;
use super::error::ProviderError;
use super::model::{Provider, ProviderFile};
use super::packages::is_set;
use super::values::Values;
use crate::archive::EntryPath;

impl Provider {
    /// Renders all outputs, and the packages that they refer to: first the packages, each once. Values
    /// that are missing, unknown or wrong are named all at once.
    pub fn render(&self, values: &Values) -> Result<Vec<ProviderFile>, ProviderError> {
        self.render_within(values, OutputLimits::ALL)
    }

    pub(super) fn render_within(
        &self,
        values: &Values,
        limits: OutputLimits,
    ) -> Result<Vec<ProviderFile>, ProviderError> {
        let resolved = self.resolve(values)?;
        let mut configurations: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
        let (mut packages, mut files) = (BTreeMap::new(), Vec::new());
        let mut names = BTreeSet::new();
        let mut budget = RenderBudget::new(&self.name, limits);
        for output in &self.outputs {
            let mut variables: Map<_, _> = resolved.0.clone().into_iter().collect();
            variables.extend(output.with.clone());
            if !output.when.as_ref().is_none_or(|name| is_set(variables.get(name))) {
                continue;
            }
            let configured = self.configured(&variables);
            // Outputs with the same values share their packages, which are packed once.
            let key = Value::Object(configured.clone()).to_string();
            if !configurations.contains_key(&key) {
                let engine = TemplateEngine::new(Arc::clone(&self.templates), configured.clone());
                let configuration = self.configuration(&engine, &configured, &mut budget)?;
                packages
                    .extend(configuration.files.into_iter().map(|file| (file.name.clone(), file)));
                configurations.insert(key.clone(), configuration.values);
            }
            variables.extend(configurations.get(&key).cloned().unwrap_or_default());
            variables.insert("arguments".to_owned(), self.described_arguments());
            let engine = TemplateEngine::new(Arc::clone(&self.templates), variables);
            let name = self.output_name(&engine, &output.name)?;
            // One of two files of a name would be lost when they are stored.
            if !names.insert(name.clone()) {
                return Err(ProviderError::SameOutput { provider: self.name.clone(), name });
            }
            let text = engine.render(&output.template, output.kind, &name)?;
            budget.count(text.len(), "outputs")?;
            files.push(ProviderFile {
                name,
                content_type: output.content_type.clone(),
                bytes: text.into_bytes(),
                reproducible: false,
            });
        }
        Ok(packages.into_values().chain(files).collect())
    }

    /// The values that packages may depend on.
    fn configured(&self, variables: &Map<String, Value>) -> Map<String, Value> {
        let is_left_out = |name: &str| {
            self.arguments.iter().any(|argument| argument.name == name && !argument.configures)
        };
        let kept = variables.iter().filter(|(name, _)| !is_left_out(name));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(super) fn output_name(
        &self,
        engine: &TemplateEngine,
        template: &str,
    ) -> Result<String, ProviderError> {
        let name = engine.render_text(template, template)?;
        let is_name = EntryPath::parse(name.as_bytes()).is_ok_and(|path| {
            path.as_bytes() == name.as_bytes() && !name.contains(char::is_control)
        });
        if is_name {
            return Ok(name);
        }
        Err(ProviderError::OutputName { provider: self.name.clone(), name })
    }

    /// Arguments of the deployer as templates see them.
    fn described_arguments(&self) -> Value {
        let arguments = self.asked().map(|argument| {
            let mut described = json!({
                "name": argument.name,
                "type": argument.kind.as_str(),
                "description": argument.description,
                "default": argument.default,
            });
            match &argument.kind {
                ArgumentType::Integer { minimum, maximum } => {
                    described["minimum"] = (*minimum).into();
                    described["maximum"] = (*maximum).into();
                }
                ArgumentType::Choice(choices) => described["choices"] = choices.clone().into(),
                _ => {}
            }
            described
        });
        arguments.collect()
    }
}
