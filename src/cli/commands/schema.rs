//! `mkpanda schema`: JSON Schemas of files and outputs.

use std::fmt::Write as _;

use super::super::error::CliError;
use super::super::schemas::{SCHEMAS, find, title};
use super::super::tool_args::SchemaArgs;
use super::super::tool_error::ToolError;
use super::Context;
use crate::base::suggestion::nearest;

/// Prints a schema, or lists all.
pub fn run(context: &Context<'_>, args: &SchemaArgs) -> Result<(), CliError> {
    let Some(name) = &args.name else {
        let mut text = String::new();
        for (name, schema) in SCHEMAS {
            let _ = writeln!(text, "{name:20}  {}", title(schema));
        }
        context.printer.data(&text);
        return Ok(());
    };
    let Some((_, schema)) = find(name) else {
        let near = nearest(name, SCHEMAS.iter().map(|(name, _)| *name)).map(str::to_owned);
        return Err(ToolError::NoSchema { name: name.clone(), near }.into());
    };
    context.printer.data(schema);
    Ok(())
}
