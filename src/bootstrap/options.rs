//! The options of a bootstrap.

use std::path::Path;

use crate::archive::Limits;

/// Options of [`write_bootstrap`](super::write_bootstrap).
#[derive(Debug, Clone, Copy)]
pub struct BootstrapOptions<'a> {
    /// The latest time that an entry may have, in seconds since 1970.
    pub source_date_epoch: u64,
    /// How many threads compress; the bytes don't depend on it.
    pub threads: u32,
    /// What each package may unpack to.
    pub limits: Limits,
    /// Where the files of a package are kept for a moment if its archive isn't in order, as that
    /// of another tool.
    pub scratch: &'a Path,
    /// Where parts are kept for the next bootstrap, and taken from.
    pub parts: Option<&'a Path>,
}
