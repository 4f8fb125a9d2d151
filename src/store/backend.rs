//! The interface of all stores.

use std::fmt::Debug;
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use super::error::StoreError;
use super::key::Key;
use crate::base::event::Observer;

/// Name of a transfer in events, and the observer that gets the events and may interrupt it.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "an observer is not shown")]
pub struct Transfer<'t> {
    /// Name: `<package>/<source>`, a package, a file.
    pub subject: &'t str,
    /// Observer of progress and retries.
    pub observer: &'t dyn Observer,
}

/// Content of an object to be put.
#[derive(Debug, Clone, Copy)]
pub enum Content<'c> {
    /// Bytes in memory.
    Bytes(&'c [u8]),
    /// A file on this machine, of which the store takes so many bytes; another attempt reads it again.
    File(&'c Path, u64),
}

impl Content<'_> {
    /// Number of bytes.
    pub fn length(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, length) => *length,
        }
    }
}

/// Description of an object, for people and other programs: nothing is decided by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct About<'a> {
    /// Name of the package.
    pub name: Option<&'a str>,
    /// Version of the package, as its tree states it.
    pub version: Option<&'a str>,
    /// Variant of the tree that the object was built for.
    pub variant: Option<&'a str>,
    /// Names of the packages that the package requires.
    pub requires: &'a [&'a str],
    /// Commit of the tree that the object was built from.
    pub commit: Option<&'a str>,
}

/// Result of putting an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The store has taken the content.
    Written,
    /// The store had an object of that name, and still has it.
    WasThere,
}

/// Result of getting an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Got {
    /// Number of bytes.
    pub bytes: u64,
    /// True if more than one answer was put together. A server may have got them from two objects.
    pub is_pieced: bool,
}

/// Description of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of bytes, if the store tells.
    pub size: Option<u64>,
}

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Name.
    pub key: Key,
    /// Number of bytes.
    pub size: u64,
}

/// A place that holds objects under keys.
///
/// Content is streamed in both directions: memory does not grow with an object's size. A backend makes
/// the attempts that its kind of place deserves; a failure that comes out is final. Objects appear whole
/// or not at all, and never change once they are there, but by [`Backend::replace`]: a backend that finds
/// otherwise may fail.
pub trait Backend: Debug + Send + Sync {
    /// Name for messages, the same for the life of the store: a path, or a URL without credentials.
    fn name(&self) -> String;

    /// Folder on this machine, if the store is one.
    fn local_folder(&self) -> Option<&Path> {
        None
    }

    /// True if no network is needed to ask the store.
    fn is_local(&self) -> bool {
        self.local_folder().is_some()
    }

    /// URL below which plain HTTP finds the objects, with credentials if it has some.
    fn base_url(&self) -> Option<&str> {
        None
    }

    /// Writes an object to a file, which is emptied first.
    fn get(&self, key: &Key, to: &mut File, transfer: &Transfer<'_>) -> Result<Got, StoreError>;

    /// Writes a part of an object, and returns the number of its bytes: fewer than the range has, or
    /// none, where the object ends before.
    fn get_range(
        &self,
        key: &Key,
        range: Range<u64>,
        to: &mut dyn Write,
        transfer: &Transfer<'_>,
    ) -> Result<u64, StoreError>;

    /// Describes an object without getting it.
    fn head(&self, key: &Key, transfer: &Transfer<'_>) -> Result<Head, StoreError>;

    /// Puts an object, unless there is one of that name, also where several do so at once.
    fn put(
        &self,
        key: &Key,
        content: Content<'_>,
        transfer: &Transfer<'_>,
    ) -> Result<Put, StoreError>;

    /// Puts an object as [`Backend::put`] does, together with a description. Only a store that has a
    /// place for descriptions keeps it; an object that was there keeps its own.
    fn put_described(
        &self,
        key: &Key,
        content: Content<'_>,
        _: &About<'_>,
        transfer: &Transfer<'_>,
    ) -> Result<Put, StoreError> {
        self.put(key, content, transfer)
    }

    /// Makes an object have this content, whatever was there: for the few whose names stay while their content
    /// changes. A store without a request for that loses the old object first, and answers
    /// [`Put::WasThere`] where another writer was faster then.
    fn replace(
        &self,
        key: &Key,
        content: &[u8],
        transfer: &Transfer<'_>,
    ) -> Result<Put, StoreError> {
        self.delete(key, transfer)?;
        self.put(key, Content::Bytes(content), transfer)
    }

    /// Lists all objects, or those below a folder, in the order of their keys.
    fn list(&self, below: Option<&Key>, transfer: &Transfer<'_>)
    -> Result<Vec<Listed>, StoreError>;

    /// Removes an object; `false` if there was none.
    fn delete(&self, key: &Key, transfer: &Transfer<'_>) -> Result<bool, StoreError>;
}
