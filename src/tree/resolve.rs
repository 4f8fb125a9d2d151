//! From a tree's description, or a package's name, to the packages that are needed, in order.

use std::collections::BTreeSet;

use super::walk::{RequirementWalk, absent_package};
use super::{PackageKey, PackageTree, TreeError, TreeFile, position};
use crate::graph;
use crate::package::{PackageName, Problem, Report, Variant};

/// Packages of a tree variant, all present and compatible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSet {
    /// Variant of the tree.
    pub variant: Variant,
    /// Packages in dependency order; no package in two variants.
    pub packages: Vec<PackageKey>,
    /// Packages of its bootstrap, in the same order.
    pub bootstrap: Vec<PackageKey>,
    /// Questionable but accepted contents.
    pub warnings: Vec<Report>,
}

/// Packages with all their requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSet {
    /// Requested packages.
    pub wanted: Vec<PackageKey>,
    /// Requested packages and all their requirements, in dependency order.
    pub packages: Vec<PackageKey>,
    /// Questionable but accepted contents.
    pub warnings: Vec<Report>,
}

impl PackageTree {
    /// The tree variants that the packages directory describes.
    pub fn tree_variants(&self) -> Result<Vec<Variant>, TreeError> {
        if !self.misnamed_trees.is_empty() {
            return Err(TreeError::Problems(self.misnamed_trees.clone()));
        }
        if self.trees.is_empty() {
            return Err(TreeError::NoTree(self.root.clone()));
        }
        Ok(self.trees.keys().cloned().collect())
    }

    /// Resolves the packages of one tree variant (docs/format.md, "Trees").
    pub fn resolve(&self, variant: &Variant) -> Result<TreeSet, TreeError> {
        let known = self.tree_variants()?;
        let file = match self.trees.get(variant) {
            Some(Ok(file)) => file,
            Some(Err(report)) => return Err(TreeError::Problems(vec![report.clone()])),
            None => {
                let (wanted, root) = (variant.clone(), self.root.clone());
                return Err(TreeError::NoSuchTree { wanted, root, known });
            }
        };
        let mut walk = RequirementWalk::new(self, Some(file));
        if let Some(names) = &file.info.core_package_list {
            for name in names {
                walk.seed(name, Some("core_package_list"));
            }
        } else {
            walk.problems.extend(self.misnamed_folders.iter().cloned());
            for name in self.folders.keys().filter(|name| !file.info.exclude.contains(name)) {
                walk.seed(name, None);
            }
        }
        walk.run();
        // Before the walk ends, so that wrong names in both lists are reported together.
        let bootstrap = walk.bootstrap_seeds(file);
        let (packages, mut warnings) = walk.finish()?;
        let bootstrap = match bootstrap {
            None => packages.clone(),
            Some(seeds) => {
                let closure = graph::closure(seeds, |key| self.requires(key));
                packages.iter().filter(|key| closure.contains(key)).cloned().collect()
            }
        };
        warnings.extend(self.odd_tree(file, &packages));
        warnings.extend(self.warnings.iter().cloned());
        Ok(TreeSet { variant: variant.clone(), packages, bootstrap, warnings })
    }

    /// Returns a variant of a package, or all variants, as packages to build.
    pub fn wanted(
        &self,
        name: &PackageName,
        variant: Option<&Variant>,
    ) -> Result<Vec<PackageKey>, TreeError> {
        let key = |variant: &Variant| PackageKey { name: name.clone(), variant: variant.clone() };
        let Some(folder) = self.folders.get(name) else {
            let (name, root) = (name.clone(), self.root.clone());
            return Err(TreeError::NoSuchPackage { name, root });
        };
        if !folder.problems.is_empty() {
            return Err(TreeError::Problems(folder.problems.clone()));
        }
        match variant {
            None => Ok(folder.variants.keys().map(key).collect()),
            Some(wanted) if folder.variants.contains_key(wanted) => Ok(vec![key(wanted)]),
            Some(wanted) => Err(TreeError::NoSuchVariant {
                name: name.clone(),
                wanted: wanted.clone(),
                known: folder.variants.keys().cloned().collect(),
            }),
        }
    }

    /// Resolves packages with all their requirements, independent of the trees.
    pub fn resolve_packages(&self, wanted: &[PackageKey]) -> Result<BuildSet, TreeError> {
        let mut walk = RequirementWalk::new(self, None);
        for key in wanted {
            walk.enqueue(key.clone(), None);
        }
        walk.run();
        let (packages, mut warnings) = walk.finish()?;
        warnings.extend(self.warnings.iter().cloned());
        let clashes = self.variant_clashes(&packages);
        if !clashes.is_empty() {
            return Err(TreeError::Problems(clashes));
        }
        Ok(BuildSet { wanted: wanted.to_vec(), packages, warnings })
    }

    /// Sorts packages in dependency order: the order for several trees at once.
    pub fn order(&self, keys: &BTreeSet<PackageKey>) -> Result<Vec<PackageKey>, TreeError> {
        graph::topological_order(keys, |key| self.requires(key))
            .map_err(|cycle| TreeError::Problems(vec![self.cycle(cycle)]))
    }

    /// Direct requirements of a package; empty for a missing or faulty one.
    pub fn requires(&self, key: &PackageKey) -> Vec<PackageKey> {
        self.package(key).map(|package| package.info.requires.clone()).unwrap_or_default()
    }

    /// All direct and indirect requirements of a package, sorted.
    pub fn dependencies(&self, key: &PackageKey) -> BTreeSet<PackageKey> {
        graph::closure(self.requires(key), |key| self.requires(key))
    }

    /// Lists questionable but accepted contents of a tree's description.
    pub(super) fn odd_tree(&self, file: &TreeFile, packages: &[PackageKey]) -> Vec<Report> {
        let unknown = file.info.variants.keys().filter(|name| !self.folders.contains_key(name));
        let mut warnings: Vec<Report> = unknown
            .map(|name| {
                let message = format!("variants names {name}, and there is no such package");
                position::problem(
                    position::key_in(&file.text, "variants", name.as_str()),
                    message,
                    absent_package(name, self.folders.keys()),
                )
                .in_file(&file.path, &file.text)
            })
            .collect();
        if packages.is_empty() {
            let problem = Problem::whole("this tree has no packages")
                .hint("a package is a folder that has a buildinfo.json");
            warnings.push(problem.in_file(&file.path, &file.text));
        }
        warnings
    }
}
