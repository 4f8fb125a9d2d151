//! The on-premises installer: a single executable file with everything hosts need
//! (docs/installer.md).
//!
//! ```text
//! #!/bin/sh …                                  `head`: checks the file, starts the pkgpanda in it
//! tar:
//!   pkgpanda                                   the static program; the first member
//!   installer.json                             `manifest`: names and sums of what follows
//!   provider/<file>                            the provider that configurations are rendered with
//!   installer/<id>.bootstrap.tar.xz            the bootstrap of the installer's own tree
//!   serve/bootstrap/<id>.bootstrap.tar.xz      what hosts get
//!   serve/bootstrap/<id>.active.json
//!   serve/packages/<name>/<id>.tar.xz
//! ```
//!
//! [`write()`] puts the file together: the same parts give the same bytes, and packages are copied as they
//! are. The rest runs in the program that the file carries, without a builder: [`InstallerFile`] reads
//! members in place, [`Genconf`] makes `genconf/serve` of `genconf/config.yaml`.
//!
//! `genconf/serve` is prepared as `genconf/.tmp-…` and takes the place of the one before by one
//! exchange of names. A folder `serve` without [`MARK`] in it is not ours, and stays.

mod error;
mod file;
mod genconf;
mod head;
mod input;
mod keep;
mod manifest;
mod password;
mod serve;
mod write;

pub use error::InstallerError;
pub use file::InstallerFile;
pub use genconf::{Genconf, ServeResult};
pub use keep::UPGRADE_SCRIPT;
pub use manifest::InstallerManifest;
pub use password::hash_password;
pub use serve::{INSTALL_SCRIPT, MARK};
pub use write::{BootstrapPart, InstallerParts, file_name, write};
