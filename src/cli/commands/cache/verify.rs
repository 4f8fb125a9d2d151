//! `mkpanda cache verify`.

use serde_json::{Value, json};

use super::super::super::args::{FormatArg, StoreArgs};
use super::super::super::error::CliError;
use super::super::super::ui;
use super::super::Context;
use super::with_caches;
use crate::exchange::{self, Verified};

/// Checks each artifact of caches.
pub(super) fn run(context: &Context<'_>, args: &StoreArgs) -> Result<(), CliError> {
    let results =
        with_caches(context, args.jobs, "can be read", |settings, caches, jobs, observer| {
            let limits = settings.archive_limits();
            let keys = (settings.required_keys.as_ref(), &settings.trusted_keys);
            let verify = caches.iter().map(|cache| {
                let verified = exchange::verify(cache.store(), keys, limits, jobs, observer)?;
                Ok((cache.name(), verified))
            });
            verify.collect::<Result<Vec<_>, _>>().map_err(|error| CliError::Cache(Box::new(error)))
        })?;
    match args.format {
        FormatArg::Json => {
            let stores: Vec<Value> =
                results.iter().map(|(name, found)| json_of(name, found)).collect();
            context.printer.data(&format!("{:#}\n", json!({ "stores": stores })));
        }
        FormatArg::Text => {
            for (name, found) in &results {
                context.printer.data(&text_of(name, found));
            }
        }
    }
    match results.into_iter().find(|(_, found)| !found.faults.is_empty()) {
        None => Ok(()),
        Some((store, found)) => Err(CliError::CacheFaults { store, count: found.faults.len() }),
    }
}

fn text_of(name: &str, found: &Verified) -> String {
    let faults = found.faults.iter().map(|fault| format!("{fault}\n"));
    let stray = |key| format!("stray: {key}: it is not part of a cache\n");
    let strays = found.strays.iter().map(|listed| stray(&listed.key));
    let lines: Vec<String> = faults.chain(strays).collect();
    let (artifacts, size) = (found.artifacts, ui::size(found.bytes));
    let (faults, strays) = (found.faults.len(), found.strays.len());
    let sum = format!("{artifacts} artifacts ({size}), {faults} findings, {strays} strays");
    format!("{}{name}: {sum}\n", lines.concat())
}

fn json_of(name: &str, found: &Verified) -> Value {
    let faults = found.faults.iter().map(
        |fault| json!({ "name": fault.name, "kind": fault.kind.as_str(), "reason": fault.reason }),
    );
    json!({
        "store": name,
        "artifacts": found.artifacts,
        "bytes": found.bytes,
        "findings": faults.collect::<Vec<_>>(),
        "strays": found.strays.iter().map(|stray| stray.key.as_str()).collect::<Vec<_>>(),
    })
}
