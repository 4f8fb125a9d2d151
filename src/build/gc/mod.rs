//! Giving back the space that nobody needs any more.
//!
//! What stays, and why:
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
//! | a cache of commands (`--mount=type=cache`) | it was used within the given days, or a running build uses it |
//! | records and logs of builds | they are younger than the given days; if none are given, always: nothing can make them again |
//! | what a run left | its process lives |
//!
//! All else in `$MKPANDA_HOME` can be made again, and goes. If then more is left than is asked for, what
//! was used longest ago goes too: entries of the build cache and their blobs, images without a name,
//! unpacked layers and packages, caches and logs of images, but nothing that a running build uses and
//! no image with a name. An entry that goes lets its blob go in the same run, unless somebody else
//! needs that. Caches of trees are their owners' and aren't touched.
//!
//! A collection, a removal of images ([`Spared`]) and a run that registers what it uses exclude one
//! another ([`crate::runner::uses`]); a build that runs goes on meanwhile, until it needs something that it hasn't
//! registered yet. What is found is data ([`Garbage`]); removing it is another step. A folder gets
//! another name before it is removed, so that one half-removed is never taken for whole.

mod blobs;
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
use crate::image::store::{ImageStore, StoreError};
use crate::package::PackageId;
use crate::runner::home::Home;
use crate::runner::isolation::{IsolationError, Wanted};
use crate::runner::uses;

/// What is to go and what is to stay.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// What was used since then stays.
    pub since: Option<SystemTime>,
    /// If more bytes than these are left, what was used longest ago goes too, roots excepted.
    pub max_size: Option<u64>,
    /// True if nothing is removed.
    pub dry_run: bool,
    /// The packages of known trees.
    pub packages: BTreeSet<PackageId>,
    /// Sums of their archives.
    pub archives: BTreeSet<Sha256Sum>,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What a dead run left.
    Scratch,
    /// Images on their way into the store, whose process is dead.
    Staging,
    /// A download that was interrupted.
    Download,
    /// An image without a name.
    Image,
    /// A blob of the image store to which nothing leads.
    Blob,
    /// An entry of the build cache, with its blob if nobody else needs that.
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
    /// A build's record and log.
    Record,
    /// What the commands of an image said.
    Log,
}

impl fmt::Display for Kind {
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
            Self::Record => "record",
            Self::Log => "log",
        })
    }
}

/// Something that can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Kind.
    pub kind: Kind,
    /// Name.
    pub name: String,
    /// What it takes on the disk, in bytes.
    pub bytes: u64,
    /// When it was used last.
    pub last_use: SystemTime,
    /// Where it is; an image is in the store alone.
    pub(crate) paths: Vec<PathBuf>,
    /// Blobs that it needs, which go with the last one who does.
    pub(crate) blobs: Vec<BlobDigest>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Garbage {
    /// What goes.
    pub items: Vec<Item>,
    /// What is left then, in bytes.
    pub left: u64,
    /// What had no place in the largest size that was asked for, though it can't go: bytes.
    pub too_much: u64,
}

impl Garbage {
    /// What it gives back, in bytes.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

/// Space can't be given back.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The image store can't be used.
    #[error("can't tell which images are needed")]
    Store(#[source] StoreError),
    /// A folder can't be read or written.
    #[error("can't look through the builder's own folder")]
    Io(#[source] std::io::Error),
    /// What a namespace's ids own can't be removed.
    #[error("can't remove what containers made")]
    Isolation(#[source] IsolationError),
    /// An image is broken, so that what it needs can't be told.
    #[error("{name} is broken, so that what it needs can't be told{}", remedy(source))]
    Broken {
        /// Its name.
        name: String,
        /// Reason.
        #[source]
        source: StoreError,
    },
}

fn remedy(source: &StoreError) -> String {
    source.hint().map(|hint| format!("; {hint}")).unwrap_or_default()
}

/// Finds what nobody needs, and removes it.
pub fn collect(
    home: &Home,
    isolation: &Wanted,
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

/// What a removal of images has to leave alone. Nobody registers anything else while this lives.
#[derive(Debug)]
pub struct Spared {
    /// Blobs that running builds or the build cache need.
    pub blobs: BTreeSet<BlobDigest>,
    /// Unpacked layers that running builds use: the digits of diff ids.
    pub layers: BTreeSet<String>,
    _gc: FileLock,
}

impl Spared {
    /// Finds out what that is.
    pub fn of(home: &Home, observer: &dyn Observer) -> Result<Self, GcError> {
        let gc = lock(home, observer)?;
        let now = uses::read(home).map_err(GcError::Io)?.now;
        let blobs = remove::needed_blobs(home, &now).map_err(GcError::Io)?;
        Ok(Self { blobs, layers: now.layers, _gc: gc })
    }
}
