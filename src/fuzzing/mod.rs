//! Fuzz targets. `tests/fuzz` runs these functions under libFuzzer, and the tests here replay the
//! seeds and all inputs found so far, on a stable compiler.
//!
//! ```text
//! tests/fuzz/targets/<target>.rs       hands libFuzzer's bytes to the function called so
//! tests/fuzz/seeds/<target>/…          what fuzzing starts from; `scripts/fuzz` adds binary ones
//! tests/fuzz/regressions/<target>/…    inputs that broke something once
//! tests/fuzz/dictionaries/*.dict       words of the formats
//! ```
//!
//! A target takes any bytes, returns true if the input was accepted, and panics if the code
//! violates an invariant: beside its own panics, that means writing outside of the destination,
//! accepting an input that another of our readers refuses, changing values between writing and
//! reading, and displaying control characters. Archives are given as [`recipe`]s, which are texts:
//! mutated bytes would never pass a header's checksum.

mod archives;
mod compression;
mod dockerfiles;
mod documents;
mod guarded_folder;
mod images;
mod machines;
mod model;
mod names;
mod recipe;
mod registry;
mod signatures;
#[cfg(test)]
mod tests;

use crate::archive::ArchiveLimits;

/// Fuzz target; returns true if the input was accepted.
pub type FuzzTarget = fn(&[u8]) -> bool;

/// All targets, by name.
pub const TARGETS: [(&str, FuzzTarget); 24] = [
    ("buildinfo", documents::buildinfo),
    ("treeinfo", documents::treeinfo),
    ("upstream", documents::upstream),
    ("pkginfo", documents::pkginfo),
    ("config", documents::config),
    ("hash", documents::hash),
    ("late_config", machines::late_config),
    ("late_package", machines::late_package),
    ("package_list", machines::package_list),
    ("dockerfile", dockerfiles::dockerfile),
    ("dockerignore", dockerfiles::dockerignore),
    ("names", names::names),
    ("image_documents", images::documents),
    ("image_archive", images::archive),
    ("image_layout", images::layout),
    ("registry", registry::answers),
    ("signature", signatures::signature),
    ("layer", archives::layer),
    ("package", archives::package),
    ("package_stream", archives::package_stream),
    ("source_tar", archives::source_tar),
    ("source_stream", archives::source_stream),
    ("source_zip", archives::source_zip),
    ("xz", compression::xz),
];

/// Limits small enough to be exceeded quickly, and large enough for ordinary inputs.
const LIMITS: ArchiveLimits = ArchiveLimits {
    max_bytes: 4 << 20,
    max_entries: 400,
    max_name_bytes: 1 << 16,
    ..ArchiveLimits::NONE
};

/// Runs the target of a name; says whether the input was taken.
pub fn run(name: &str, data: &[u8]) -> bool {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    let (_, target) = target.expect("a target is in the table");
    target(data)
}
