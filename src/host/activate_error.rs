//! Errors of changing the active set, with remedies.

use std::io;

use super::active::ActiveError;
use super::machine_units::MachineUnit;
use super::paths::PathError;
use super::prepare_error::PrepareError;
use super::repository::HostRepositoryError;
use super::state::StateError;
use super::swap::SwapError;
use super::systemd::SystemdError;
use super::users::HostUserError;
use crate::base::suggestion::meant_or;
use crate::install::{InstallError, WANTS};
use crate::package::{PackageId, PackageName};

/// The active set can't be changed.
#[derive(Debug, thiserror::Error)]
pub enum ActivateError {
    /// There is no install root, or it can't be locked.
    #[error("can't lock the install root")]
    Lock(#[source] io::Error),
    /// The active set can't be told.
    #[error(transparent)]
    Active(#[from] ActiveError),
    /// A path can't be used.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A package can't be taken.
    #[error(transparent)]
    Package(Box<HostRepositoryError>),
    /// The packages don't fit.
    #[error(transparent)]
    Install(Box<InstallError>),
    /// No package of that name is active.
    #[error("no package called {name} is active, so there is none to swap for another")]
    NotActive {
        /// The name.
        name: PackageName,
        /// Name of an active package that is like it.
        near: Option<String>,
    },
    /// The name of a unit is not valid.
    #[error("package {package} has the unit {unit:?}, which is not a valid unit name")]
    UnitName {
        /// The package.
        package: PackageId,
        /// The unit.
        unit: String,
    },
    /// A unit that the machine has from elsewhere.
    #[error("package {package} has the unit {unit}, but the machine has one of its own: {found}")]
    ForeignUnit {
        /// The package.
        package: PackageId,
        /// The unit.
        unit: String,
        /// The machine's.
        found: MachineUnit,
    },
    /// A user cannot be made or found.
    #[error(transparent)]
    User(Box<HostUserError>),
    /// systemd has failed.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// The next set can't be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A state directory cannot be made.
    #[error(transparent)]
    State(#[from] StateError),
    /// The swap failed.
    #[error(transparent)]
    Swap(#[from] SwapError),
    /// The set is active, but its services aren't running.
    #[error("the packages are active, but their services can't be started")]
    Start(#[source] SystemdError),
    /// The set is active, and some of its units have failed.
    #[error("the packages are active, but these units have failed: {}", .0.join(", "))]
    Failed(Vec<String>),
    /// The set is active, but a state directory is not its user's.
    #[error("the packages are active, but a state directory can't be given to its user")]
    Given(#[source] StateError),
    /// The run was interrupted before the swap.
    #[error("interrupted: the active set stays as it is")]
    Interrupted,
    /// The run was interrupted after the swap.
    #[error("interrupted: the packages are active, and systemd goes on starting their services")]
    Unwaited,
    /// The set to go back to can't be recorded.
    #[error("can't record the set to go back to")]
    Archive(#[source] io::Error),
    /// There is no set to go back to.
    #[error("there is no set before this one to go back to")]
    NoArchive,
}

impl From<HostRepositoryError> for ActivateError {
    fn from(error: HostRepositoryError) -> Self {
        Self::Package(Box::new(error))
    }
}

impl From<InstallError> for ActivateError {
    fn from(error: InstallError) -> Self {
        Self::Install(Box::new(error))
    }
}

impl From<HostUserError> for ActivateError {
    fn from(error: HostUserError) -> Self {
        Self::User(Box::new(error))
    }
}

impl ActivateError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Active(error) => error.hint(),
            Self::Package(error) => error.hint(),
            Self::Install(error) => error.hint(),
            Self::User(error) => error.hint(),
            Self::Systemd(error) => error.hint(),
            Self::Start(error) => Some(match error.hint() {
                Some(hint) => format!("{hint}\nonce the cause is gone, start them: pkgpanda setup"),
                None => "once the cause is gone, start them: pkgpanda setup".to_owned(),
            }),
            Self::Failed(units) => Some(format!(
                "journalctl says more: journalctl --unit {}",
                units.first().map_or("dcos.target", String::as_str)
            )),
            Self::Swap(error) => error.hint(),
            Self::NotActive { near, .. } => Some(meant_or(
                near.as_deref(),
                "list what is active: pkgpanda active\nor make a whole set active: pkgpanda activate ID…",
            )),
            Self::UnitName { .. } => Some(format!(
                "the package must be built without that file in {WANTS}, or with a name such as x.service"
            )),
            Self::ForeignUnit { found: MachineUnit::File(path), .. } => {
                Some(format!("if it is a leftover, remove {}", path.display()))
            }
            Self::ForeignUnit { found: MachineUnit::Named(_) | MachineUnit::Special, .. } => {
                Some("the package must be built with another name for that unit".to_owned())
            }
            _ => None,
        }
    }
}
