//! Needs of packages that are to be built, among each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph;
use crate::tree::PackageKey;

/// Returns the needs of each package, as indices. The search stops at a package of the list, which
/// waits for its own needs. (All transitive needs would be quadratic.)
pub fn needs(
    packages: &[&PackageKey],
    indices: &BTreeMap<&PackageKey, usize>,
    requires: impl Fn(&PackageKey) -> Vec<PackageKey>,
) -> Vec<BTreeSet<usize>> {
    let needed = |package: &&PackageKey| {
        let found = graph::closure(requires(package), |key| {
            if indices.contains_key(key) { Vec::new() } else { requires(key) }
        });
        found.iter().filter_map(|key| indices.get(key).copied()).collect()
    };
    packages.iter().map(needed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_waits_for_what_is_built_and_not_for_what_that_waits_for() {
        let key = |name: &str| PackageKey {
            name: name.parse().unwrap(),
            variant: crate::package::Variant::DEFAULT,
        };
        let requires = |package: &PackageKey| match package.name.to_string().as_str() {
            "top" => vec![key("cached"), key("middle")],
            "cached" | "middle" => vec![key("bottom")],
            _ => Vec::new(),
        };
        let [bottom, middle, top] = ["bottom", "middle", "top"].map(key);
        let needs = |packages: &[&PackageKey]| {
            let indices = packages.iter().enumerate().map(|(place, key)| (*key, place)).collect();
            needs(packages, &indices, requires)
        };
        let found = needs(&[&bottom, &middle, &top]);
        assert_eq!(found, [vec![], vec![0], vec![0, 1]].map(BTreeSet::from_iter));
        // Needs that are waited for anyway are left out; needs behind a package that is present are
        // not.
        assert_eq!(needs(&[&middle, &top])[1], BTreeSet::from([0]));
        assert_eq!(needs(&[&bottom, &top])[1], BTreeSet::from([0]));
    }
}
