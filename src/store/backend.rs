//! The interface of all stores.

use std::fmt::Debug;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use super::error::StoreError;
use super::key::ObjectKey;
use crate::base::event::Observer;

/// Name of a transfer, and the observer that receives its events and may interrupt it.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "an observer is not shown")]
pub struct StoreTransfer<'t> {
    /// Name: `<package>/<source>`, a package, a file.
    pub subject: &'t str,
    /// Observer of progress and retries.
    pub observer: &'t dyn Observer,
}

/// Content of an object to be put.
#[derive(Debug, Clone, Copy)]
pub enum ObjectContent<'c> {
    /// Bytes in memory.
    Bytes(&'c [u8]),
    /// A local file and the number of bytes to send of it; each attempt reads the file again.
    File(&'c Path, u64),
}

impl ObjectContent<'_> {
    /// Number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

/// Description of an object, for people and other programs: mkpanda does not read it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About<'a> {
    /// Name of the package.
    pub name: Option<&'a str>,
    /// Version of the package, as stated in its tree.
    pub version: Option<&'a str>,
    /// Variant of the tree that the object was built for.
    pub variant: Option<&'a str>,
    /// Names of the packages that the package requires.
    pub requires: &'a [&'a str],
    /// Commit of the tree that the object was built from.
    pub commit: Option<&'a str>,
    /// Media type of the content, for readers over HTTP.
    pub content_type: Option<&'a str>,
    /// True if readers over HTTP have to ask again each time (`Cache-Control: no-cache`).
    pub is_uncached: bool,
}

/// Value of `Cache-Control` of an object that is not to be cached.
pub const NO_CACHE: &str = "no-cache";

/// Result of putting an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The store has taken the content.
    Written,
    /// The store had an object of that name, and keeps it.
    WasThere,
}

/// Result of getting an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GotObject {
    /// Number of bytes.
    pub bytes: u64,
    /// True if the content was put together from several answers, which may be of two different objects.
    pub is_pieced: bool,
}

/// Description of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectHead {
    /// Number of bytes, if the store tells.
    pub size: Option<u64>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Name.
    pub key: ObjectKey,
    /// Number of bytes.
    pub size: u64,
}

/// Gets an object into a temporary file of this machine, and calls `put` with its path and length.
pub(super) fn through_file<B: Backend + ?Sized, T>(
    backend: &B,
    from: &ObjectKey,
    transfer: &StoreTransfer<'_>,
    put: impl FnOnce(&Path, u64) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let unkept = |error| StoreError::Destination { key: from.clone(), error };
    let mut file = tempfile::NamedTempFile::new().map_err(unkept)?;
    let got = backend.get(from, file.as_file_mut(), transfer)?;
    put(file.path(), got.bytes)
}

/// A place that holds objects under keys.
///
/// Content is streamed in both directions: memory does not grow with an object's size. A backend makes
/// the attempts appropriate for its kind of place; a returned failure is final. Objects appear
/// whole or not at all, and never change afterwards, except by [`Backend::replace`] and
/// [`Backend::copy`]: a backend that finds a change may fail.
pub trait Backend: Debug + Send + Sync {
    /// Name for messages, the same for the life of the store: a path, or a URL without credentials.
    fn name(&self) -> String;

    /// Local folder, if the store is one.
    fn local_folder(&self) -> Option<&Path> {
        None
    }

    /// True if no network is needed to ask the store.
    fn is_local(&self) -> bool {
        self.local_folder().is_some()
    }

    /// Base URL of the objects for plain HTTP, with credentials, if any.
    fn base_url(&self) -> Option<&str> {
        None
    }

    /// Writes an object of at most so many bytes to a file, which is emptied first. A larger one is
    /// [`StoreError::TooLarge`], and fills no disk.
    fn get_within(
        &self,
        key: &ObjectKey,
        longest: u64,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError>;

    /// Writes an object as [`Backend::get_within`] does, of any size that the kind of store allows.
    fn get(
        &self,
        key: &ObjectKey,
        to: &mut File,
        transfer: &StoreTransfer<'_>,
    ) -> Result<GotObject, StoreError> {
        self.get_within(key, u64::MAX, to, transfer)
    }

    /// Writes a part of an object, and returns the number of its bytes: fewer than the range has, or
    /// none, where the object ends before.
    fn get_range(
        &self,
        key: &ObjectKey,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &StoreTransfer<'_>,
    ) -> Result<u64, StoreError>;

    /// Describes an object without downloading it.
    fn head(&self, key: &ObjectKey, transfer: &StoreTransfer<'_>)
    -> Result<ObjectHead, StoreError>;

    /// Puts an object with a description, unless there is one of that name; of several concurrent writers,
    /// one succeeds. Only a store with a place for descriptions keeps it; an existing object keeps its own.
    fn put_described(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError>;

    /// Puts an object as [`Backend::put_described`] does, without a description.
    fn put(
        &self,
        key: &ObjectKey,
        content: ObjectContent<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        self.put_described(key, content, &About::default(), transfer)
    }

    /// Puts an object in place of an existing one of that name. Readers get the one or the other,
    /// whole.
    fn replace(
        &self,
        _: &ObjectKey,
        _: ObjectContent<'_>,
        _: &About<'_>,
        _: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        let reason = "its objects are never replaced";
        Err(StoreError::Unsupported { store: self.name(), operation: "replace a file", reason })
    }

    /// Copies an object within the store, in place of the one of the new name, if there is one. A store
    /// that copies by itself keeps the description of the object; any other takes `about`.
    fn copy(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<(), StoreError> {
        let copy = |file: &Path, length| {
            self.replace(to, ObjectContent::File(file, length), about, transfer)
        };
        through_file(self, from, transfer, copy)
    }

    /// Copies an object within the store as [`Backend::copy`] does, unless there is one of the new name; of
    /// several concurrent writers, one succeeds.
    fn copy_new(
        &self,
        from: &ObjectKey,
        to: &ObjectKey,
        about: &About<'_>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Put, StoreError> {
        let copy = |file: &Path, length| {
            self.put_described(to, ObjectContent::File(file, length), about, transfer)
        };
        through_file(self, from, transfer, copy)
    }

    /// Lists all objects, or those below a folder, in the order of their keys.
    fn list(
        &self,
        below: Option<&ObjectKey>,
        transfer: &StoreTransfer<'_>,
    ) -> Result<Vec<Listed>, StoreError>;

    /// Removes an object; `false` if there was none.
    fn delete(&self, key: &ObjectKey, transfer: &StoreTransfer<'_>) -> Result<bool, StoreError>;
}
