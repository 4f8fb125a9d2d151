//! Errors of the commands that look at a tree or make a new one.

use std::path::PathBuf;

use super::ui::counted;
use crate::inspect::explain::RecordsError;
use crate::package::Variant;

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
    /// A package that is not part of a tree variant.
    #[error("{name} is not part of the tree {variant}")]
    NotInTree {
        /// The package.
        name: String,
        /// The tree variant.
        variant: Variant,
    },
    /// A package's id cannot be told.
    #[error("{package} has no id that can be told here: {why}")]
    NoId {
        /// The package.
        package: String,
        /// Reason.
        why: String,
    },
    /// Records would have to be fetched.
    #[error("--against {0}: records are read on this machine alone")]
    RemoteRecords(String),
    /// Another build is not known.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

impl InspectError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Check { .. } => None,
            Self::NoSuchPackage { near: Some(near), .. } => Some(format!("did you mean {near}?")),
            Self::NoSuchPackage { .. } => Some("mkpanda list shows all packages".to_owned()),
            Self::NotInTree { .. } => {
                Some("name another tree by --variant, or none for all packages".to_owned())
            }
            Self::NoId { .. } => Some(
                "fetch what is missing (mkpanda fetch), or build the package's image: mkpanda tree".to_owned(),
            ),
            Self::RemoteRecords(_) => Some(
                "copy its records: records/NAME/ID.json of the cache, and give that file".to_owned(),
            ),
            Self::Records(error) => error.hint(),
        }
    }
}

fn found(errors: usize, warnings: usize) -> String {
    let errors = counted(errors, "error");
    if warnings == 0 { errors } else { format!("{errors}, {}", counted(warnings, "warning")) }
}
