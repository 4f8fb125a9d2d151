//! What a package is, as its folder says: pure types and parsers, from text to checked values.
//!
//! Nothing here reads a file or runs a process. Text becomes a [`json::Node`] tree that remembers
//! where each value stands, and that becomes a [`BuildInfo`], a [`TreeInfo`] or an upstream
//! [`Source`]; an error names the file, the line and the column (docs/format.md, "JSON
//! files").

mod buildinfo;
pub mod contents;
pub mod hash;
mod id;
pub mod json;
mod name;
pub mod problem;
mod requirement;
mod source;
mod treeinfo;
mod variant;

pub(crate) use buildinfo::wrong_variable;
pub use buildinfo::{BuildInfo, StateDirectory};
pub use id::PackageId;
pub use name::{DEFAULT_IMAGE, GroupName, ImageName, NameError, PackageName, UserName, Version};
pub use problem::{Problem, Report};
pub use requirement::Requirement;
pub use source::{CommitId, FileSource, Source, SourceName, SourceSpec, UrlError};
pub use treeinfo::TreeInfo;
pub use variant::{Variant, VariantError, variant_of_file};

/// True if a variable can have this name: a shell's identifier. Any other one is code, or a line of its own,
/// in the file `environment.export`.
pub fn is_variable_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Unit names that a package may not bring, because the host side owns them (docs/format.md,
/// "Units").
pub const RESERVED_UNITS: [&str; 3] =
    ["dcos.target", "dcos-download.service", "dcos-setup.service"];
