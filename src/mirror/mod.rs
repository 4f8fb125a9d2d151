//! Mirrors: all external inputs of a tree's builds, in one folder or one tar archive
//! (docs/format.md, "Mirrors"; docs/air-gap.md).
//!
//! ```text
//! <mirror>/sha1/<sha1>                          sources of kind url and url_extract
//! <mirror>/bundles/<commit>.bundle              sources of kind git
//! <mirror>/images/                              an OCI layout: builder images and their bases
//! <mirror>/packages/<name>/<id>.tar.xz, .sha256 packages, as in a repository
//! <mirror>/mkpanda-mirror.json                  the lock file: every file with SHA-256, size and origin
//!
//! $MKPANDA_HOME/mirrors/<sum of the path>.json  state of the files when their sums were last taken
//! ```
//!
//! ```text
//! contents  what a mirror is to hold: plain data, made of what was fetched
//! existing  what a place holds already, by its lock file
//! changes   the difference, and the contents of new files
//! write     the difference carried out, in a folder; archive: as a tar archive
//! verify    every file against the lock file
//! ```
//!
//! A file gets its name when complete; the lock file comes last, before dropped files are removed.
//! So a killed creation leaves a usable mirror, and the next creation completes the contents.
//! Creations of one mirror exclude each other, by a lock in the builder's own folder.

mod archive;
mod changes;
mod contents;
mod error;
mod existing;
mod verify;
mod write;

pub use changes::MirrorSummary;
pub use contents::MirrorContents;
pub use error::MirrorError;
pub use existing::ExistingMirror;
pub use verify::{MirrorFault, verify};
pub use write::write;
