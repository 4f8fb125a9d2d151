//! From a provider and values to files.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Map;

use super::argument::ArgumentType;
use super::engine::Engine;
use super::error::ProviderError;
use super::model::{Provider, ProviderFile};
use super::values::Values;
use crate::archive::EntryPath;

impl Provider {
    /// Renders all outputs. Values that are missing, unknown or wrong are named all at once.
    pub fn render(&self, values: &Values) -> Result<Vec<ProviderFile>, ProviderError> {
        let resolved = self.resolve(values)?;
        let mut files = Vec::new();
        let mut names = BTreeSet::new();
        for output in &self.outputs {
            let mut variables: Map<_, _> = resolved.0.clone().into_iter().collect();
            variables.extend(output.with.clone());
            variables.insert("arguments".to_owned(), self.described_arguments());
            let engine = Engine::new(Arc::clone(&self.templates), variables);
            let name = engine.render_text(&output.name, &output.name)?;
            let is_name = EntryPath::parse(name.as_bytes()).is_ok_and(|path| {
                path.as_bytes() == name.as_bytes() && !name.contains(char::is_control)
            });
            if !is_name {
                return Err(ProviderError::OutputName { provider: self.name.clone(), name });
            }
            if !names.insert(name.clone()) {
                return Err(ProviderError::SameOutput { provider: self.name.clone(), name });
            }
            let text = engine.render(&output.template, output.kind, &name)?;
            files.push(ProviderFile {
                name,
                content_type: output.content_type.clone(),
                bytes: text.into_bytes(),
                reproducible: false,
            });
        }
        Ok(files)
    }

    /// The arguments that the deployer is asked for, as templates see them.
    fn described_arguments(&self) -> serde_json::Value {
        let arguments = self.asked().map(|argument| {
            let mut described = serde_json::json!({
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
