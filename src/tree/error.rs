//! Errors of reading a tree.

use std::io;
use std::path::PathBuf;

use crate::base::escape::path_argument;
use crate::base::remedy::with_hint;
use crate::package::{PackageName, Report, Variant};

/// Reason why a tree cannot be built, or does not exist.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The packages directory itself can't be read.
    #[error("can't read the packages directory")]
    Unreadable(#[source] io::Error),
    /// Files have invalid content, each with its place.
    #[error("{}", list(.0))]
    Problems(Vec<Report>),
    /// `mkpanda tree` where no tree is described.
    #[error("{0} has no treeinfo.json, so it describes no tree")]
    NoTree(PathBuf),
    /// The tree variant has no description.
    #[error("there is no tree variant {wanted}: {root} has {}", variants(.known))]
    NoSuchTree {
        /// The variant.
        wanted: Variant,
        /// The packages directory.
        root: PathBuf,
        /// Existing variants.
        known: Vec<Variant>,
    },
    /// Two folders with a Dockerfile make images of one name.
    #[error("the builder {name} is made in two places: {} and {}", builder.display(), other.display())]
    BuilderTwice {
        /// The name.
        name: PackageName,
        /// The folder of a builder.
        builder: PathBuf,
        /// A package's `docker/`, or another builder's folder.
        other: PathBuf,
    },
    /// The folder is not a package.
    #[error("{root} has no package {name}")]
    NoSuchPackage {
        /// The package.
        name: PackageName,
        /// The packages directory.
        root: PathBuf,
    },
    /// A folder that is no package of the tree.
    #[error("{0} is not a package")]
    NotAPackage(PathBuf),
    /// A variant that a package doesn't have.
    #[error("package {name} has no variant {wanted}: it has {}", variants(.known))]
    NoSuchVariant {
        /// The package.
        name: PackageName,
        /// The variant.
        wanted: Variant,
        /// Existing variants.
        known: Vec<Variant>,
    },
    /// An upstream that has itself as upstream, directly or not.
    #[error("an upstream leads back to itself: {}", .0.join(" -> "))]
    UpstreamCycle(Vec<String>),
    /// An upstream whose checkout has no packages.
    #[error("the upstream's checkout has no packages folder: {0}")]
    UpstreamWithoutPackages(PathBuf),
}

impl TreeError {
    /// Remedy, if not obvious; [`Self::Problems`] have their own hints.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTree(root) if root.join("packages/treeinfo.json").is_file() => Some(format!(
                "the tree is in a folder of this one: mkpanda -C {} …",
                path_argument(&root.join("packages"))
            )),
            Self::NoTree(root)
                if let Some(above) = root.parent()
                    && above.join("treeinfo.json").is_file() =>
            {
                Some(format!("the tree is the folder above: mkpanda -C {} …", path_argument(above)))
            }
            Self::NoTree(root) => Some(format!(
                "go to the folder of a tree, or make one: mkpanda init NAME\nif the packages are here, write {}: {{}} is a tree of all packages",
                root.join("treeinfo.json").display()
            )),
            Self::NoSuchPackage { .. } | Self::NotAPackage(_) => {
                Some("a package is a folder that has a buildinfo.json".to_owned())
            }
            Self::NoSuchTree { .. } => Some(
                "default names the default one; to build a package: mkpanda -C FOLDER, its folder"
                    .to_owned(),
            ),
            Self::UpstreamWithoutPackages(_) => {
                Some("an upstream's packages lie in its folder packages/".to_owned())
            }
            Self::BuilderTwice { .. } => Some("rename one of the two folders".to_owned()),
            Self::Unreadable(_)
            | Self::Problems(_)
            | Self::NoSuchVariant { .. }
            | Self::UpstreamCycle(_) => None,
        }
    }
}

fn list(reports: &[Report]) -> String {
    let texts = reports.iter().map(|report| with_hint(report, report.hint()));
    texts.collect::<Vec<_>>().join("\n")
}

/// Variants as a person reads them: `<default>, one`.
pub(super) fn variants<'a>(known: impl IntoIterator<Item = &'a Variant>) -> String {
    let texts: Vec<String> = known.into_iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}
