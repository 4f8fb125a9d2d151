//! Paths of a release below its storages.
//!
//! ```text
//! <repository>/<path>                                  reproducible: the same for all channels
//! <repository>[/<channel>]/commit/<commit>/<path>      files of one release
//! <repository>[/<channel>]/<path>                      files of the channel: copies of its last release's
//! ```

use std::fmt;
use std::str::FromStr;

use crate::base::text::written_as_text;
use crate::package::paths::{active_id, bootstrap_id};
use crate::store::{ObjectKey, ObjectKeyError};

/// The repository that `create` stores in.
pub const TESTING: &str = "testing";
/// Folder of releases below a channel.
const COMMITS: &str = "commit";
/// Folders of a repository that no channel may lie in.
// A channel of such a name would put its files among those of all channels.
const SHARED: [&str; 4] = ["bootstrap", "packages", "package_lists", "pkgpanda"];
/// Upper limit of a commit's length.
const LONGEST_COMMIT: usize = 100;

/// Text that does not name a place of releases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The text cannot be a path below a storage.
    #[error("the {what} {text:?} cannot be a path below a storage: {rule}")]
    Path {
        /// Kind of path.
        what: &'static str,
        /// The text.
        text: String,
        /// Violated rule.
        rule: String,
    },
    /// The text cannot be a commit.
    #[error("{0:?} cannot be the commit of a release: letters, digits, - . and _ are allowed")]
    Commit(String),
    /// A path is too long.
    #[error(transparent)]
    Key(#[from] ObjectKeyError),
}

/// Commit of the tree that a release is made of, as text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit(String);

impl Commit {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Commit {
    /// True if the text is the name of a commit of git.
    pub fn is_of_git(&self) -> bool {
        self.0.len() == 40 && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

impl FromStr for Commit {
    type Err = LayoutError;

    fn from_str(text: &str) -> Result<Self, LayoutError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_commit = (1..=LONGEST_COMMIT).contains(&text.len())
            && text.bytes().all(is_plain)
            // It becomes a part of paths: `..` and names that hide must not.
            && text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        if is_commit {
            Ok(Self(text.to_owned()))
        } else {
            Err(LayoutError::Commit(text.to_owned()))
        }
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(Commit);

/// Parses a path without reserved parts.
fn path(what: &'static str, text: &str, reserved: &[&str]) -> Result<ObjectKey, LayoutError> {
    let broken = |rule: String| LayoutError::Path { what, text: text.to_owned(), rule };
    let key: ObjectKey = text.parse().map_err(|error: ObjectKeyError| {
        let error = error.to_string();
        broken(error.rsplit(": ").next().unwrap_or_default().to_owned())
    })?;
    match text.split('/').find(|part| reserved.contains(part)) {
        None => Ok(key),
        Some(part) => Err(broken(format!("{part} is the name of a folder for other files"))),
    }
}

/// Place of a release: a repository, and optionally a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseLocation {
    repository: ObjectKey,
    channel: Option<ObjectKey>,
    commit: Commit,
}

impl ReleaseLocation {
    /// Checks the texts of a place.
    pub fn new(
        repository: &str,
        channel: Option<&str>,
        commit: Commit,
    ) -> Result<Self, LayoutError> {
        let repository = path("repository", repository, &[COMMITS])?;
        let reserved: Vec<&str> = SHARED.into_iter().chain([COMMITS]).collect();
        let channel = channel.map(|channel| path("channel", channel, &reserved)).transpose()?;
        Ok(Self { repository, channel, commit })
    }

    /// Path of the repository.
    pub fn repository(&self) -> &ObjectKey {
        &self.repository
    }

    /// True if `create` stores in the repository.
    pub fn is_testing(&self) -> bool {
        self.repository.as_str() == TESTING
    }

    /// The commit.
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// Path of the channel; of the repository without a channel.
    pub fn channel_path(&self) -> String {
        match &self.channel {
            None => self.repository.to_string(),
            Some(channel) => format!("{}/{channel}", self.repository),
        }
    }

    /// Path of the release.
    pub fn release_path(&self) -> String {
        format!("{}/{COMMITS}/{}", self.channel_path(), self.commit)
    }

    /// Key of a reproducible object.
    pub fn reproducible(&self, path: &ObjectKey) -> Result<ObjectKey, LayoutError> {
        Ok(format!("{}/{path}", self.repository).parse()?)
    }

    /// Key of an object of the release.
    pub fn of_release(&self, path: &ObjectKey) -> Result<ObjectKey, LayoutError> {
        Ok(format!("{}/{path}", self.release_path()).parse()?)
    }

    /// Key of an object of the channel.
    pub fn of_channel(&self, path: &ObjectKey) -> Result<ObjectKey, LayoutError> {
        Ok(format!("{}/{path}", self.channel_path()).parse()?)
    }
}

/// True if an object is that of a bootstrap, of the repository or of another one.
pub(super) fn is_bootstrap(key: &ObjectKey) -> bool {
    let mut parts = key.as_str().rsplit('/');
    parts.next().is_some_and(|name| bootstrap_id(name).or_else(|| active_id(name)).is_some())
        // Other files may have the ending of a bootstrap's name.
        && parts.next() == Some(SHARED[0])
}

/// True if a path is that of a release, and not of a channel.
pub(super) fn is_of_release(path: &str) -> bool {
    path.split('/').any(|part| part == COMMITS)
}

/// True if the first part of a path is the name of a folder for other files than a channel's.
pub(super) fn is_shared(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    first == COMMITS || SHARED.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(repository: &str, channel: Option<&str>) -> Result<ReleaseLocation, LayoutError> {
        ReleaseLocation::new(repository, channel, "c0ffee".parse().unwrap())
    }

    #[test]
    fn paths_are_those_of_the_original() {
        let path: ObjectKey = "a/b.json".parse().unwrap();
        for (channel, release, of_channel) in [
            (None, "stable/commit/c0ffee/a/b.json", "stable/a/b.json"),
            (Some("pull/1"), "stable/pull/1/commit/c0ffee/a/b.json", "stable/pull/1/a/b.json"),
        ] {
            let location = location("stable", channel).unwrap();
            assert_eq!(location.reproducible(&path).unwrap().as_str(), "stable/a/b.json");
            assert_eq!(location.of_release(&path).unwrap().as_str(), release);
            assert_eq!(location.of_channel(&path).unwrap().as_str(), of_channel);
        }
    }

    #[test]
    fn places_that_would_hold_other_files_are_refused() {
        for repository in ["", "/a", "a/", "a//b", "..", "a b", "x/commit", "a/commit/b"] {
            assert!(location(repository, None).is_err(), "{repository}");
        }
        for channel in [
            "",
            "packages",
            "bootstrap/x",
            "x/package_lists",
            "commit",
            "x/commit/y",
            "pkgpanda",
            "a?b",
        ] {
            assert!(location("testing", Some(channel)).is_err(), "{channel}");
        }
        for commit in ["", "a/b", "..", "-x", "a b", &"a".repeat(101)] {
            assert!(commit.parse::<Commit>().is_err(), "{commit}");
        }
        assert!("ae43fd9a-dirty.1_x".parse::<Commit>().is_ok());
        let long = vec!["a".repeat(200); 5].join("/");
        let location = location(&long, None).unwrap();
        assert!(location.reproducible(&long.parse().unwrap()).is_err(), "too long together");
    }
}
