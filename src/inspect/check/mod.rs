//! Faults and oddities of a tree, found without building: nothing is fetched and nothing is written.
//!
//! ```text
//! finding    findings and rules
//! scripts    build scripts: mode, shebang, line ends, stray ones
//! sources    declared sources: use, places, sums of local files
//! folders    folders that look like packages, large files
//! ```

mod finding;
mod folders;
mod scripts;
mod sources;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::base::causes::with_causes;
use crate::build::project::{Project, ProjectError, ProjectOptions};
use crate::build::upstream::{self, UpstreamError};
use crate::graph;
use crate::package::{PackageName, Problem, Report};
use crate::tree::lock::TreeLock;
use crate::tree::{PackageKey, PackageTree, TreeError};

pub use finding::{Rule, Severity, TreeFinding};
use finding::{TreeFindings, whole};

/// Result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// Findings: errors first, each kind in the order of files and places.
    pub findings: Vec<TreeFinding>,
    /// Number of packages, each variant by itself.
    pub packages: usize,
}

impl Checked {
    /// Number of findings of a weight.
    pub fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

/// Tree that was read to be checked, with the findings of reading it.
#[derive(Debug)]
pub struct OpenedTree {
    options: ProjectOptions,
    findings: TreeFindings,
    /// The tree; `None` if it has faults that keep it from being read.
    tree: Option<PackageTree>,
    /// False if an upstream is not expanded.
    is_whole: bool,
}

impl OpenedTree {
    /// Reads a tree. `settings` has the faults of configuration files.
    pub fn read(mut options: ProjectOptions, settings: Vec<Report>) -> Result<Self, TreeError> {
        let mut findings = TreeFindings::default();
        findings.errors(settings);
        match TreeLock::read(&options.packages) {
            Ok(lock) => options.lock = lock.map(std::sync::Arc::new),
            Err(report) => findings.error(Rule::Invalid, report),
        }
        let (upstreams, is_whole) = upstreams(&options, &mut findings);
        let tree = match PackageTree::read(&options.packages, &upstreams) {
            Ok(tree) => Some(tree),
            Err(TreeError::Problems(reports)) => {
                findings.errors(reports);
                None
            }
            Err(error @ TreeError::BuilderTwice { .. }) => {
                let hint = error.hint().unwrap_or_default();
                findings.error(Rule::Invalid, whole(&options.packages, error.to_string(), &hint));
                None
            }
            // What is left is not the tree's fault but the machine's.
            Err(error) => return Err(error),
        };
        Ok(Self { options, findings, tree, is_whole })
    }

    /// The tree, unless it cannot be read.
    pub fn tree(&self) -> Option<&PackageTree> {
        self.tree.as_ref()
    }

