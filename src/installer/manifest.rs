//! `installer.json`: contents of an installer, and names of members.

use serde::{Deserialize, Serialize};

use crate::base::digest::Sha256Sum;
use crate::package::PackageId;

/// Names of members.
pub(super) const PROGRAM: &str = "pkgpanda";
pub(super) const MANIFEST: &str = "installer.json";
pub(super) const PROVIDER: &str = "provider/";
pub(super) const SERVE: &str = "serve/";
pub(super) const OWN_TREE: &str = "installer/";

/// Number of the format.
pub(super) const FORMAT: u32 = 1;

/// Contents of an installer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallerManifest {
    /// Number of the format.
    pub format: u32,
    /// Name of the variant, empty for the default one.
    pub variant: String,
    /// Version of the product.
    pub version: String,
    /// Commit of the tree.
    pub commit: String,
    /// Name of the release.
    pub tag: String,
    /// Name of the provider.
    pub provider: String,
    /// Id of the bootstrap for hosts.
    pub bootstrap_id: String,
    /// Sum of the bootstrap's archive.
    pub bootstrap_sha256: Sha256Sum,
    /// Id of the bootstrap of the installer's own tree.
    pub installer_bootstrap_id: Option<String>,
    /// Sum of the static program.
    pub pkgpanda_sha256: Sha256Sum,
    /// Ids of the packages for hosts.
    pub packages: Vec<PackageId>,
}
