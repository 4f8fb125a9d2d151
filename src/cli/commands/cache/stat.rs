//! `mkpanda cache stat`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::super::args::{FormatArg, StoreArgs};
use super::super::super::error::CliError;
use super::super::super::ui;
use super::super::Context;
use super::with_caches;
use crate::base::total::total;
use crate::exchange::{PartSizes, StoreContents};
use crate::store::Listed;

/// Shows how much caches hold.
pub(super) fn run(context: &Context<'_>, args: &StoreArgs) -> Result<(), CliError> {
    let stats = with_caches(context, args.jobs, "can be read", |_, caches, _, observer| {
        let list = caches.iter().map(|cache| {
            let contents = StoreContents::list(cache.store().backend(), observer)?;
            Ok((cache.name(), Stat::of(&contents)))
        });
        list.collect::<Result<Vec<_>, _>>().map_err(|error| CliError::Cache(Box::new(error)))
    })?;
    match args.format {
        FormatArg::Json => {
            let stores: Vec<Value> = stats.iter().map(|(name, stat)| stat.json(name)).collect();
            context.printer.data(&format!("{:#}\n", json!({ "stores": stores })));
        }
        FormatArg::Text => {
            for (name, stat) in &stats {
                context.printer.data(&stat.text(name));
            }
        }
    }
    Ok(())
}

/// Number and bytes of one kind of artifacts.
#[derive(Debug, Clone, Copy, Default)]
struct Amount {
    count: usize,
    bytes: u64,
}

/// Amounts of all kinds.
struct Stat {
    packages: usize,
    versions: Amount,
    signed: usize,
    bootstraps: Amount,
    sources: Amount,
    images: Amount,
    strays: Amount,
}

impl Stat {
    fn of(contents: &StoreContents) -> Self {
        let of_parts = |parts: Vec<&PartSizes>| Amount {
            count: parts.iter().filter(|parts| parts.archive.is_some()).count(),
            bytes: total(parts.iter().map(|parts| parts.bytes())),
        };
        let of_objects = |objects: &[Listed]| Amount {
            count: objects.len(),
            bytes: total(objects.iter().map(|object| object.size)),
        };
        let there = || contents.packages.iter().filter(|(_, parts)| parts.archive.is_some());
        Self {
            packages: there().map(|(id, _)| id.name()).collect::<BTreeSet<_>>().len(),
            versions: of_parts(contents.packages.values().collect()),
            signed: there().filter(|(_, parts)| parts.signature.is_some()).count(),
            bootstraps: of_parts(contents.bootstraps.values().collect()),
            sources: of_objects(&contents.sources),
            images: of_objects(&contents.images),
            strays: of_objects(&contents.strays),
        }
    }

    fn text(&self, name: &str) -> String {
        let lines = [
            (
                self.versions,
                format!("versions of {} packages, {} signed", self.packages, self.signed),
            ),
            (self.bootstraps, "bootstraps".to_owned()),
            (self.sources, "sources".to_owned()),
            (self.images, "files of builder images".to_owned()),
            (self.strays, "other objects".to_owned()),
        ];
        let line = |(amount, label): (Amount, String)| {
            format!("{:>10}  {:>7}  {label}\n", ui::size(amount.bytes), amount.count)
        };
        format!("{name}\n{}", lines.map(line).concat())
    }

    fn json(&self, name: &str) -> Value {
        let amount = |amount: Amount| json!({ "count": amount.count, "bytes": amount.bytes });
        json!({
            "store": name,
            "packages": {
                "count": self.packages,
                "versions": self.versions.count,
                "bytes": self.versions.bytes,
                "signed": self.signed,
            },
            "bootstraps": amount(self.bootstraps),
            "sources": amount(self.sources),
            "images": amount(self.images),
            "other": amount(self.strays),
        })
    }
}