    /// Checks the tree, or the named packages with their requirements.
    pub fn check(self, wanted: &[PackageName]) -> Result<Checked, TreeError> {
        let Self { options, mut findings, tree, is_whole } = self;
        let Some(tree) = tree else { return Ok(checked(findings, 0)) };
        let mut keys: BTreeSet<PackageKey> = BTreeSet::new();
        for name in wanted {
            keys.extend(tree.wanted_or_broken(name)?);
        }
        let keys = if wanted.is_empty() {
            tree.all_keys().collect()
        } else {
            graph::closure(keys, |key| tree.requires(key))
                .into_iter()
                .filter(|key| tree.has(key))
                .collect()
        };
        faults(&tree, &keys, wanted.is_empty(), is_whole, &mut findings);
        oddities(&tree, &keys, wanted.is_empty(), is_whole, &mut findings);
        let has_errors = findings.all.iter().any(|finding| finding.severity == Severity::Error);
        // With errors, packages have no ids, and each would be reported a second time as one that
        // the lock lacks.
        if !has_errors && wanted.is_empty() && options.lock.is_some() {
            lock(options, tree, &keys, &mut findings);
        }
        Ok(checked(findings, keys.len()))
    }
}

fn checked(findings: TreeFindings, packages: usize) -> Checked {
    let mut findings = findings.all;
    findings.sort_by_cached_key(|finding| {
        let path = finding.report.path().to_owned();
        (
            finding.severity,
            path,
            finding.report.line_and_column(),
            finding.report.message().to_owned(),
        )
    });
    Checked { findings, packages }
}

/// The packages folders of upstreams; `false` if one is not expanded.
fn upstreams(options: &ProjectOptions, findings: &mut TreeFindings) -> (Vec<PathBuf>, bool) {
    let file = options.packages.join("upstream.json");
    let (home, local) = (&options.runner.home, &options.local_sources);
    match upstream::expanded(&options.packages, home, &options.fetch, local) {
        Ok((found, None)) => (found, true),
        Ok((found, Some(path))) => {
            let message = "the upstream is not expanded: its packages, and what they are required for, are not checked";
            let hint = "expand it: mkpanda fetch";
            findings.warning(Rule::Upstream, whole(&path, message.to_owned(), hint));
            (found, false)
        }
        Err(UpstreamError::Tree(TreeError::Problems(reports))) => {
            findings.errors(reports);
            (Vec::new(), false)
        }
        Err(error) => {
            let problem = Problem { hint: error.hint(), ..Problem::whole(with_causes(&error)) };
            findings.error(Rule::Invalid, problem.in_file(&file, ""));
            (Vec::new(), false)
        }
    }
}

/// Adds the faults that keep packages and trees from being built.
fn faults(
    tree: &PackageTree,
    keys: &BTreeSet<PackageKey>,
    is_tree: bool,
    is_whole: bool,
    findings: &mut TreeFindings,
) {
    for key in keys {
        findings.errors(tree.faults_of_package(key));
    }
    // What an upstream would have is not missing.
    if !is_whole {
        return;
    }
    findings.errors(tree.faults_of(keys));
    if is_tree {
        findings.errors(tree.faults_of_trees());
    }
}

fn oddities(
    tree: &PackageTree,
    keys: &BTreeSet<PackageKey>,
    is_tree: bool,
    is_whole: bool,
    findings: &mut TreeFindings,
) {
    for package in keys.iter().filter_map(|key| tree.package(key)) {
        for report in &package.warnings {
            findings.warning(Rule::Odd, report.clone());
        }
        let mut seen = BTreeSet::new();
        for required in package.info.requires.iter().filter(|required| !seen.insert(*required)) {
            let message = format!("{} requires {required} twice", package.key);
            let report = package.problem_at_requirement(required, message, "take one of them out");
            findings.warning(Rule::RepeatedRequirement, report);
        }
        scripts::check(package, findings);
        sources::check(package, findings);
        folders::check_extra(package, findings);
    }
    let names: BTreeSet<&PackageName> = keys.iter().map(|key| &key.name).collect();
    for name in names {
        scripts::check_stray(tree, name, findings);
    }
    if !is_tree {
        return;
    }
    folders::check_root(tree, findings);
    if !is_whole {
        return;
    }
    for report in tree.oddities_of_trees() {
        findings.warning(Rule::Odd, report);
    }
    let Some(members) = tree.memberships() else { return };
    for package in keys.iter().filter_map(|key| tree.package(key)) {
        let is_own = package.folder.parent() == Some(tree.root());
        if is_own && !members.contains_key(&package.key) {
            let message = format!(
                "{} is part of no tree: no treeinfo.json has it, and nothing that one has requires it",
                package.key
            );
            let hint = "name it in core_package_list or variants of a treeinfo.json, or remove it";
            findings.warning(Rule::UnneededPackage, package.problem_at(&[], message, hint));
        }
    }
}

/// Adds the differences between the tree and its lock.
fn lock(
    options: ProjectOptions,
    tree: PackageTree,
    keys: &BTreeSet<PackageKey>,
    findings: &mut TreeFindings,
) {
    let packages = options.packages.clone();
    let checked = Project::of_tree(options, tree).and_then(|project| {
        let order = project.tree.order(keys).map_err(ProjectError::Tree)?;
        project.check_lock(&order)
    });
    match checked {
        Ok(()) => {}
        Err(ProjectError::Lock(faults)) => {
            for item in &faults.items {
                let report = whole(&faults.path, item.to_string(), &faults.hint());
                findings.error(Rule::Lock, report);
            }
        }
        Err(error) => {
            let problem = Problem { hint: error.hint(), ..Problem::whole(with_causes(&error)) };
            findings.error(Rule::Invalid, problem.in_file(&packages, ""));
        }
    }
}
