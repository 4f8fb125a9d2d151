//! Walk over packages' requirements, with all problems.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::error::variants;
use super::{Lookup, Package, PackageKey, PackageTree, TreeError, TreeFile, position};
use crate::base::suggestion::{did_you_mean, nearest};
use crate::package::{PackageName, Problem, Report};

/// A chain of requirements, as a person reads it.
pub(super) fn arrows(chain: &[PackageKey]) -> String {
    chain.iter().map(ToString::to_string).collect::<Vec<_>>().join(" -> ")
}

/// Breadth-first walk over requirements, which collects all problems.
pub(super) struct RequirementWalk<'a> {
    tree: &'a PackageTree,
    file: Option<&'a TreeFile>,
    /// Reached packages, each with the package from which it was reached first.
    reached: BTreeMap<PackageKey, Option<PackageKey>>,
    queue: VecDeque<PackageKey>,
    pub(super) problems: Vec<Report>,
}

impl<'a> RequirementWalk<'a> {
    pub(super) fn new(tree: &'a PackageTree, file: Option<&'a TreeFile>) -> Self {
        let (reached, queue) = (BTreeMap::new(), VecDeque::new());
        Self { tree, file, reached, queue, problems: Vec::new() }
    }

    /// Starts from a package of the tree, named by the list under `key`, if any.
    pub(super) fn seed(&mut self, name: &PackageName, list: Option<&str>) {
        let Some(file) = self.file else { return };
        let wanted = PackageKey { name: name.clone(), variant: file.info.variant_of(name) };
        let in_list =
            |list: Option<&str>| position::entry_of_list(&file.text, list?, name.as_str());
        let problem = match self.tree.lookup(&wanted) {
            Lookup::Found(_) | Lookup::Broken(_) => return self.enqueue(wanted, None),
            Lookup::Absent => position::problem(
                in_list(list),
                format!(
                    "{} names {name}, and there is no such package",
                    list.unwrap_or("treeinfo.json")
                ),
                absent_package(name, self.tree.folders.keys()),
            ),
            Lookup::NoVariant(known) => {
                let offset = position::key_in(&file.text, "variants", name.as_str());
                let hint = match (known.first().and_then(|variant| variant.name()), offset) {
                    (Some(first), None) => format!(
                        "it has {}: add \"variants\": {{\"{name}\": \"{first}\"}} here, or exclude it",
                        variants(known)
                    ),
                    _ => format!("it has {}", variants(known)),
                };
                let message = format!(
                    "this tree has package {name} in variant {}, which {name} doesn't have",
                    wanted.variant
                );
                position::problem(offset.or_else(|| in_list(list)), message, hint)
            }
        };
        self.problems.push(problem.in_file(&file.path, &file.text));
    }

    pub(super) fn enqueue(&mut self, key: PackageKey, from: Option<PackageKey>) {
        if !self.reached.contains_key(&key) {
            self.queue.push_back(key.clone());
            // The first way is kept: the walk goes in breadth, so the chain in a message is a
            // shortest one.
            self.reached.insert(key, from);
        }
    }

    pub(super) fn run(&mut self) {
        while let Some(key) = self.queue.pop_front() {
            match self.tree.lookup(&key) {
                Lookup::Found(package) => {
                    for required in &package.info.requires {
                        self.step(package, required);
                    }
                }
                Lookup::Broken(reports) => {
                    // A fault of the folder is one of each of its variants.
                    let new = reports.into_iter().filter(|report| !self.problems.contains(report));
                    let new: Vec<Report> = new.cloned().collect();
                    self.problems.extend(new);
                }
                // Never enqueued, except by a caller who asks for what isn't there.
                Lookup::NoVariant(_) | Lookup::Absent => {
                    let problem = Problem::whole(format!("there is no package {key}"));
                    self.problems.push(problem.in_file(self.tree.root(), ""));
                }
            }
        }
    }

