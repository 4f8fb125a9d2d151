//! Differences between a lock and the needs of a tree.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::{SourceKey, Sources, WantedSource};
use crate::base::http::redact;
use crate::image::pins::{ImageKey, PinnedImages};
use crate::source::{AddedKey, FilePin};

/// Entry that a lock lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingEntry {
    /// A source.
    Source(SourceKey),
    /// An image of packages.
    Image(ImageKey),
    /// An image of a Dockerfile.
    BaseImage(ImageKey),
    /// A source that a Dockerfile adds.
    Added(AddedKey),
}

/// A difference between a lock and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockFault {
    /// A source is declared with another sum.
    Changed {
        /// The source, with its users.
        wanted: WantedSource,
        /// Locked digests for the same location.
        locked: Vec<String>,
    },
    /// The lock lacks something.
    Missing {
        /// Missing entry.
        what: MissingEntry,
        /// Users of the entry.
        users: BTreeSet<String>,
    },
    /// An entry of the lock is not needed.
    Unneeded(String),
    /// A cached file does not match the lock.
    File {
        /// The source, with its users.
        wanted: WantedSource,
        /// The lock's sums.
        locked: FilePin,
        /// The file's sums.
        found: FilePin,
    },
    /// A local image does not match the lock.
    Image {
        /// Name for `--update`.
        name: String,
        /// Both ids.
        message: String,
        /// Users of the image.
        users: BTreeSet<String>,
    },
}

impl LockFault {
    /// Compares a needed source with a lock's sources.
    pub fn of_source(sources: &Sources, wanted: &WantedSource) -> Option<Self> {
        if sources.contains_key(&wanted.key) {
            return None;
        }
        // A source of the same place was changed, not added: that has another remedy.
        let same = sources.keys().filter(|known| known.place() == wanted.key.place());
        let locked: Vec<String> = same.map(SourceKey::sum).collect();
        Some(if locked.is_empty() {
            let (what, users) = (MissingEntry::Source(wanted.key.clone()), wanted.users.clone());
            Self::Missing { what, users }
        } else {
            Self::Changed { wanted: wanted.clone(), locked }
        })
    }

    /// Checks that a lock's images include a needed image.
    pub fn of_image(
        images: &PinnedImages,
        key: &ImageKey,
        is_base: bool,
        users: &BTreeSet<String>,
    ) -> Option<Self> {
        let what = if is_base { MissingEntry::BaseImage } else { MissingEntry::Image };
        let absent = || Self::Missing { what: what(key.clone()), users: users.clone() };
        (!images.contains_key(key)).then(absent)
    }

    /// Name for `mkpanda lock --update`; `None` if an update is not the remedy.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Changed { wanted, .. } | Self::File { wanted, .. } => {
                wanted.users.first().map(String::as_str)
            }
            Self::Image { name, .. } => Some(name),
            Self::Missing { .. } | Self::Unneeded(_) => None,
        }
    }
}

fn listed(users: &BTreeSet<String>) -> String {
    const SHOWN: usize = 5;
    let mut text = users.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if users.len() > SHOWN {
        text = format!("{text} and {} more", users.len() - SHOWN);
    }
    text
}

impl fmt::Display for LockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { wanted: WantedSource { key, users }, locked } => {
                let (locked, place) = (locked.join(" or "), redact(key.place().1));
                write!(f, "source {}: the lock has {locked}, ", listed(users))?;
                write!(f, "the tree has {}  {place}", key.sum())
            }
            Self::Missing { what: MissingEntry::Source(key), users } => {
                write!(f, "source {}: not in the lock  {key}", listed(users))
            }
            Self::Missing { what: MissingEntry::Image(key), users } => {
                let (name, platform) = (key.name.familiar(), &key.platform);
                write!(f, "image {name} for {}: not in the lock  {platform}", listed(users))
            }
            Self::Missing { what: MissingEntry::BaseImage(key), users } => {
                let (name, platform) = (key.name.familiar(), &key.platform);
                write!(f, "base image {name} for {}: not in the lock  {platform}", listed(users))
            }
            Self::Missing { what: MissingEntry::Added(key), users } => {
                write!(f, "source of ADD for {}: not in the lock  {key}", listed(users))
            }
            Self::Unneeded(line) => write!(f, "nothing needs {line}"),
            Self::File { wanted: WantedSource { key, users }, locked, found } => {
                let place = redact(key.place().1);
                write!(f, "source {}: the lock has sha256 {}, ", listed(users), locked.sha256)?;
                write!(f, "{} bytes, the cache has sha256 {}, ", locked.size, found.sha256)?;
                write!(f, "{} bytes  {place}", found.size)
            }
            Self::Image { name, message, users } => {
                write!(f, "image {name} for {}: {message}", listed(users))
            }
        }
    }
}

/// All differences between a lock and its tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} does not fit the tree:{}", path.display(), lines(items))]
pub struct LockFaults {
    /// The lock.
    pub path: PathBuf,
    /// The differences.
    pub items: Vec<LockFault>,
}

fn lines(items: &[LockFault]) -> String {
    items.iter().fold(String::new(), |text, item| format!("{text}\n  {item}"))
}

impl LockFaults {
    /// Remedies, one per line.
    pub fn hint(&self) -> String {
        let names: BTreeSet<&str> = self.items.iter().filter_map(LockFault::name).collect();
        let is_other = |item: &LockFault| item.name().is_none();
        let mut hints = Vec::new();
        if !names.is_empty() {
            let names = names.into_iter().collect::<Vec<_>>().join(" ");
            hints.push(format!("if they were meant to change: mkpanda lock --update {names}"));
        }
        if self.items.iter().any(is_other) {
            hints.push("add what is new, and drop what nothing needs: mkpanda lock".to_owned());
        }
        hints.join("\n")
    }
}
