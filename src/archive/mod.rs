//! Archives: deterministic packing, and safe unpacking of packages, sources and image layers.
//!
//! ```text
//! pack     a directory -> tar -> XZ, the same bytes for the same tree; `TarWriter` below it
//! read     a package's entries, checked, without writing anything
//! unpack   packages and source archives (tar or zip) into a directory
//! layer    an image layer into a directory that overlayfs takes as a layer; `layer_pack` the inverse
//! ```
//!
//! What comes in is hostile. All of it goes through `tar_read`, which bounds every length before
//! it believes it, and all that is written goes through `destination`, which works below one
//! open directory and never follows a symlink out of it. Nothing is held in memory but names:
//! [`Limits`] bounds their sum, the number of entries and the bytes that come out.
//!
//! A function that fails leaves what it had written: the caller unpacks into a folder of its own,
//! and removes that folder.

mod destination;
mod error;
mod folders;
mod layer;
mod layer_owners;
mod layer_pack;
mod layer_scan;
mod limits;
mod names;
mod pack;
mod path;
mod pax;
mod plain;
mod read;
mod scan;
mod source;
mod tar_content;
mod tar_read;
mod tar_write;
mod unpack;
mod xz;
mod zip_read;

#[cfg(test)]
mod tests;

pub use error::{PackError, ReadError, UnpackError};
pub use layer::{LayerOptions, LayerSummary, Owners, unpack_layer};
pub use layer_owners::{FileIdentity, Noted, OWNER_ATTRIBUTE, Ownable, OwnerNote, tell_owner};
pub use layer_pack::{LayerOwners, PackedLayer, Times, pack_layer};
pub use limits::{LimitExceeded, Limits};
pub use pack::{PackOptions, pack_directory, pack_package};
pub use path::{EntryPath, NameProblem};
pub use plain::{is_tar, unpack_tar};
pub use read::{EntryKind, PackageEntry, PackageIndex, PackageReader, verify_package};
pub use source::{is_source_archive, unpack_source_archive};
pub(crate) use tar_read::{MemberKind, TarReader};
pub use tar_write::{Attributes, PackSummary, TarWriter};
pub use unpack::{UnpackSummary, unpack_package};
pub use xz::{
    Block, BlockEncoder, BlockRecord, BlockSink, Crc64, StreamWriter, XzReader, XzWriter,
    archive_identity,
};
