//! Archives: deterministic packing, and safe unpacking of packages, sources and image layers.
//!
//! ```text
//! pack     a directory -> tar -> XZ, the same bytes for the same tree; `TarWriter` below it
//! compression  what a stream is compressed by, and its content
//! read     a package's entries, checked, without writing anything
//! unpack   packages and source archives (tar or zip) into a directory
//! layer    an image layer into a directory that overlayfs takes as a layer; `layer_pack` the inverse
//! ```
//!
//! Archives are untrusted. All input goes through `tar_read`, which checks every length before its
//! use, and all output goes through `destination`, which works below one open directory and never
//! follows a symlink out of it. Only names are kept in memory: [`ArchiveLimits`] bounds their sum, the
//! number of entries and the unpacked bytes.
//!
//! A function that fails leaves its partial output: the caller unpacks into a folder of its own,
//! and removes that folder.

mod attributes;
pub mod compression;
mod destination;
mod error;
mod folders;
#[cfg_attr(not(feature = "builder"), expect(dead_code, reason = "layers need it"))]
mod hiding;
#[cfg(feature = "builder")]
mod kept_attributes;
#[cfg(feature = "builder")]
mod layer;
#[cfg(feature = "builder")]
mod layer_owners;
#[cfg(feature = "builder")]
mod layer_pack;
#[cfg(feature = "builder")]
mod layer_scan;
mod limits;
#[cfg(feature = "builder")]
mod look;
mod members;
mod names;
#[cfg_attr(not(feature = "builder"), expect(dead_code, unreachable_pub, reason = "layers need it"))]
mod overlay_form;
#[cfg(feature = "builder")]
mod pack;
mod package_entry;
mod path;
mod pax;
#[cfg(feature = "builder")]
mod plain;
mod read;
#[cfg(feature = "builder")]
mod repeated_entry;
#[cfg(feature = "builder")]
mod scan;
#[cfg(feature = "builder")]
mod source;
#[cfg(feature = "builder")]
mod source_writer;
mod sparse_map;
mod tar_block;
mod tar_content;
mod tar_outline;
#[cfg_attr(not(feature = "builder"), expect(dead_code, reason = "layers and sources need it"))]
mod tar_read;
mod tar_sparse;
mod tar_write;
mod unpack;
mod write_error;
mod xz;
#[cfg(feature = "builder")]
mod zip_read;

#[cfg(test)]
#[cfg(feature = "builder")]
pub(crate) mod tests;

pub use attributes::Attributes;
pub use compression::Compression;
pub use error::{PackError, ReadError, UnpackError, limit_remedy};
#[cfg(feature = "builder")]
pub use kept_attributes::is_kept_attribute;
#[cfg(feature = "builder")]
pub use layer::{LayerOptions, LayerSummary, UnpackedOwners, unpack_layer};
#[cfg(feature = "builder")]
pub use layer_owners::{FileIdentity, NotedId, OWNER_ATTRIBUTE, Ownable, OwnerNote, write_owner};
#[cfg(feature = "builder")]
pub use layer_pack::{EntryTimes, LayerOwners, PackedLayer, pack_layer};
pub use limits::{ArchiveLimits, LimitExceeded};
#[cfg(feature = "builder")]
pub use look::is_html;
#[cfg(feature = "builder")]
pub use overlay_form::{Whiteouts, is_opaque_at, is_whiteout_at};
#[cfg(feature = "builder")]
pub use pack::{PackOptions, pack_directory, pack_package};
pub use package_entry::{EntryKind, HeaderWriter, PackageEntry, package_outline};
pub use path::{EntryPath, NameProblem, readable};
#[cfg(feature = "builder")]
pub use plain::{ARCHIVE_START, begins_as_archive, is_tar, unpack_plain, unpack_tar};
pub use read::{PackageIndex, PackageReader, verify_package};
#[cfg(feature = "builder")]
pub use source::unpack_source_archive;
#[cfg(feature = "builder")]
pub(crate) use tar_read::{MemberKind, TarReader};
pub use tar_write::{ARCHIVE_END, PackSummary, TarWriter};
pub use unpack::{UnpackSummary, Watcher, unpack_package, unpack_package_watched};
pub use xz::XzReader;
#[cfg(feature = "builder")]
pub use xz::{
    Block, BlockEncoder, BlockRecord, BlockSink, CompressionLevel, Crc64, OpenBlock, OwnBlock,
    Span, StreamWriter, XzWriter, own_blocks,
};
