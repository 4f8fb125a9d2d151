//! Values of a provider's arguments: given ones, checked and completed, with all faults at once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::argument::{ArgumentOrigin, TemplateArgument};
use super::error::{ArgumentFault, ProviderError};
use super::model::Provider;
use crate::host::{LATE_BEGIN, LATE_END};

/// Unchecked values.
#[derive(Debug, Clone, Default)]
pub struct Values {
    release: BTreeMap<String, Value>,
    given: BTreeMap<String, Value>,
}

impl Values {
    /// No value at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value of the release; a provider takes the ones its arguments name.
    #[must_use]
    pub fn release(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.release.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a value of the user: an argument of this name must exist.
    #[must_use]
    pub fn given(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.given.insert(name.to_owned(), value.into());
        self
    }

    /// Names and values of the release.
    pub(super) fn of_release(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.release.iter().map(|(name, value)| (name.as_str(), value))
    }
}

/// Checked values of all arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct ResolvedValues(pub(super) BTreeMap<String, Value>);

impl Provider {
    /// Checks values and completes them with defaults.
    pub(super) fn resolve(&self, values: &Values) -> Result<ResolvedValues, ProviderError> {
        let (mut resolved, mut faults) = (BTreeMap::new(), Vec::new());
        for argument in &self.arguments {
            match value_of(argument, values) {
                Ok(value) => drop(resolved.insert(argument.name.clone(), value)),
                Err(fault) => faults.push(fault),
            }
        }
        for name in values.given.keys() {
            match self.arguments.iter().find(|argument| argument.name == *name) {
                Some(argument) if argument.origin != ArgumentOrigin::Release => {}
                // That the release lacks the value is said already, and nobody can add it.
                Some(_) if faults.iter().any(|fault| fault.name() == name) => {}
                Some(_) => faults.push(ArgumentFault::FromRelease(name.clone())),
                None => faults.push(ArgumentFault::Unknown {
                    name: name.clone(),
                    known: self.asked().map(|argument| argument.name.clone()).collect(),
                }),
            }
        }
        if faults.is_empty() {
            return Ok(ResolvedValues(resolved));
        }
        faults.sort_by(|a, b| a.name().cmp(b.name()));
        Err(ProviderError::Arguments { provider: self.name.clone(), faults })
    }

    /// Text of an argument's rendered value; `None` if missing.
    pub fn checked(&self, values: &Values, name: &str) -> Option<String> {
        let argument = self.arguments.iter().find(|argument| argument.name == name)?;
        value_of(argument, values).ok()?.as_str().map(str::to_owned)
    }

    /// Arguments of the deployer.
    pub fn asked(&self) -> impl Iterator<Item = &TemplateArgument> {
        self.arguments.iter().filter(|argument| argument.origin == ArgumentOrigin::Deployer)
    }
}

fn value_of(argument: &TemplateArgument, values: &Values) -> Result<Value, ArgumentFault> {
    let name = &argument.name;
    let given = match argument.origin {
        ArgumentOrigin::Release => values.release.get(name),
        ArgumentOrigin::Deployer | ArgumentOrigin::Late => values.given.get(name),
    };
    if let Some(value) = given {
        // It would be taken for a value that the machine gives.
        if value.to_string().contains(LATE_BEGIN) {
            return Err(ArgumentFault::Wrong {
                name: name.clone(),
                value: shown(value),
                rule: format!("must not have the text {LATE_BEGIN}"),
            });
        }
        return argument.kind.check(value).map_err(|rule| ArgumentFault::Wrong {
            name: name.clone(),
            value: shown(value),
            rule,
        });
    }
    match (argument.origin, &argument.default, &argument.written_as) {
        (ArgumentOrigin::Late, ..) => Ok(Value::String(placeholder(name))),
        (_, _, Some(text)) => Ok(Value::String(text.clone())),
        (_, Some(value), None) => Ok(value.clone()),
        (ArgumentOrigin::Release, None, None) => Err(ArgumentFault::NotInRelease(name.clone())),
        (_, None, None) => Err(ArgumentFault::Missing {
            name: name.clone(),
            kind: argument.kind.as_str(),
            description: argument.description.clone(),
        }),
    }
}

/// The beginning of a value, for messages.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Text that stands for a late value in packages (docs/pkgpanda.md, "Setup").
fn placeholder(name: &str) -> String {
    format!("{LATE_BEGIN}{name}{LATE_END}")
}
