//! Inputs of Dockerfiles' `ADD` whose content may change, pinned by a tree's lock.

use std::collections::BTreeMap;
use std::fmt;

use super::{FilePin, GitSelection};
use crate::base::http::redact;
use crate::package::CommitId;

/// Reference of a git repository for which no reference is given.
const HEAD: &str = "HEAD";

/// A source of `ADD`, as a key in a lock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddedKey {
    /// A branch, tag or other ref of a git repository.
    Git {
        /// URL without credentials.
        url: String,
        /// The ref.
        reference: String,
    },
    /// A file.
    File {
        /// URL without credentials.
        url: String,
    },
}

impl AddedKey {
    /// Key of a file; `None` if the URL has a query, whose values may be secrets.
    pub fn file(url: &str) -> Option<Self> {
        (!url.contains('?')).then(|| Self::File { url: redact(url) })
    }

    /// Key of a repository; `None` if its commit is given.
    pub fn git(place: &GitSelection) -> Option<Self> {
        let reference = place.reference.as_deref().unwrap_or(HEAD);
        // A commit is what it is: there is nothing that a lock could pin.
        let is_commit = reference.parse::<CommitId>().is_ok();
        let (url, reference) = (redact(&place.url), reference.to_owned());
        (!is_commit).then_some(Self::Git { url, reference })
    }

    /// URL without credentials.
    pub fn url(&self) -> &str {
        match self {
            Self::Git { url, .. } | Self::File { url } => url,
        }
    }
}

impl fmt::Display for AddedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Git { url, reference } => write!(f, "{url}#{reference}"),
            Self::File { url } => f.write_str(url),
        }
    }
}

/// Content of a source of `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddedPin {
    /// Commit of a repository.
    Commit(CommitId),
    /// Content of a file.
    File(FilePin),
}

impl fmt::Display for AddedPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(commit) => commit.fmt(f),
            Self::File(pin) => pin.sha256.fmt(f),
        }
    }
}

/// Pins by their keys.
pub type AddedSources = BTreeMap<AddedKey, AddedPin>;

/// All sources of `ADD` in a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddedPins {
    /// The pins.
    pub pins: AddedSources,
    /// True if every source needs a pin.
    pub is_complete: bool,
}

/// The lock lacks a source of `ADD`.
#[derive(Debug, thiserror::Error)]
#[error("mkpanda.lock does not have {0}, which a Dockerfile adds")]
pub struct NotPinned(pub AddedKey);

impl AddedPins {
    /// Pin of a source.
    pub fn of(&self, key: &AddedKey) -> Result<Option<&AddedPin>, NotPinned> {
        match self.pins.get(key) {
            None if self.is_complete => Err(NotPinned(key.clone())),
            found => Ok(found),
        }
    }

    /// True if an image that was made from these contents, by the texts of their keys, matches the
    /// pins. Contents that the pins lack match.
    pub fn accept(&self, contents: &BTreeMap<String, String>) -> bool {
        self.pins.iter().all(|(key, pin)| {
            contents.get(&key.to_string()).is_none_or(|found| *found == pin.to_string())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0e24de2a654535665d4cfab1675ed252371f863a";

    #[test]
    fn what_may_change_has_a_key_without_credentials() {
        let git = |text: &str| {
            let place = GitSelection::parse(text).unwrap().unwrap();
            AddedKey::git(&place).map(|key| key.to_string())
        };
        for (text, key) in [
            ("https://h/r.git", Some("https://h/r.git#HEAD")),
            ("https://anna:secret@h/r.git#v1:sub", Some("https://h/r.git#v1")),
            ("https://h/r.git?branch=b", Some("https://h/r.git#refs/heads/b")),
            (&format!("https://h/r.git#{COMMIT}"), None),
            (&format!("https://h/r.git?checksum={COMMIT}"), None),
        ] {
            assert_eq!(git(text).as_deref(), key, "{text}");
        }
        let file = |url: &str| AddedKey::file(url).map(|key| key.to_string());
        assert_eq!(file("https://anna:secret@h/f").as_deref(), Some("https://h/f"));
        assert_eq!(file("https://h/f?token=secret"), None);
    }

    #[test]
    fn images_match_the_pins_of_what_they_were_made_from() {
        let key = AddedKey::File { url: "https://h/f".to_owned() };
        let sha256: crate::base::digest::Sha256Sum = "a".repeat(64).parse().unwrap();
        let pin = AddedPin::File(FilePin { sha256, size: 1 });
        let pins = AddedPins { pins: [(key.clone(), pin)].into(), is_complete: true };
        let contents = |url: &str, sum: &str| [(url.to_owned(), sum.repeat(64))].into();
        assert!(pins.accept(&contents("https://h/f", "a")));
        assert!(!pins.accept(&contents("https://h/f", "b")));
        assert!(pins.accept(&contents("https://h/other", "b")));
        assert!(pins.of(&key).unwrap().is_some());
        let other = AddedKey::File { url: "https://h/other".to_owned() };
        assert!(pins.of(&other).is_err());
        assert!(AddedPins::default().of(&other).unwrap().is_none());
    }
}
