//! Faults and oddities of a tree, found without a build.

use std::collections::{BTreeMap, BTreeSet};

use super::walk::{RequirementWalk, absent_package, arrows};
use super::{Package, PackageFolder, PackageKey, PackageTree, TreeError, position};
use crate::graph;
use crate::package::{PackageName, Problem, Report, Variant};

impl PackageTree {
    /// Returns all packages, broken ones too, each variant for itself.
    pub fn all_keys(&self) -> impl Iterator<Item = PackageKey> {
        self.folders.iter().flat_map(|(name, folder)| keys_of(name, folder))
    }

    /// Returns all variants of a package, broken ones too; nothing if it is not there.
    pub fn variants_of(&self, name: &PackageName) -> Vec<PackageKey> {
        let folder = self.folders.get_key_value(name);
        folder.map(|(name, folder)| keys_of(name, folder).collect()).unwrap_or_default()
    }

    /// Returns all variants of a package, broken ones too.
    pub fn wanted_or_broken(&self, name: &PackageName) -> Result<Vec<PackageKey>, TreeError> {
        let keys = self.variants_of(name);
        // A folder that is wrong as a whole has no variants.
        if keys.is_empty() { self.wanted(name, None) } else { Ok(keys) }
    }

    /// Returns the packages with a fault in their folder or in one of their variants.
    pub fn faulty_names(&self) -> BTreeSet<PackageName> {
        let is_faulty = |folder: &PackageFolder| {
            !folder.problems.is_empty() || folder.variants.values().any(Result::is_err)
        };
        let faulty = self.folders.iter().filter(|(_, folder)| is_faulty(folder));
        faulty.map(|(name, _)| name.clone()).collect()
    }

