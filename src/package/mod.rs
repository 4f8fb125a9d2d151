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

pub use buildinfo::{BuildInfo, StateDirectory};
pub use id::PackageId;
pub use name::{DEFAULT_IMAGE, GroupName, ImageName, NameError, PackageName, UserName, Version};
pub use problem::{Problem, Report};
pub use requirement::Requirement;
pub use source::{CommitId, FileSource, Source, SourceName, SourceSpec, UrlError};
pub use treeinfo::TreeInfo;
pub use variant::{Variant, VariantError, variant_of_file};

/// Unit names that packages may not have, because the host side owns them (docs/format.md, "Units").
pub const RESERVED_UNITS: [&str; 3] =
    ["dcos.target", "dcos-download.service", "dcos-setup.service"];
