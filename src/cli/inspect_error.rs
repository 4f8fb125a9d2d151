//! Errors of the commands that look at a tree or make a new one.

use std::path::PathBuf;

use super::ui::counted;
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
        }
    }
}

fn found(errors: usize, warnings: usize) -> String {
    let errors = counted(errors, "error");
    if warnings == 0 { errors } else { format!("{errors}, {}", counted(warnings, "warning")) }
}
