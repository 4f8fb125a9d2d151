//! Installed packages of a machine: the repository, and the active set of them (docs/format.md, "On a
//! host").
//!
//! ```text
//! <repository>/<id>/                 packages, unpacked; `repository`
//! <repository>/.pkgpanda/            what was recorded of them when they came; `record`
//! <root>/bin etc include lib …       the active set: `install` says what it consists of
//! <root>/<any of these>.new          the set that is being prepared; `prepare`
//! <root>/<any of these>.old          the set before
//! <root>/install_progress            the swap that is under way; `swap`
//! <state>/.pkgpanda/                 the set to go back to, where no active.old says it; `record`
//! <root>/.pkgpanda.pending           services are still to be started; `pending`
//! <systemd>/dcos.target.wants/       links to the units of the active set; `units`
//! <systemd>/<unit>, <unit>.unit.new  copies of the packages' units; the next set's
//! <state>/<name>/                    what services keep
//! <config>/roles, setup-flags        what kind of machine it is, and how it is set up
//! ```
//!
//! An activation reads and checks everything, prepares, and only then swaps, by renaming. During
//! the swap, `install_progress` exists; the next command that finds the file completes the swap
//! before anything else. A prepared set without it was never meant to become active, and is
//! removed.
//!
//! A change of the active set needs a lock on the root, a change of the repository a lock on the
//! repository; a command that needs both takes the root's first. Neither leaves a file (`lock`).

mod activate;
mod activate_error;
mod active;
mod check;
mod fetch;
mod fileless;
mod interruptible;
mod late;
mod lock;
mod machine_units;
mod manage;
mod next_set;
mod paths;
mod pending;
mod prepare;
mod prepare_error;
mod preview;
mod progress;
mod record;
mod relocate;
mod repository;
mod repository_error;
mod service_configuration;
mod setup;
mod signed;
mod state;
mod swap;
mod sync;
mod systemd;
mod uninstall;
mod unit_name;
mod unit_text;
mod units;
mod users;
mod verify;

pub use activate::{ActivateError, Actor, Intended};
pub use active::ActiveError;
pub use check::{CheckError, Checks, HostCheck};
pub use fetch::FetchStep;
pub use late::LateError;
pub use machine_units::MachineUnit;
pub use manage::RemoveError;
pub use paths::{Host, HostOptions, PathError};
pub use prepare_error::PrepareError;
pub use preview::{NameChanges, Preview};
pub use progress::{ProgressError, SwapProgress, SwapStage};
pub use repository::{Add, HostRepositoryError, PackageRepository};
pub use service_configuration::{AppliedSettings, ServiceConfigurationError};
pub use setup::{SetupError, flagged_repository};
pub use signed::UntrustedFile;
pub use state::StateError;
pub use swap::SwapError;
pub use systemd::{Systemd, SystemdError};
pub use uninstall::UninstallError;
pub use users::{Accounts, HostUserError, NeededUsers, NewUser};
pub use verify::{FileDifference, VerifyError};

pub(crate) use activate::PASSED_OVER;
pub(crate) use late::{BEGIN as LATE_BEGIN, END as LATE_END};
#[cfg(all(any(test, fuzzing), feature = "builder"))]
pub(crate) use {late::LateConfig, setup::list as package_list};
