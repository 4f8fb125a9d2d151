//! `[<variant>.]treeinfo.json`: the packages of a tree and of its bootstrap (docs/format.md, "Trees").

use std::collections::{BTreeMap, BTreeSet};

use super::json::{JsonKind, JsonNode};
use super::{PackageName, Problem, Variant};

/// Tree described in a `treeinfo.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreeInfo {
    /// Packages that are not part of the tree.
    pub exclude: BTreeSet<PackageName>,
    /// Packages of the tree, without their requirements; `None`, also for an empty list: all
    /// packages that are not excluded.
    pub core_package_list: Option<Vec<PackageName>>,
    /// Packages of the bootstrap, without their requirements; `None`, also for an empty list: all
    /// of the tree.
    pub bootstrap_package_list: Option<Vec<PackageName>>,
    /// Variants of packages that are part of the tree in another variant than the default one.
    pub variants: BTreeMap<PackageName, Variant>,
}

const KEYS: [&str; 4] = ["exclude", "core_package_list", "bootstrap_package_list", "variants"];

impl TreeInfo {
    /// Reads a `treeinfo.json`. An empty file is `{}`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        // An empty file is a tree of all packages, as an empty description is a package without
        // sources.
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let node = JsonNode::parse(text)?;
        let object = node.object("treeinfo.json")?;
        if let Some(entry) =
            object.entries().iter().find(|entry| !KEYS.contains(&entry.key.as_str()))
        {
            return Err(Problem::at(
                entry.key_offset,
                format!("a treeinfo.json has no key {:?}", entry.key),
            )
            .hint_of_keys(&entry.key, &KEYS));
        }
        let list = |key: &str| -> Result<Option<Vec<(PackageName, usize)>>, Problem> {
            let Some(node) = object.get(key) else { return Ok(None) };
            let names = node.list(key, "package names")?.iter().map(|item| {
                let text = item.string(&format!("each entry of {key}"))?;
                Ok((name(text, item.offset)?, item.offset))
            });
            names.collect::<Result<_, _>>().map(Some)
        };
        let exclude = list("exclude")?.unwrap_or_default();
        // The original looks at a list only if there is something in it.
        let filled = |names: Option<Vec<_>>| names.filter(|names| !names.is_empty());
        let core = filled(list("core_package_list")?);
        let bootstrap = filled(list("bootstrap_package_list")?);
        let excluded: BTreeSet<PackageName> = exclude.into_iter().map(|(name, _)| name).collect();
        for (key, names) in [("core_package_list", &core), ("bootstrap_package_list", &bootstrap)] {
            let clash = names.iter().flatten().find(|(name, _)| excluded.contains(name));
            if let Some((name, offset)) = clash {
                return Err(Problem::at(
                    *offset,
                    format!("package {name} is in {key} and in exclude"),
                )
                .hint("take it out of one of them"));
            }
        }
        let plain = |names: Option<Vec<(PackageName, usize)>>| {
            names.map(|names| names.into_iter().map(|(name, _)| name).collect())
        };
        Ok(Self {
            exclude: excluded,
            core_package_list: plain(core),
            bootstrap_package_list: plain(bootstrap),
            variants: variants(object.get("variants"))?,
        })
    }

    /// The variant in which a package is part of the tree.
    pub fn variant_of(&self, package: &PackageName) -> Variant {
        self.variants.get(package).cloned().unwrap_or_default()
    }
}

fn variants(node: Option<&JsonNode>) -> Result<BTreeMap<PackageName, Variant>, Problem> {
    let Some(node) = node else { return Ok(BTreeMap::new()) };
    let entries = node.object("variants")?.entries().iter().map(|entry| {
        let variant = match &entry.value.kind {
            JsonKind::Null => Variant::DEFAULT,
            _ => entry.value.string(&format!("the variant of {}", entry.key))?.parse().map_err(
                |error: super::VariantError| Problem::at(entry.value.offset, error.to_string()),
            )?,
        };
        Ok((name(&entry.key, entry.key_offset)?, variant))
    });
    entries.collect()
}

fn name(text: &str, offset: usize) -> Result<PackageName, Problem> {
    text.parse().map_err(|error: super::NameError| Problem::at(offset, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_info_says_what_is_in_the_tree() {
        let info =
            TreeInfo::parse(r#"{"exclude": ["a"], "variants": {"b": "x", "c": null}}"#).unwrap();
        assert_eq!(info.exclude.len(), 1);
        assert_eq!(info.core_package_list, None);
        assert_eq!(info.variant_of(&"b".parse().unwrap()).name(), Some("x"));
        assert_eq!(info.variant_of(&"c".parse().unwrap()), Variant::DEFAULT);
        assert_eq!(TreeInfo::parse("").unwrap(), TreeInfo::default());
    }

    #[test]
    fn empty_lists_count_as_none() {
        for key in ["core_package_list", "bootstrap_package_list"] {
            let info = TreeInfo::parse(&format!(r#"{{"{key}": [], "exclude": ["b"]}}"#)).unwrap();
            assert_eq!((&info.core_package_list, &info.bootstrap_package_list), (&None, &None));
            assert_eq!(info.exclude.len(), 1);
            let info = TreeInfo::parse(&format!(r#"{{"{key}": ["a"]}}"#)).unwrap();
            assert!(info.core_package_list.is_some() != info.bootstrap_package_list.is_some());
        }
    }

    #[test]
    fn wrong_types_and_contradictions_are_refused() {
        for bad in [
            r#"{"core_package_list": null}"#,
            r#"{"core_package_list": {}}"#,
            r#"{"exclude": "v"}"#,
            r#"{"exclude": [5]}"#,
            r#"{"variants": []}"#,
            r#"{"bogus": 1}"#,
            r#"{"exclude": ["v"], "bootstrap_package_list": ["v"]}"#,
            "[]",
            "null",
        ] {
            assert!(TreeInfo::parse(bad).is_err(), "{bad}");
        }
    }
}
