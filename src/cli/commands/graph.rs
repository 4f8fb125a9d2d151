//! `mkpanda graph`: requirements of packages, as a tree of lines, for Graphviz, or as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::super::args::{GraphArgs, GraphFormat};
use super::super::error::CliError;
use super::super::inspect_error::InspectError;
use super::{Context, at_hand};
use crate::build::project::ProjectError;
use crate::inspect::relations::{Chains, Relation, Relations, requirement_chains};
use crate::tree::{PackageKey, typed_variant};

/// Depth from which packages begin at the left again, further below.
const DEEPEST: usize = 30;

/// Shows requirements.
pub fn run(context: &Context<'_>, args: &GraphArgs) -> Result<(), CliError> {
    let folder = context.folder()?;
    let looked = at_hand::open(context, at_hand::packages(context, None)?)?;
    let tree = &looked.project.tree;
    let variant = args.variant.as_deref().map(typed_variant).transpose()?;
    let packages: BTreeSet<PackageKey> = match &variant {
        None => tree.all_keys().collect(),
        Some(variant) => {
            let set = tree.resolve(variant).map_err(ProjectError::Tree)?;
            set.packages.into_iter().collect()
        }
    };
    let typed = |text: &String| -> Result<Vec<PackageKey>, CliError> {
        let mut keys = at_hand::typed_package(&folder, tree, text)?;
        let all = keys.clone();
        // A package without a variant means all of its variants, of which a tree usually has one.
        keys.retain(|key| packages.contains(key));
        match (&variant, keys.is_empty()) {
            (Some(variant), true) => {
                let name = all.first().map(ToString::to_string).unwrap_or_default();
                Err(InspectError::NotInTree { name, variant: variant.clone() }.into())
            }
            _ => Ok(keys),
        }
    };
    let warn_of = |shown: &mut dyn Iterator<Item = PackageKey>| {
        let faulty = shown.filter(|key| !tree.faults_of_package(key).is_empty()).count();
        at_hand::warn_of_faulty(context, faulty);
    };
    if let [from, to] = args.why.as_slice() {
        let (from, to) = (typed(from)?, typed(to)?);
        let found: Vec<Chains> = from
            .iter()
            .flat_map(|from| to.iter().map(move |to| (from, to)))
            .map(|(from, to)| requirement_chains(tree, from, to))
            .collect();
        // Of several variants, those count of which there is something to say.
        let is_any = found.iter().any(|chains| chains.needs);
        let found: Vec<Chains> =
            found.into_iter().filter(|chains| chains.needs || !is_any).collect();
        match args.format {
            GraphFormat::Json => context.print_json(&found),
            GraphFormat::Text => {
                context.printer.data(&found.iter().map(chain_text).collect::<String>());
            }
            GraphFormat::Dot => context.printer.data(&chain_dot(&found)),
        }
        // A chain may lead through a package whose requirements are not known.
        let reached: BTreeSet<PackageKey> = found
            .iter()
            .flat_map(|chains| {
                tree.dependencies(&chains.from).into_iter().chain([chains.from.clone()])
            })
            .collect();
        warn_of(&mut reached.into_iter());
        return Ok(());
    }
    let mut roots = Vec::new();
    for text in &args.packages {
        roots.extend(typed(text)?);
    }
    let relations = Relations::of(tree, &packages, &roots, args.reverse);
    match args.format {
        GraphFormat::Json => context.print_json(&relations),
        GraphFormat::Text => context.printer.data(&lines(&relations)),
        GraphFormat::Dot => context.printer.data(&dot(&relations)),
    }
    warn_of(&mut relations.packages.iter().map(Relation::key));
    Ok(())
}

fn chain_text(chains: &Chains) -> String {
    let Chains { from, to, .. } = chains;
    if !chains.needs {
        return format!("{from} does not need {to}\n");
    }
    let mut text = String::new();
    for chain in &chains.chains {
        let names: Vec<String> = chain.iter().map(ToString::to_string).collect();
        _ = writeln!(text, "{}", names.join(" -> "));
    }
    if chains.more {
        _ = writeln!(text, "… and more: these are the {} shortest", chains.chains.len());
    }
    text
}

/// A graph as indented lines. The requirements of each package follow its first line only.
fn lines(relations: &Relations) -> String {
    let by_key: BTreeMap<PackageKey, &Relation> =
        relations.packages.iter().map(|package| (package.key(), package)).collect();
    let next = |key: &PackageKey| -> Vec<PackageKey> {
        let Some(package) = by_key.get(key) else { return Vec::new() };
        let next = if relations.reverse { &package.required_by } else { &package.requires };
        next.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect()
    };
    let mut text = String::new();
    let mut shown: BTreeSet<PackageKey> = BTreeSet::new();
    let mut roots: std::collections::VecDeque<PackageKey> =
        relations.roots.iter().cloned().collect();
    while let Some(root) = roots.pop_front() {
        if shown.contains(&root) {
            continue;
        }
        // Packages that are still to be shown, each with what stands before it and before what follows below it.
        let mut open = vec![(root, String::new(), String::new(), 0)];
        while let Some((key, before, below, depth)) = open.pop() {
            let children = next(&key);
            let is_missing = by_key.get(&key).is_some_and(|package| package.missing);
            let is_repeated = !children.is_empty() && shown.contains(&key);
            let is_deep = !children.is_empty() && !is_repeated && depth == DEEPEST;
            let mark = match (is_missing, is_repeated, is_deep) {
                (true, _, _) => " (not there)",
                (_, true, _) => " (above)",
                (_, _, true) => " (below)",
                _ => "",
            };
            _ = writeln!(text, "{before}{key}{mark}");
            // At the left again: at this depth, the branches alone would fill the lines of a
            // terminal.
            if is_deep {
                roots.push_back(key);
                continue;
            }
            if is_repeated {
                continue;
            }
            shown.insert(key);
            let last = children.len().saturating_sub(1);
            let lines = children.into_iter().enumerate().map(|(number, child)| {
                let (branch, bar) =
                    if number == last { ("└── ", "    ") } else { ("├── ", "│   ") };
                (child, format!("{below}{branch}"), format!("{below}{bar}"), depth + 1)
            });
            let mut lines: Vec<_> = lines.collect();
            // A stack: the first child is taken out first.
            lines.reverse();
            open.extend(lines);
        }
    }
    text
}

