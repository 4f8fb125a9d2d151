//! Collection of unneeded files.
//!
//! Rules of retention:
//!
//! | what | as long as |
//! | --- | --- |
//! | an image | it has a name, or a configured place gives it, or a running build uses it, or it was used within the given days |
//! | a blob of the image store | an image that stays, an entry of the build cache that stays, or a running build needs it |
//! | an entry of the build cache | it was used within the given days, its blob is there, or a running build uses that |
//! | an unpacked layer | an image that stays has it, a running build uses it, or it was used within the given days |
//! | an unpacked package | it is one of the trees' that the collection is told of, a running build uses it, or it was used within the given days |
//! | a part of bootstraps, a download that broke off | it was used within the given days |
//! | a mirror of a git repository | it was used within the given days, or within the last hour |
//! | a layer or a package in the form that jobs for other machines have | a job under way shares it, or it was used within the given days |
//! | a cache of commands (`--mount=type=cache`) | it was used within the given days, or a running build uses it |
//! | records and logs of builds | they are younger than the given days; if none are given, always: nothing can make them again |
//! | what a failed build left | its time is not over, unless no days are given; or a shell uses it |
//! | what a run left | its process lives; a job for another machine, 30 days |
//!
//! All other contents of `$MKPANDA_HOME` can be made again, and are removed. If the rest exceeds
//! the requested size, the least recently used items are removed, too: entries of the build cache
//! and their blobs, images without a name, unpacked layers and packages, caches and logs of images,
//! but nothing in use by a running build and no image with a name. The blob of a removed entry is
//! removed in the same run, unless another user needs the blob. Caches of trees belong to their
//! owners and are not touched.
//!
//! A collection, a removal of images ([`Spared`]) and a run that registers its inputs exclude one
//! another ([`crate::runner::uses`]); a running build continues until the build needs an
//! unregistered input. Search results are data ([`Garbage`]); the removal is a separate step. A
//! folder is renamed before its removal, so that a half-removed folder is never taken for a whole
//! one.

mod blobs;
mod jobs;
mod records;
mod remove;
mod search;
mod space;

pub use space::{ImageSpace, image_spaces};

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Observer};
use crate::base::lock::FileLock;
use crate::image::digest::BlobDigest;
use crate::image::store::{ImageStore, ImageStoreError};
use crate::package::PackageId;
use crate::runner::home::Home;
use crate::runner::isolation::{IsolationError, TierRequest};
use crate::runner::uses;

/// Options of a collection.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// Minimum time of the last use for items to stay.
    pub since: Option<SystemTime>,
    /// Size in bytes above which the least recently used items are removed, too, except roots.
    pub max_size: Option<u64>,
    /// True if nothing is removed.
    pub dry_run: bool,
    /// Kinds that go; all of them without any.
    pub only: Option<BTreeSet<GarbageKind>>,
    /// The packages of known trees.
    pub packages: BTreeSet<PackageId>,
    /// Sums of their archives.
    pub archives: BTreeSet<Sha256Sum>,
}

/// Type of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GarbageKind {
    /// Leftovers of a dead run.
    Scratch,
    /// Images on their way into the store, whose process is dead.
    Staging,
    /// An interrupted download.
    Download,
    /// An image without a name.
    Image,
    /// A blob of the image store to which nothing leads.
    Blob,
    /// An entry of the build cache, with its blob, unless needed elsewhere.
    Step,
    /// A folder that commands of Dockerfiles keep.
    Cache,
    /// An unpacked layer.
    Layer,
    /// An unpacked package.
    Package,
    /// A part of bootstraps.
    Part,
    /// A mirror of a git repository.
    Mirror,
    /// A file that jobs for other machines share, or what such a job left.
    Job,
    /// A build's record and log.
    Record,
    /// What a failed build left.
    Failed,
    /// Output of an image's commands.
    Log,
}

