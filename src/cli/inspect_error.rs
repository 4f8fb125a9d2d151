//! Errors of the commands that look at a tree or make a new one.

use std::path::PathBuf;

use super::ui::counted;
use crate::base::suggestion::meant_or;
use crate::build::project::WithoutId;
use crate::inspect::explain::RecordsError;
use crate::package::Variant;
use crate::scaffold::{DeclareError, ScaffoldError};

/// A tree cannot be looked at, or has faults, or nothing new can be made.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A tree has errors or, with `--strict`, warnings.
    #[error("{}", found(*errors, *warnings))]
    Check {
        /// Number of errors.
        errors: usize,
        /// Number of warnings.
        warnings: usize,
    },
    /// A package that the tree does not have.
    #[error("{} has no package {name}", root.display())]
    NoSuchPackage {
        /// Name as it was typed.
        name: String,
        /// The packages folder.
        root: PathBuf,
        /// Package with a similar name.
        near: Option<String>,
    },
    /// No package is named, and the folder is not that of one.
    #[error("no package is named, and this is not a package's folder")]
    NoPackageNamed,
    /// A package that is not part of a tree variant.
    #[error("{name} is not part of the tree {variant}")]
    NotInTree {
        /// The package.
        name: String,
        /// The tree variant.
        variant: Variant,
    },
    /// A package's id cannot be told.
    #[error("{package} has no id that can be told here: {}", without.why)]
    NoId {
        /// The package.
        package: String,
        /// Reason.
        without: WithoutId,
    },
    /// Records would have to be fetched.
    #[error("--against {0}: records are read on this machine alone")]
    RemoteRecords(String),
    /// Another build is not known.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A tree or a package cannot be made.
    #[error(transparent)]
    Scaffold(#[from] ScaffoldError),
    /// A source for a tree, which has none.
    #[error("--from is for a package, and without a name this makes a tree")]
    SourceWithoutPackage,
    /// A sum that would have to be fetched.
    #[error("--from {0}: without a network, its sum is not known")]
    SumOffline(String),
}

impl From<DeclareError> for InspectError {
    fn from(error: DeclareError) -> Self {
        Self::Scaffold(error.into())
    }
}

impl InspectError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Check { .. } => None,
            Self::NoSuchPackage { near, .. } => {
                Some(meant_or(near.as_deref(), "list all packages: mkpanda list"))
            }
            Self::NoPackageNamed => Some(
                "name one: mkpanda explain PACKAGE\nlist all packages: mkpanda list".to_owned(),
            ),
            Self::NotInTree { .. } => {
                Some("name another tree by --variant, or none for all packages".to_owned())
            }
            Self::NoId { without, .. } => without.hint.clone(),
            Self::RemoteRecords(_) => Some(
                "copy its records: records/NAME/ID.json of the cache, and give that file".to_owned(),
            ),
            Self::Records(error) => error.hint(),
            Self::Scaffold(error) => error.hint(),
            Self::SourceWithoutPackage => Some(
                "make a tree first (mkpanda init DIR), and in it a package: mkpanda -C DIR init NAME --from URL"
                    .to_owned(),
            ),
            Self::SumOffline(_) => {
                Some("give the sum, --sha1 SUM, or leave --offline out".to_owned())
            }
        }
    }
}

fn found(errors: usize, warnings: usize) -> String {
    let errors = counted(errors, "error");
    if warnings == 0 { errors } else { format!("{errors}, {}", counted(warnings, "warning")) }
}