    /// Returns what is wrong with a package, without what it requires.
    pub fn faults_of_package(&self, key: &PackageKey) -> Vec<Report> {
        match self.lookup(key) {
            super::Lookup::Broken(reports) => reports.into_iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Returns all faults of packages and of what they require, each once.
    pub fn faults_of(&self, keys: &BTreeSet<PackageKey>) -> Vec<Report> {
        let mut walk = RequirementWalk::new(self, None);
        for key in keys {
            walk.enqueue(key.clone(), None);
        }
        walk.run();
        let (reached, mut faults) = walk.into_parts();
        let reached: BTreeSet<PackageKey> =
            reached.into_iter().filter(|key| self.package(key).is_some()).collect();
        let mut acyclic = reached.clone();
        for group in graph::cyclic_groups(&reached, |key| self.requires(key)) {
            let cycle = graph::topological_order(&group, |key| self.requires(key)).err();
            faults.extend(cycle.map(|cycle| self.cycle(cycle)));
            // Without the cycles, the rest has an order, in which the clashes are found.
            acyclic.retain(|key| !group.contains(key));
        }
        let order = self.order(&acyclic).unwrap_or_default();
        faults.extend(self.variant_clashes(&order));
        faults
    }

    /// Returns the faults of the packages directory and its trees, as far as they are not those of packages.
    pub fn faults_of_trees(&self) -> Vec<Report> {
        let mut faults = self.misnamed_folders.clone();
        faults.extend(self.folders.values().flat_map(|folder| folder.problems.iter().cloned()));
        faults.extend(self.misnamed_trees.iter().cloned());
        for (variant, file) in &self.trees {
            match file {
                Err(report) => faults.push(report.clone()),
                Ok(_) if self.misnamed_trees.is_empty() => {
                    if let Err(TreeError::Problems(reports)) = self.resolve(variant) {
                        faults.extend(reports);
                    }
                }
                Ok(_) => {}
            }
        }
        faults
    }

    /// Returns what is odd about the packages directory and its trees, but let through.
    pub fn oddities_of_trees(&self) -> Vec<Report> {
        let mut odd = self.warnings.clone();
        for file in self.trees.values().flatten() {
            odd.extend(self.odd_tree(file, &[]).into_iter().filter(|report| {
                // There are packages, of which none was given.
                report.line_and_column().is_some() || self.folders.is_empty()
            }));
            let unknown = file.info.exclude.iter().filter(|name| !self.folders.contains_key(*name));
            odd.extend(unknown.map(|name| {
                let offset = position::entry_of_list(&file.text, "exclude", name.as_str());
                let message = format!("exclude names {name}, and there is no such package");
                position::problem(offset, message, absent_package(name, self.folders.keys()))
                    .in_file(&file.path, &file.text)
            }));
        }
        odd
    }

    /// Returns the trees of which each package is a part; `None` if no tree is described, or one has faults, so that
    /// its packages are not known.
    pub fn memberships(&self) -> Option<BTreeMap<PackageKey, Vec<Variant>>> {
        let mut found: BTreeMap<PackageKey, Vec<Variant>> = BTreeMap::new();
        for variant in self.tree_variants().ok()? {
            for key in self.resolve(&variant).ok()?.packages {
                found.entry(key).or_default().push(variant.clone());
            }
        }
        Some(found)
    }

    /// Finds packages whose dependencies have one package in two variants; `order` has each package after all that
    /// it requires. What is wrong with a dependency is reported there alone.
    pub(super) fn variant_clashes(&self, order: &[PackageKey]) -> Vec<Report> {
        let mut counts: BTreeMap<&PackageName, usize> = BTreeMap::new();
        for key in order {
            *counts.entry(&key.name).or_default() += 1;
        }
        // Of dependencies, only those count that there are in several variants: mostly none.
        let mut needed: BTreeMap<&PackageKey, BTreeMap<PackageName, PackageKey>> = BTreeMap::new();
        let mut tainted: BTreeSet<&PackageKey> = BTreeSet::new();
        let mut reports = Vec::new();
        if counts.values().all(|count| *count == 1) {
            return reports;
        }
        for key in order {
            let Some(package) = self.package(key) else { continue };
            let requires = &package.info.requires;
            // The clash below is reported once, and not for everything above it.
            if requires.iter().any(|required| tainted.contains(required)) {
                tainted.insert(key);
                continue;
            }
            let mut own: BTreeMap<PackageName, PackageKey> = BTreeMap::new();
            let mut clash = None;
            for required in requires {
                let is_several = counts.get(&required.name).is_some_and(|count| *count > 1);
                let behind = needed.get(required).into_iter().flat_map(BTreeMap::values);
                for one in behind.chain(is_several.then_some(required)) {
                    match own.insert(one.name.clone(), one.clone()) {
                        Some(other) if other != *one && clash.is_none() => {
                            clash = Some((other.clone().min(one.clone()), other.max(one.clone())));
                        }
                        _ => {}
                    }
                }
            }
            match clash {
                Some((one, other)) => {
                    tainted.insert(key);
                    reports.push(self.two_variants(package, &one, &other));
                }
                None => drop(needed.insert(key, own)),
            }
        }
        reports
    }

    fn two_variants(&self, package: &Package, one: &PackageKey, other: &PackageKey) -> Report {
        let chain = |to| graph::shortest_chain(&package.key, to, |key| self.requires(key));
        let (one, other) = (chain(one).unwrap_or_default(), chain(other).unwrap_or_default());
        let offset = other.get(1).and_then(|key| position::requirement(&package.text, key));
        let message = format!(
            "{} needs two variants of one package: {} and {}",
            package.key,
            arrows(&one),
            arrows(&other)
        );
        let hint = "make the requires agree: dependencies are installed into one folder";
        position::problem(offset, message, hint.to_owned())
            .in_file(&package.info_path(), &package.text)
    }

    /// Returns the problem of a cycle, at the first of its packages.
    pub(super) fn cycle(&self, mut cycle: Vec<PackageKey>) -> Report {
        cycle.extend(cycle.first().cloned());
        let message = format!("packages that require one another: {}", arrows(&cycle));
        let hint = "take one of these requires out".to_owned();
        let Some(package) = cycle.first().and_then(|key| self.package(key)) else {
            return Problem::whole(message).hint(hint).in_file(&self.root, "");
        };
        let offset = cycle.get(1).and_then(|key| position::requirement(&package.text, key));
        position::problem(offset, message, hint).in_file(&package.info_path(), &package.text)
    }
}

fn keys_of(name: &PackageName, folder: &PackageFolder) -> impl Iterator<Item = PackageKey> {
    let name = name.clone();
    let key = move |variant: &Variant| PackageKey { name: name.clone(), variant: variant.clone() };
    folder.variants.keys().map(key)
}

impl Package {
    /// True if the description has its source under `single_source`.
    pub fn is_single_source(&self) -> bool {
        position::value_at(&self.text, &["single_source"]).is_some()
    }

    /// Returns a problem at a value of the package's description, such as `["sources", "lib", "url"]`.
    pub fn problem_at(&self, keys: &[&str], message: String, hint: &str) -> Report {
        position::problem(position::value_at(&self.text, keys), message, hint.to_owned())
            .in_file(&self.info_path(), &self.text)
    }

    /// Returns a problem at an entry of `requires`, the last one of several.
    pub fn problem_at_requirement(&self, key: &PackageKey, message: String, hint: &str) -> Report {
        position::problem(position::last_requirement(&self.text, key), message, hint.to_owned())
            .in_file(&self.info_path(), &self.text)
    }
}
