//! Differences between a lock and what a tree needs.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::{SourceKey, Sources, WantedSource};
use crate::base::http::redact;
use crate::image::pins::{ImageKey, PinnedImages};
use crate::source::FilePin;

/// Something that a lock lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// A source.
    Source(SourceKey),
    /// An image of packages.
    Image(ImageKey),
    /// An image that a Dockerfile names.
    BaseImage(ImageKey),
}

/// A difference between a lock and its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockFault {
    /// A source is declared with another sum.
    Changed {
        /// The source, and who needs it.
        wanted: WantedSource,
        /// The lock's sums of that place.
        locked: Vec<String>,
    },
    /// The lock lacks something.
    Missing {
        /// What is missing.
        what: Missing,
        /// Those who need it.
        users: BTreeSet<String>,
    },
    /// Nothing needs what the lock has.
    Unneeded(String),
    /// A file of the cache is not the one that the lock has.
    File {
        /// The source, and who needs it.
        wanted: WantedSource,
        /// The lock's sums.
        locked: FilePin,
        /// The file's sums.
        found: FilePin,
    },
    /// An image of this machine is not the one that the lock has.
    Image {
        /// Name for `--update`.
        name: String,
        /// Both ids.
        message: String,
        /// Those who need it.
        users: BTreeSet<String>,
    },
}

impl LockFault {
    /// Finds the difference between a lock's sources and one that is needed.
    pub fn of_source(sources: &Sources, wanted: &WantedSource) -> Option<Self> {
        if sources.contains_key(&wanted.key) {
            return None;
        }
        let same = sources.keys().filter(|known| known.place() == wanted.key.place());
        let locked: Vec<String> = same.map(SourceKey::sum).collect();
        Some(if locked.is_empty() {
            let (what, users) = (Missing::Source(wanted.key.clone()), wanted.users.clone());
            Self::Missing { what, users }
        } else {
            Self::Changed { wanted: wanted.clone(), locked }
        })
    }

    /// Finds out if a lock's images lack one that is needed.
    pub fn of_image(
        images: &PinnedImages,
        key: &ImageKey,
        is_base: bool,
        users: &BTreeSet<String>,
    ) -> Option<Self> {
        let what = if is_base { Missing::BaseImage } else { Missing::Image };
        let absent = || Self::Missing { what: what(key.clone()), users: users.clone() };
        (!images.contains_key(key)).then(absent)
    }

    /// Name that `mkpanda lock --update` takes; nothing where that is not the remedy.
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
            Self::Missing { what: Missing::Source(key), users } => {
                write!(f, "source {}: not in the lock  {key}", listed(users))
            }
            Self::Missing { what: Missing::Image(key), users } => {
                let (name, platform) = (key.name.familiar(), &key.platform);
                write!(f, "image {name} for {}: not in the lock  {platform}", listed(users))
            }
            Self::Missing { what: Missing::BaseImage(key), users } => {
                let (name, platform) = (key.name.familiar(), &key.platform);
                write!(f, "base image {name} for {}: not in the lock  {platform}", listed(users))
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
    /// Remedies, one a line.
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