    fn step(&mut self, package: &Package, required: &PackageKey) {
        if self.reached.contains_key(required) {
            return;
        }
        let name = &required.name;
        let needs = format!("{} requires {required}", package.key);
        let (message, hint) = match self.tree.lookup(required) {
            Lookup::Absent => (
                format!("{needs}, and there is no package {name}"),
                absent_package(name, self.tree.folders.keys()),
            ),
            Lookup::NoVariant(known) => (
                format!("{needs}, and {name} has no variant {}", required.variant),
                format!(
                    "it has {}; a variant is required by {{\"name\": \"{name}\", \"variant\": \"VARIANT\"}}",
                    variants(known)
                ),
            ),
            Lookup::Found(_) | Lookup::Broken(_) => match self.misfit(required) {
                None => return self.enqueue(required.clone(), Some(package.key.clone())),
                Some((message, hint)) => {
                    (format!("{needs}, {message} ({})", self.chain(&package.key, required)), hint)
                }
            },
        };
        let offset = position::requirement(&package.text, required);
        let report =
            position::problem(offset, message, hint).in_file(&package.info_path(), &package.text);
        self.problems.push(report);
    }

    /// Reason why a package cannot be part of the tree, and the remedy.
    fn misfit(&self, key: &PackageKey) -> Option<(String, String)> {
        let file = self.file?;
        let name = &key.name;
        let path = file.path.display();
        if file.info.exclude.contains(name) {
            return Some((
                format!("but the tree excludes {name}"),
                format!("take {name} out of exclude in {path}, or exclude what requires it"),
            ));
        }
        let right = file.info.variant_of(name);
        (key.variant != right).then(|| {
            (
                format!("but the tree has {name} in variant {right}"),
                match key.variant.name() {
                    None => format!("take {name} out of variants in {path}, or require that variant"),
                    Some(variant) => format!(
                        "add \"{name}\": \"{variant}\" to variants in {path}, or require variant {right}"
                    ),
                },
            )
        })
    }

    fn chain(&self, from: &PackageKey, to: &PackageKey) -> String {
        let mut chain = vec![to.clone(), from.clone()];
        while let Some(Some(before)) = chain.last().and_then(|last| self.reached.get(last)) {
            chain.push(before.clone());
        }
        chain.reverse();
        arrows(&chain)
    }

    /// Packages in `bootstrap_package_list`; a name outside of the tree is a problem.
    pub(super) fn bootstrap_seeds(&mut self, file: &TreeFile) -> Option<Vec<PackageKey>> {
        const LIST: &str = "bootstrap_package_list";
        let names = file.info.bootstrap_package_list.as_ref()?;
        let mut seeds = Vec::new();
        for name in names {
            let key = PackageKey { name: name.clone(), variant: file.info.variant_of(name) };
            if self.reached.contains_key(&key) {
                seeds.push(key);
                continue;
            }
            let (message, hint) = if self.tree.folders.contains_key(name) {
                let message = format!("{LIST} names {name}, which is not part of this tree");
                (message, "add it to core_package_list, or take it out of here".to_owned())
            } else {
                let message = format!("{LIST} names {name}, and there is no such package");
                (message, absent_package(name, self.tree.folders.keys()))
            };
            let offset = position::entry_of_list(&file.text, LIST, name.as_str());
            let report = position::problem(offset, message, hint).in_file(&file.path, &file.text);
            self.problems.push(report);
        }
        Some(seeds)
    }

    /// Returns the packages that were reached, and all problems.
    pub(super) fn into_parts(self) -> (BTreeSet<PackageKey>, Vec<Report>) {
        (self.reached.into_keys().collect(), self.problems)
    }

    /// The packages in order, with what is odd about them.
    pub(super) fn finish(self) -> Result<(Vec<PackageKey>, Vec<Report>), TreeError> {
        if !self.problems.is_empty() {
            return Err(TreeError::Problems(self.problems));
        }
        let keys: BTreeSet<PackageKey> = self.reached.into_keys().collect();
        let order = self.tree.order(&keys)?;
        let warnings = order.iter().filter_map(|key| self.tree.package(key));
        let warnings = warnings.flat_map(|package| package.warnings.clone()).collect();
        Ok((order, warnings))
    }
}

/// Remedy of a name that no package has.
pub(super) fn absent_package<'k>(
    name: &PackageName,
    known: impl Iterator<Item = &'k PackageName>,
) -> String {
    match nearest(name.as_str(), known.map(PackageName::as_str)) {
        Some(near) => {
            format!("{} If not, add the package, or take the name out", did_you_mean(near))
        }
        None => "correct the name, add the package, or take the name out".to_owned(),
    }
}