impl fmt::Display for GarbageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scratch => "scratch",
            Self::Staging => "staging",
            Self::Download => "download",
            Self::Image => "image",
            Self::Blob => "blob",
            Self::Step => "step",
            Self::Cache => "cache",
            Self::Layer => "layer",
            Self::Package => "package",
            Self::Part => "part",
            Self::Mirror => "git mirror",
            Self::Job => "job",
            Self::Record => "record",
            Self::Failed => "failed",
            Self::Log => "log",
        })
    }
}

/// Removable item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GarbageItem {
    /// Kind.
    pub kind: GarbageKind,
    /// Name.
    pub name: String,
    /// Disk space in bytes.
    pub bytes: u64,
    /// Time of the last use.
    pub last_use: SystemTime,
    /// Paths of the item; empty for an image, which is in the store alone.
    pub(crate) paths: Vec<PathBuf>,
    /// Needed blobs, each removed together with its last user.
    pub(crate) blobs: Vec<BlobDigest>,
}

/// Result of a search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Garbage {
    /// Items to remove.
    pub items: Vec<GarbageItem>,
    /// Remaining size after the removal, in bytes.
    pub left: u64,
    /// Excess over the requested size that cannot be removed, in bytes.
    pub too_much: u64,
}

impl Garbage {
    /// Freed space in bytes.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

/// Space can't be given back.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The image store can't be used.
    #[error("can't tell which images are needed")]
    Store(#[source] ImageStoreError),
    /// A folder can't be read or written.
    #[error("can't look through the builder's own folder")]
    Io(#[source] std::io::Error),
    /// Files that belong to a namespace's ids cannot be removed.
    #[error("can't remove what containers made")]
    Isolation(#[source] IsolationError),
    /// An image is broken, so that what it needs can't be told.
    #[error("{name} is broken, so that what it needs can't be told")]
    Broken {
        /// Name of the image.
        name: String,
        /// Reason.
        #[source]
        source: ImageStoreError,
    },
}

impl GcError {
    /// Remedy, if one is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Store(source) | Self::Broken { source, .. } => source.hint(),
            Self::Isolation(source) => source.remedy(),
            Self::Io(_) => None,
        }
    }
}

/// Finds what nobody needs, and removes it.
pub fn collect(
    home: &Home,
    isolation: &TierRequest,
    options: &GcOptions,
    observer: &dyn Observer,
) -> Result<Garbage, GcError> {
    let _gc = lock(home, observer)?;
    if !options.dry_run {
        home.mark().map_err(GcError::Io)?;
    }
    let store = ImageStore::open(home.root()).map_err(GcError::Store)?;
    let uses = uses::read(home).map_err(GcError::Io)?;
    let garbage = search::search(home, isolation, &store, &uses, options)?;
    if !options.dry_run {
        remove::remove(home, isolation, &store, &uses, &garbage, observer)?;
    }
    Ok(garbage)
}

fn lock(home: &Home, observer: &dyn Observer) -> Result<FileLock, GcError> {
    let waiting = || {
        let message = "waiting for another collection, or for a build that begins".to_owned();
        observer.event(Event::Note { message });
    };
    uses::lock(home, waiting).map_err(GcError::Io)
}

/// Images in use, which a removal of images must leave alone. No other process can register images
/// during the lifetime of this value.
#[derive(Debug)]
pub struct Spared {
    /// Blobs that running builds or the build cache need.
    pub blobs: BTreeSet<BlobDigest>,
    /// Unpacked layers that running builds use: the digits of diff ids.
    pub layers: BTreeSet<String>,
    _gc: FileLock,
}

impl Spared {
    /// Determines the images in use.
    pub fn of(home: &Home, observer: &dyn Observer) -> Result<Self, GcError> {
        let gc = lock(home, observer)?;
        let now = uses::read(home).map_err(GcError::Io)?.now;
        let blobs = remove::needed_blobs(home, &now).map_err(GcError::Io)?;
        Ok(Self { blobs, layers: now.layers, _gc: gc })
    }
}

#[cfg(test)]
mod tests;
