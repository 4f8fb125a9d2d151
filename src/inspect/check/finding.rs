//! Findings of a check, and the rules that they come from.

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use crate::package::{Problem, Report};

/// Weight of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Builds fail.
    Error,
    /// Builds may work, with a probable mistake.
    Warning,
}

/// A fault or an oddity, at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFinding {
    /// Weight.
    pub severity: Severity,
    /// Name of the rule.
    pub rule: Rule,
    /// Place and text.
    pub report: Report,
}

/// Rules that findings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A file or a reference in a file is not valid.
    Invalid,
    /// The lock does not fit the tree.
    Lock,
    /// An upstream is not expanded.
    Upstream,
    /// Builds warn of this, too.
    Odd,
    /// A package is part of no tree.
    UnneededPackage,
    /// A requirement is given twice.
    RepeatedRequirement,
    /// A build script is not executable.
    NotExecutable,
    /// A build script names no interpreter.
    NoShebang,
    /// A build script has line ends of DOS.
    DosLineEnds,
    /// A build script belongs to no variant.
    StrayScript,
    /// A source is not mentioned by the build script.
    UnusedSource,
    /// A source is fetched over an unencrypted connection.
    PlainTransport,
    /// A source on this machine is not there.
    MissingFile,
    /// A source on this machine has another sum.
    WrongSum,
    /// A file in `extra/` is large.
    LargeFile,
    /// A folder looks like a package without a description.
    NotAPackage,
}

/// Findings so far, each once.
#[derive(Debug, Default)]
pub(super) struct TreeFindings {
    pub(super) all: Vec<TreeFinding>,
    seen: HashSet<String>,
}

impl TreeFindings {
    pub(super) fn error(&mut self, rule: Rule, report: Report) {
        self.add(Severity::Error, rule, report);
    }

    pub(super) fn errors(&mut self, reports: Vec<Report>) {
        for report in reports {
            self.error(Rule::Invalid, report);
        }
    }

    pub(super) fn warning(&mut self, rule: Rule, report: Report) {
        self.add(Severity::Warning, rule, report);
    }

    fn add(&mut self, severity: Severity, rule: Rule, report: Report) {
        // Variants of a package share files, and each would report them again.
        if self.seen.insert(report.to_string()) {
            self.all.push(TreeFinding { severity, rule, report });
        }
    }
}

/// Reports a fault or an oddity of a file as a whole.
pub(super) fn whole(path: &Path, message: String, hint: &str) -> Report {
    Problem::whole(message).hint(hint).in_file(path, "")
}
