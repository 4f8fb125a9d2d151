//! The options of a bootstrap.

use std::path::Path;

use crate::archive::ArchiveLimits;

/// Options of [`write_bootstrap`](super::write_bootstrap).
#[derive(Debug, Clone, Copy)]
pub struct BootstrapOptions<'a> {
    /// The latest time that an entry may have, in seconds since 1970.
    pub source_date_epoch: u64,
    /// Number of compressing threads, without effect on the bytes.
    pub threads: u32,
    /// Limits of each unpacked package.
    pub limits: ArchiveLimits,
    /// Folder for temporary files of packages whose archives are not in order, such as those of
    /// another tool.
    pub scratch: &'a Path,
    /// Folder of the parts of earlier bootstraps.
    pub parts: Option<&'a Path>,
}
