//! `mkpanda config`: the settings with their origins.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::error::CliError;
use super::super::format_arg::FormatArg;
use super::super::origins::{self, Setting};
use super::super::tool_args::ConfigArgs;
use super::super::tool_error::ToolError;
use super::Context;
use crate::base::suggestion::nearest;
use crate::base::text::toml_string;

/// Shows all settings, or those of keys.
pub fn run(context: &Context<'_>, args: &ConfigArgs) -> Result<(), CliError> {
    let tree = context.tree_folder()?;
    let settings = context.settings(None, Some(&tree))?;
    let all = origins::settings(context.global, context.environment, &tree, &settings)?;
    let mut shown: Vec<&Setting> = Vec::new();
    for key in &args.keys {
        // With the dot: `limit` must not show `limits`.
        let table = format!("{key}.");
        let found = all.iter().filter(|one| one.key == *key || one.key.starts_with(&table));
        let before = shown.len();
        shown.extend(found);
        if shown.len() == before {
            let near = nearest(key, all.iter().map(|setting| setting.key.as_str()));
            let near = near.map(str::to_owned);
            return Err(ToolError::NoSetting { key: key.clone(), near }.into());
        }
    }
    if args.keys.is_empty() {
        shown = all.iter().collect();
    }
    context.printer.data(&match args.format {
        FormatArg::Text => text(&shown),
        FormatArg::Json => format!("{:#}\n", json!({ "settings": shown })),
    });
    Ok(())
}

/// A line for each setting, as a configuration file has it, with its origin as a comment.
fn text(settings: &[&Setting]) -> String {
    let mut text = String::new();
    for Setting { key, value, origin } in settings {
        let _ = if value.is_null() {
            writeln!(text, "# {key} is not set")
        } else {
            writeln!(text, "{key} = {}  # {origin}", toml(value))
        };
    }
    text
}

fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => toml_string(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(toml).collect();
            format!("[{}]", values.join(", "))
        }
        other => other.to_string(),
    }
}
