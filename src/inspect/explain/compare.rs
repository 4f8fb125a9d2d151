//! The first input that differs between two builds of a package, followed down through what it requires.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use super::inputs::{REQUIRES, flat, rank};
use super::records::{KnownBuild, RecordFolders};
use crate::build::id::PackageIdentity;
use crate::build::project::{AtHand, Project};
use crate::package::{PackageId, PackageName, Requirement, Variant};
use crate::tree::PackageKey;

/// Difference between the current state of a package and another build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BuildComparison {
    /// Id of the other build.
    pub against: PackageId,
    /// File with the inputs of the other build.
    pub record: String,
    /// True if both ids are equal.
    pub same: bool,
    /// The package, then a requirement of the package before with another id, down to the root cause.
    pub chain: Vec<CauseStep>,
}

/// A package that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CauseStep {
    /// Name.
    pub name: PackageName,
    /// Variant; null for the default one.
    pub variant: Variant,
    /// Id in the other build.
    pub from: PackageId,
    /// Current id.
    pub to: PackageId,
    /// Inputs that differ, without required packages that differ themselves; the first input is the cause.
    pub changes: Vec<InputChange>,
    /// Required packages that differ themselves.
    pub changed_dependencies: Vec<PackageName>,
    /// True if the inputs of the other build are not known.
    pub unknown: bool,
}

/// An input that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputChange {
    /// Name of the input.
    pub input: String,
    /// Value in the other build; null without one.
    pub from: Option<Value>,
    /// Current value; null without one.
    pub to: Option<Value>,
}

/// Compares a package with another build; `None` if the package has no id.
pub fn compare(
    project: &Project,
    known: &AtHand,
    key: &PackageKey,
    other: &KnownBuild,
    records: &RecordFolders,
) -> Option<BuildComparison> {
    let now = known.identities.get(key)?;
    let mut comparison = BuildComparison {
        against: other.id.clone(),
        record: other.origin.clone(),
        same: other.id == now.id,
        chain: Vec::new(),
    };
    // Only the id matters: other records of the same id have the same inputs.
    if comparison.same {
        return Some(comparison);
    }
    let mut at = key.clone();
    let mut build = Some(other.clone());
    let mut from = other.id.clone();
    loop {
        // The graph has no cycles, and each step goes down, so the loop ends.
        let (step, next) = step(project, known, &at, &from, build.as_ref())?;
        comparison.chain.push(step);
        let Some((key, id)) = next else { break };
        build = records.find(&id);
        (at, from) = (key, id);
    }
    Some(comparison)
}

/// Compares a package of the chain; returns the next package with the id in the other build, too.
fn step(
    project: &Project,
    known: &AtHand,
    key: &PackageKey,
    from: &PackageId,
    build: Option<&KnownBuild>,
) -> Option<(CauseStep, Option<(PackageKey, PackageId)>)> {
    let (package, identity) = (project.tree.package(key)?, known.identities.get(key)?);
    let mut step = CauseStep {
        name: key.name.clone(),
        variant: key.variant.clone(),
        from: from.clone(),
        to: identity.id.clone(),
        changes: Vec::new(),
        changed_dependencies: Vec::new(),
        unknown: build.is_none(),
    };
    let Some(build) = build else { return Some((step, None)) };
    let now = known.identities.build_ids(package, identity);
    step.changes = changes(&flat(&build.build_ids), &flat(&now));
    let then: BTreeMap<&PackageName, &PackageId> =
        build.dependencies.iter().map(|id| (id.name(), id)).collect();
    // What it requires itself comes first: through that, the others came.
    let all: Vec<_> = known.identities.dependencies(identity).collect();
    let is_direct = |key: &PackageKey| package.info.requires.contains(key);
    let (direct, behind): (Vec<&PackageIdentity>, Vec<&PackageIdentity>) =
        all.iter().partition(|needed| is_direct(&needed.key));
    let mut next = None;
    for needed in direct.iter().chain(&behind) {
        if let Some(id) = then.get(&needed.key.name).filter(|id| ***id != needed.id) {
            step.changed_dependencies.push(needed.key.name.clone());
            next = next.or_else(|| Some((needed.key.clone(), (*id).clone())));
        }
    }
    match &build.requires {
        Some(requires) => step.changes.extend(requirements(requires, &package.info.requires)),
        // All that it required is known, and not what of that it required itself.
        None if step.changes.is_empty() && next.is_none() => {
            let now: BTreeMap<&PackageName, &PackageId> =
                all.iter().map(|needed| (&needed.key.name, &needed.id)).collect();
            let names = then.keys().chain(now.keys()).copied();
            let mut names: Vec<&PackageName> = names.collect();
            names.sort_unstable();
            names.dedup();
            let value = |id: &&PackageId| Value::from(id.to_string());
            let changed = names
                .into_iter()
                .filter(|name| then.contains_key(*name) != now.contains_key(*name));
            step.changes.extend(changed.map(|name| InputChange {
                input: format!("{REQUIRES}/{name}"),
                from: then.get(name).map(value),
                to: now.get(name).map(value),
            }));
        }
        None => {}
    }
    // With an input of its own that differs, the package would have changed anyway.
    let next = next.filter(|_| step.changes.is_empty());
    Some((step, next))
}

