//! Graph of the requirements in a tree, and chains of requirements.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::graph;
use crate::package::{PackageName, Requirement, Variant};
use crate::tree::{PackageKey, PackageTree};

/// Largest number of chains between two packages that are named.
pub const MOST_CHAINS: usize = 1000;

/// Packages and their requirements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relations {
    /// Packages from which the others are reached; for a whole tree, those that nothing requires, or with
    /// `reverse`, those without requirements.
    pub roots: Vec<Requirement>,
    /// True if the graph has the packages that require the roots, instead of the roots' requirements.
    pub reverse: bool,
    /// The packages, in the order of their names.
    pub packages: Vec<Relation>,
}

/// A package with its neighbours in the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Relation {
    /// Name.
    pub name: PackageName,
    /// Variant; null for the default one.
    pub variant: Variant,
    /// Direct requirements.
    pub requires: Vec<Requirement>,
    /// Packages of the graph with a direct requirement of this package.
    pub required_by: Vec<Requirement>,
    /// True if the package is required and does not exist.
    pub missing: bool,
}

/// Chains of requirements from one package to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chains {
    /// Package with the need.
    pub from: Requirement,
    /// Needed package.
    pub to: Requirement,
    /// True if there is a chain.
    pub needs: bool,
    /// The chains, the shortest first, each with both ends.
    pub chains: Vec<Vec<Requirement>>,
    /// True if more chains exist.
    pub more: bool,
}

impl Relation {
    /// Name and variant.
    pub fn key(&self) -> PackageKey {
        PackageKey { name: self.name.clone(), variant: self.variant.clone() }
    }
}

impl Relations {
    /// Creates the graph of the roots and their direct and indirect requirements or, with `reverse`, of the
    /// roots and all packages that require them. Without roots, the graph has all packages.
    pub fn of(
        tree: &PackageTree,
        packages: &BTreeSet<PackageKey>,
        roots: &[PackageKey],
        reverse: bool,
    ) -> Self {
        // A package may require one that the tree lacks: it is shown as missing.
        let all = graph::closure(packages.iter().cloned(), |key| tree.requires(key));
        let mut users: BTreeMap<PackageKey, Vec<PackageKey>> = BTreeMap::new();
        for key in &all {
            // A description may name a requirement twice.
            for required in tree.requires(key).into_iter().collect::<BTreeSet<_>>() {
                users.entry(required).or_default().push(key.clone());
            }
        }
        let of = |key: &PackageKey| users.get(key).cloned().unwrap_or_default();
        let shown = match (roots, reverse) {
            ([], _) => all,
            (roots, false) => graph::closure(roots.iter().cloned(), |key| tree.requires(key)),
            (roots, true) => graph::closure(roots.iter().cloned(), of),
        };
        let found: Vec<Relation> = shown
            .iter()
            .map(|key| Relation {
                name: key.name.clone(),
                variant: key.variant.clone(),
                requires: tree.requires(key),
                required_by: of(key).into_iter().filter(|user| shown.contains(user)).collect(),
                missing: !tree.has(key),
            })
            .collect();
        let roots = if roots.is_empty() { ends(&found, reverse) } else { roots.to_vec() };
        Self { roots, reverse, packages: found }
    }
}

/// Returns packages that nothing requires or, with `reverse`, packages without requirements; and a package
/// of each cycle that cannot be reached from those.
fn ends(packages: &[Relation], reverse: bool) -> Vec<PackageKey> {
    let by_key: BTreeMap<PackageKey, &Relation> =
        packages.iter().map(|package| (package.key(), package)).collect();
    let next = |key: &PackageKey| {
        let package = by_key.get(key);
        let next =
            package.map(|package| if reverse { &package.required_by } else { &package.requires });
        next.cloned().unwrap_or_default()
    };
    let is_end = |package: &&Relation| {
        if reverse { &package.requires } else { &package.required_by }.is_empty()
    };
    let mut roots: Vec<PackageKey> = packages.iter().filter(is_end).map(Relation::key).collect();
    let mut reached = graph::closure(roots.iter().cloned(), next);
    for key in by_key.keys() {
        // Each package of a cycle is required by another, so a cycle may have no end at all.
        if !reached.contains(key) {
            roots.push(key.clone());
            reached.extend(graph::closure([key.clone()], next));
        }
    }
    roots
}

/// Finds the chains of requirements from one package to another.
pub fn requirement_chains(tree: &PackageTree, from: &PackageKey, to: &PackageKey) -> Chains {
    // One more than is shown, which tells that there are more. Their number grows exponentially.
    let mut chains = graph::chains(from, to, MOST_CHAINS + 1, |key| {
        tree.requires(key).into_iter().collect::<BTreeSet<_>>().into_iter().collect()
    });
    let more = chains.len() > MOST_CHAINS;
    chains.truncate(MOST_CHAINS);
    Chains { from: from.clone(), to: to.clone(), needs: !chains.is_empty(), chains, more }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(packages: &[(&str, &str)]) -> PackageTree {
        let info = |requires: &str| format!("{{\"requires\": [{requires}]}}");
        let packages = packages.iter().map(|(name, requires)| ((*name).to_owned(), info(requires)));
        PackageTree::in_memory(packages)
    }

    fn key(name: &str) -> PackageKey {
        PackageKey { name: name.parse().unwrap(), variant: Variant::DEFAULT }
    }

    fn names(keys: &[PackageKey]) -> Vec<&str> {
        keys.iter().map(|key| key.name.as_str()).collect()
    }

    #[test]
    fn roots_are_what_nothing_requires() {
        let tree = tree(&[
            ("app", r#""lib", "tool""#),
            ("lib", r#""zlib", "gone""#),
            ("one", r#""two""#),
            ("tool", r#""lib""#),
            ("two", r#""one""#),
            ("zlib", ""),
        ]);
        let all: BTreeSet<PackageKey> = tree.keys().collect();
        let found = Relations::of(&tree, &all, &[], false);
        assert_eq!(names(&found.roots), ["app", "one"]);
        assert_eq!(found.packages.len(), 7);
        let gone = found.packages.iter().find(|package| package.missing).unwrap();
        assert_eq!((gone.name.as_str(), names(&gone.required_by)), ("gone", vec!["lib"]));
        let users = Relations::of(&tree, &all, &[key("lib")], true);
        let shown: Vec<&str> = users.packages.iter().map(|package| package.name.as_str()).collect();
        assert_eq!(shown, ["app", "lib", "tool"]);
        let chains = requirement_chains(&tree, &key("app"), &key("zlib"));
        let chains: Vec<_> = chains.chains.iter().map(|chain| names(chain)).collect();
        assert_eq!(chains, [vec!["app", "lib", "zlib"], vec!["app", "tool", "lib", "zlib"]]);
        assert!(!requirement_chains(&tree, &key("zlib"), &key("app")).needs);
    }
}