/// A graph in Graphviz's language, with arrows from packages to requirements.
fn dot(relations: &Relations) -> String {
    let mut text = "digraph packages {\n  node [shape=box];\n".to_owned();
    let shown: BTreeSet<PackageKey> = relations.packages.iter().map(Relation::key).collect();
    for package in &relations.packages {
        let style = if package.missing { " [style=dashed]" } else { "" };
        _ = writeln!(text, "  {}{style};", quoted(&package.key()));
    }
    for package in &relations.packages {
        for needed in package.requires.iter().collect::<BTreeSet<_>>() {
            if shown.contains(needed) {
                _ = writeln!(text, "  {} -> {};", quoted(&package.key()), quoted(needed));
            }
        }
    }
    text.push_str("}\n");
    text
}

fn chain_dot(found: &[Chains]) -> String {
    let mut text = "digraph packages {\n  node [shape=box];\n".to_owned();
    let ends = found.iter().flat_map(|chains| [&chains.from, &chains.to]).collect::<BTreeSet<_>>();
    for end in ends {
        _ = writeln!(text, "  {} [style=bold];", quoted(end));
    }
    let chains = found.iter().flat_map(|chains| &chains.chains);
    let edges: BTreeSet<(&PackageKey, &PackageKey)> =
        chains.flat_map(|chain| chain.iter().zip(chain.iter().skip(1))).collect();
    for (from, to) in edges {
        _ = writeln!(text, "  {} -> {};", quoted(from), quoted(to));
    }
    text.push_str("}\n");
    text
}

/// A package as an id of Graphviz's language: a double-quoted string, in which only quotes are escaped.
fn quoted(key: &PackageKey) -> String {
    let text = match key.variant.name() {
        None => key.name.to_string(),
        Some(variant) => format!("{}:{variant}", key.name),
    };
    // A backslash before the closing quote would escape that.
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::PackageTree;

    fn graph(packages: &[(&str, &str)], roots: &[&str], reverse: bool) -> Relations {
        let info = |requires: &str| format!("{{\"requires\": [{requires}]}}");
        let packages = packages.iter().map(|(name, requires)| ((*name).to_owned(), info(requires)));
        let tree = PackageTree::in_memory(packages);
        let key = |name: &&str| PackageKey {
            name: name.parse().unwrap(),
            variant: crate::package::Variant::DEFAULT,
        };
        let roots: Vec<PackageKey> = roots.iter().map(key).collect();
        Relations::of(&tree, &tree.keys().collect(), &roots, reverse)
    }

    const PACKAGES: [(&str, &str); 4] = [
        ("app", r#""lib", "tool""#),
        ("lib", r#""zlib""#),
        ("tool", r#""lib", "gone""#),
        ("zlib", ""),
    ];

    #[test]
    fn repeated_parts_are_marked() {
        let text = lines(&graph(&PACKAGES, &[], false));
        let wanted = "\
app
├── lib
│   └── zlib
└── tool
    ├── gone (not there)
    └── lib (above)
";
        assert_eq!(text, wanted);
        let users = lines(&graph(&PACKAGES, &["zlib"], true));
        assert_eq!(users, "zlib\n└── lib\n    ├── app\n    └── tool\n        └── app\n");
    }

    #[test]
    fn cycles_and_long_chains_end() {
        let cycle = graph(&[("a", r#""b""#), ("b", r#""a""#)], &[], false);
        assert_eq!(lines(&cycle), "a\n└── b\n    └── a (above)\n");
        let names: Vec<String> = (0..100).map(|number| format!("p{number:02}")).collect();
        let requires: Vec<String> = (0..100)
            .map(|number| names.get(number + 1).map(|name| format!("{name:?}")).unwrap_or_default())
            .collect();
        let packages: Vec<(&str, &str)> =
            names.iter().map(String::as_str).zip(requires.iter().map(String::as_str)).collect();
        let text = lines(&graph(&packages, &[], false));
        assert_eq!((text.matches("(below)").count(), text.matches("p99").count()), (3, 1));
        assert_eq!(text.lines().filter(|line| line.starts_with('p')).count(), 4);
    }

    #[test]
    fn names_are_quoted_for_graphviz() {
        let text = dot(&graph(&PACKAGES, &["lib"], false));
        let wanted = "digraph packages {\n  node [shape=box];\n  \"lib\";\n  \"zlib\";\n  \"lib\" -> \"zlib\";\n}\n";
        assert_eq!(text, wanted);
        let odd = PackageKey { name: "a".parse().unwrap(), variant: "q\"\\".parse().unwrap() };
        assert_eq!(quoted(&odd), r#""a:q\"\\""#);
    }
}
