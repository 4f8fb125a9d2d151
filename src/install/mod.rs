//! Install roots: the contents of `/opt/mesosphere`, planned as data and then written (docs/format.md,
//! "On a host"). Builds have one of their dependencies, bootstraps and hosts one of the active packages.
//!
//! ```text
//! bin/ etc/ include/ lib/          links to the packages' files, folders merged
//! dcos.target.wants/               links to copies of the packages' units
//! active/<name>                    a link to each package
//! environment, environment.export  the packages' variables
//! etc/dcos-service-configuration.json, active.buildinfo.full.json
//! packages/<id>/                   the packages, which are put there by somebody else
//! ```
//!
//! [`PackageContents`] has the relevant contents of a package, [`plan_install`] merges packages and
//! finds all conflicts, and [`InstallPlan::write`] writes the result. Packages are hostile: of
//! their links none is followed out of the package.

mod contents;
mod environment;
mod error;
mod info;
mod listing;
mod plan;
mod write;

#[cfg(test)]
mod tests;

pub use contents::PackageContents;
pub use environment::environment_warnings;
pub use error::{EntryOwner, InstallError, SysctlValue};
pub use info::PackageInfo;
pub use plan::{InstallNode, InstallOptions, InstallPlan, Unit, Units, plan_install};
pub use write::WriteError;

/// Path of the install root for its users.
pub const INSTALL_ROOT: &str = "/opt/mesosphere";

/// The folders of packages that are put together.
pub const WELL_KNOWN: [&str; 4] = ["bin", "etc", "include", "lib"];

/// The folder of packages whose files are units.
pub const WANTS: &str = "dcos.target.wants";
