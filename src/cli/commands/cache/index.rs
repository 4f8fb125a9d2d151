//! `mkpanda cache index`.

use std::path::Path;

use serde_json::json;

use super::super::super::args::{FormatArg, StoreArgs};
use super::super::super::error::CliError;
use super::super::Context;
use super::with_caches;
use crate::artifact::shared_cache::SharedCache;
use crate::exchange::{self, INDEX_JSON, INDEX_PAGE, Replaced};

/// Writes an index of a cache, the first if there are several.
pub(super) fn run(
    context: &Context<'_>,
    args: &StoreArgs,
    output: Option<&Path>,
) -> Result<(), CliError> {
    let (place, (packages, versions), replaced) =
        with_caches(context, args.jobs, "can be read", |_, caches, jobs, observer| {
            // An index into a cache is written there.
            let fits = |cache: &&&SharedCache| output.is_some() || cache.writes();
            let Some(cache) = caches.iter().find(fits) else {
                return Err(CliError::NoCache("can be written to"));
            };
            let failed = |error| CliError::Index(Box::new(error));
            let index = exchange::read_index(cache.store(), jobs, observer).map_err(failed)?;
            let replaced = exchange::write_index(&index, cache.store(), output, observer);
            let place = output.map_or_else(|| cache.name(), |folder| folder.display().to_string());
            Ok((place, index.counts(), replaced.map_err(failed)?))
        })?;
    let is_new = replaced == Replaced::Written;
    match args.format {
        FormatArg::Json => {
            let shown = json!({
                "place": place, "files": [INDEX_JSON, INDEX_PAGE],
                "packages": packages, "versions": versions, "changed": is_new,
            });
            context.printer.data(&format!("{shown:#}\n"));
        }
        FormatArg::Text => {
            let verb = if is_new { "written" } else { "unchanged" };
            context.printer.data(&format!(
                "{place}: {INDEX_JSON} and {INDEX_PAGE} {verb}: {packages} packages, {versions} versions\n"
            ));
        }
    }
    Ok(())
}
