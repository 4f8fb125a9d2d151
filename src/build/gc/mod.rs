//! Giving back the space that nobody needs any more.
//!
//! Roots, which stay: images that have a name or come from a configured place; what running builds
//! use; the packages of the trees that it is told of; what was used since a given time. Everything
//! else in `$MKPANDA_HOME` can be made again, and goes: images without a name, unpacked layers and
//! packages, parts of bootstraps, and what dead processes left. Records and logs go by their age alone.
//! Caches of trees are their owners' and aren't touched.
//!
//! A collection and a run that registers what it uses exclude one another ([`uses`]); a build that runs
//! goes on meanwhile. What is found is data ([`Garbage`]); removing it is another step. A folder gets
//! another name before it is removed, so that one half-removed is never taken for whole.

pub mod measure;
mod remove;
mod search;
pub mod uses;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::base::event::{Event, Observer};
use crate::build::home::Home;
use crate::build::isolation::{IsolationError, Wanted};
use crate::image::store::{ImageStore, StoreError};
use crate::package::PackageId;

/// What is to go and what is to stay.
#[derive(Debug, Clone, Default)]
pub struct GcOptions {
    /// What was used since then stays.
    pub since: Option<SystemTime>,
    /// If more bytes than these are left, what was used longest ago goes too, roots excepted.
    pub max_size: Option<u64>,
    /// Whether nothing is removed.
    pub dry_run: bool,
    /// The packages of known trees.
    pub packages: BTreeSet<PackageId>,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// What a dead run left.
    Scratch,
    /// A download that was interrupted.
    Download,
    /// An image without a name.
    Image,
    /// An unpacked layer.
    Layer,
    /// An unpacked package.
    Package,
    /// A part of bootstraps.
    Part,
    /// A build's record and log.
    Record,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Scratch => "scratch",
            Self::Download => "download",
            Self::Image => "image",
            Self::Layer => "layer",
            Self::Package => "package",
            Self::Part => "part",
            Self::Record => "record",
        })
    }
}

/// Something that can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// What it takes on the disk, in bytes.
    pub bytes: u64,
    /// When it was used last.
    pub last_use: SystemTime,
    /// Where it is; an image is in the store alone.
    pub(crate) paths: Vec<PathBuf>,
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
    #[error("{name} is broken, so that what it needs can't be told; `mkpanda image rm` it")]
    Broken {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
}

/// Finds what nobody needs, and removes it.
pub fn collect(
    home: &Home,
    isolation: &Wanted,
    options: &GcOptions,
    observer: &dyn Observer,
) -> Result<Garbage, GcError> {
    let waiting = || {
        let message = "waiting for another collection, or for a build that begins".to_owned();
        observer.event(Event::Note { message });
    };
    let _gc = uses::lock(home, waiting).map_err(GcError::Io)?;
    let store = ImageStore::open(home.root()).map_err(GcError::Store)?;
    let uses = uses::read(home).map_err(GcError::Io)?;
    let garbage = search::search(home, isolation, &store, &uses, options)?;
    if !options.dry_run {
        remove::remove(home, isolation, &store, &garbage, observer)?;
    }
    Ok(garbage)
}