/// Inputs that differ, ordered by rank.
fn changes(from: &BTreeMap<String, Value>, to: &BTreeMap<String, Value>) -> Vec<InputChange> {
    let mut names: Vec<&String> = from.keys().chain(to.keys()).collect();
    names.sort_by_key(|name| (rank(name), *name));
    names.dedup();
    let changed = names.into_iter().filter(|name| from.get(*name) != to.get(*name));
    changed
        .map(|name| InputChange {
            input: name.clone(),
            from: from.get(name).cloned(),
            to: to.get(name).cloned(),
        })
        .collect()
}

/// Added and removed requirements.
fn requirements(from: &[Requirement], to: &[Requirement]) -> Vec<InputChange> {
    let texts = |all: &[Requirement]| -> BTreeMap<String, Value> {
        let text =
            |one: &Requirement| (format!("{REQUIRES}/{}", one.name), Value::from(one.to_string()));
        all.iter().map(text).collect()
    };
    changes(&texts(from), &texts(to))
}

impl BuildComparison {
    /// The root cause as a sentence: `app changed because lib changed because the source foo changed from .. to ..`.
    pub fn sentence(&self) -> String {
        let Some(first) = self.chain.first() else {
            return format!("{} has the same inputs", self.against);
        };
        let mut text = format!("{} changed", first.name);
        for step in &self.chain[1..] {
            _ = write!(text, " because {} changed", step.name);
        }
        let Some(last) = self.chain.last() else { return text };
        match last.changes.first() {
            Some(change) => _ = write!(text, " because {}", change.words()),
            None if last.unknown => {
                _ = write!(text, "; nothing is known of the inputs of {}", last.from);
            }
            None => text.push_str("; none of the inputs that are known differs"),
        }
        text
    }
}

impl InputChange {
    /// The change in words: `the source foo changed from .. to ..`.
    pub fn words(&self) -> String {
        let (key, name) = self.input.split_once('/').unwrap_or((&self.input, ""));
        let what = match key {
            "build" => "the sum of the build script".to_owned(),
            "sources" => format!("the source {name}"),
            "extra_source" => "the sum of extra/".to_owned(),
            "docker" => "the builder image".to_owned(),
            "environment" => format!("the variable {name}"),
            "sysctl" => format!("the sysctl of {name}"),
            "pkgpanda_version" => "the version of the format".to_owned(),
            REQUIRES => format!("the requirement of {name}"),
            key => key.to_owned(),
        };
        let text = |value: &Value| match value {
            Value::String(text) if text.is_empty() => "\"\"".to_owned(),
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        match (&self.from, &self.to) {
            (Some(from), Some(to)) => format!("{what} changed from {} to {}", text(from), text(to)),
            (None, Some(to)) => format!("{what} was added: {}", text(to)),
            (Some(from), None) => format!("{what} was taken out: {}", text(from)),
            (None, None) => what,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_in_order_and_in_words() {
        let ids = |text: &str| flat(&serde_json::from_str(text).unwrap());
        let from = ids(r#"{"build": "a", "sources": {"foo": {"commit": "c"}}, "group": "g"}"#);
        let to =
            ids(r#"{"build": "b", "sources": {"foo": {"commit": "d"}, "x": {"commit": "e"}}}"#);
        let words: Vec<String> = changes(&from, &to).iter().map(InputChange::words).collect();
        assert_eq!(
            words,
            [
                "the sum of the build script changed from a to b",
                "the source foo changed from c to d",
                "the source x was added: e",
                "group was taken out: g",
            ]
        );
        let one =
            |name: &str| Requirement { name: name.parse().unwrap(), variant: Variant::DEFAULT };
        let changed = requirements(&[one("a"), one("b")], &[one("b"), one("c")]);
        let words: Vec<String> = changed.iter().map(InputChange::words).collect();
        assert_eq!(
            words,
            ["the requirement of a was taken out: a", "the requirement of c was added: c"]
        );
    }
}
