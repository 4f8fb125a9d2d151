//! Stores of artifacts: a common interface for repositories, mirrors, caches and registries.
//!
//! ```text
//! key        names of objects: checked relative paths
//! backend    the interface: get, get a range, head, put if absent, replace, copy, list, delete
//! folder     a folder of this machine, or of a network filesystem
//! http       a web server's folder, which can only be read
//! tar        a tar archive, which can only be read
//! handle     a store as callers hold it: a backend and its reachability
//! prefix     a folder of another store
//! reach      which places are skipped for the rest of a run
//! error      failures; failure: their kinds; hinted: a remedy beside a failure
//! lock_file  the files of a mirror with their sums
//! cloud      S3, Azure, Google
//! registry   the registry protocol, and a repository's blobs as a store
//! signature  signatures of artifacts, and the keys that are trusted
//! oci        a repository of a registry, in which each object is an artifact
//! ```
//!
//! A place with an alternative is asked through [`Store::item`]: a mirror before a source's own URL, a
//! repository before a build. Its faults are warnings and never end a run whose other places work, and
//! a place that is down is skipped. A place without an alternative is asked through
//! [`Store::backend`]: all attempts are made, and only refused connections fail at once.
//!
//! `tests/conformance.rs` holds for every backend, including new ones.

mod backend;
#[cfg(feature = "builder")]
pub mod cloud;
mod error;
mod failure;
mod folder;
mod handle;
mod hinted;
mod http;
mod key;
mod lock_file;
#[cfg(feature = "builder")]
pub mod oci;
mod prefix;
mod reach;
#[cfg(feature = "builder")]
pub mod registry;
pub mod signature;
mod tar;

#[cfg(test)]
pub(crate) mod tests;

pub use backend::{
    About, Backend, GotObject, Listed, NO_CACHE, ObjectContent, ObjectHead, Put, StoreTransfer,
};
pub use error::StoreError;
pub use failure::FailureKind;
pub use folder::FolderBackend;
pub use handle::{Store, StoreAccess, StoreUrlError, is_tar_name};
pub use hinted::HintedError;
pub use http::HttpBackend;
pub use key::{ObjectKey, ObjectKeyError};
pub use lock_file::{LOCK_FILE, LONGEST_LOCK, LockFile, LockFileError, LockedFile};
pub use prefix::PrefixBackend;
pub use reach::{Consequence, Reach};
pub use tar::TarBackend;
