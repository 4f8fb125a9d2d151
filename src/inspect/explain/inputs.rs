//! Inputs of an id, flat: `build_ids` (docs/format.md, "Package id") with one entry for each source and variable.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::tree::Package;

/// An input of an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IdInput {
    /// Name: a key of `build_ids`, with `/` and the name of a source, a variable or a service behind it.
    pub input: String,
    /// Hashed value.
    pub value: Value,
    /// Origin of the value: the script's path, a source's URL, an image's name.
    pub origin: Option<String>,
}

/// Keys of `build_ids` with an input for each entry.
const NESTED: [&str; 3] = ["sources", "environment", "sysctl"];
/// Key of the requirements.
pub(super) const REQUIRES: &str = "requires";

/// Inputs of `build_ids` by name, without requirements.
pub(super) fn flat(build_ids: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (key, value) in build_ids.as_object().into_iter().flatten() {
        match value {
            // Flat, so that a difference is that of one source or one variable, not of all.
            Value::Object(entries) if NESTED.contains(&key.as_str()) => {
                for (name, value) in entries {
                    found.insert(format!("{key}/{name}"), plain(value));
                }
            }
            _ if key == REQUIRES => {}
            value => drop(found.insert(key.clone(), value.clone())),
        }
    }
    found
}

/// Reduces a source's `{"commit": …}` or `{"downloaded_sha1": …}` to the commit or sum.
fn plain(value: &Value) -> Value {
    let Value::Object(entries) = value else { return value.clone() };
    let known = ["commit", "downloaded_sha1"];
    match (entries.len(), entries.iter().next()) {
        (1, Some((key, value))) if known.contains(&key.as_str()) => value.clone(),
        _ => value.clone(),
    }
}

/// Rank of an input in lists: frequent causes first.
pub(super) fn rank(input: &str) -> usize {
    const ORDER: [&str; 14] = [
        "name",
        "variant",
        "version_extra",
        "build",
        "sources",
        "extra_source",
        "docker",
        "environment",
        "state_directory",
        "username",
        "group",
        "sysctl",
        "pkgpanda_version",
        REQUIRES,
    ];
    let key = input.split('/').next().unwrap_or_default();
    ORDER.iter().position(|known| *known == key).unwrap_or(ORDER.len())
}

/// Inputs of a package, ordered by rank.
pub(super) fn of_package(package: &Package, build_ids: &Value) -> Vec<IdInput> {
    let mut inputs: Vec<IdInput> = flat(build_ids)
        .into_iter()
        .map(|(input, value)| IdInput { origin: origin(package, &input), input, value })
        .collect();
    inputs.sort_by_key(|input| rank(&input.input));
    inputs
}

fn origin(package: &Package, input: &str) -> Option<String> {
    let (key, name) = input.split_once('/').unwrap_or((input, ""));
    match key {
        "build" => Some(package.build_script().display().to_string()),
        "extra_source" => package.extra().map(|path| path.display().to_string()),
        "docker" => Some(package.info.image().to_string()),
        "sources" => {
            let mut sources = package.info.sources.iter();
            let (_, source) = sources.find(|(known, _)| known.as_str() == name)?;
            let shown = source.shown();
            let text = |key: &str| shown.get(key).and_then(Value::as_str);
            let place = text("url").or_else(|| text("git")).or_else(|| text("rel_path"));
            Some(format!("{} {}", text("kind").unwrap_or_default(), place.unwrap_or_default()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_flat() {
        let ids = serde_json::json!({
            "name": "p", "requires": ["a--1"], "environment": {"A": "1", "B": true},
            "sources": {"s": {"commit": "c"}, "t": {"downloaded_sha1": "d"}},
        });
        let flat: Vec<String> =
            flat(&ids).iter().map(|(key, value)| format!("{key}={value}")).collect();
        let wanted = [
            "environment/A=\"1\"",
            "environment/B=true",
            "name=\"p\"",
            "sources/s=\"c\"",
            "sources/t=\"d\"",
        ];
        assert_eq!(flat, wanted);
        assert!(rank("build") < rank("sources/x") && rank("sources/x") < rank("requires/y"));
    }
}
