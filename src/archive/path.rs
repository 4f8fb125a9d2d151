//! Names of entries: bytes that stay below the archive's root.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::base::text::steers_terminal;

/// The path of an entry below the archive's root, as bytes: relative, with single slashes between
/// its parts, no `.`, no `..`, no NUL and no slash at its end. Empty for the root itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EntryPath(Vec<u8>);

/// Upper limit of a path in Linux; with longer paths, the parent folders of a single entry could
/// take any time.
const LONGEST: usize = libc::PATH_MAX as usize;

/// Reason why a name is not a path below an archive's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// There is no name.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than a path can be.
    #[error("a path can't have more than 4096 bytes")]
    TooLong,
    /// The name begins with a slash.
    #[error("the name is absolute")]
    Absolute,
    /// The name has a part `..`.
    #[error("the name has a `..`")]
    Parent,
    /// The name has a NUL byte.
    #[error("the name has a NUL byte")]
    Nul,
    /// The name doesn't begin with `./`, as a package's names do.
    #[error("the name doesn't begin with ./")]
    NotBelowDot,
    /// The name is a whiteout of nothing, or is below a whiteout.
    #[error("the name is that of a whiteout that hides nothing")]
    Whiteout,
}

impl EntryPath {
    /// The archive's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks a relative name; slashes too many and parts `.` are dropped.
    pub fn parse(name: &[u8]) -> Result<Self, NameProblem> {
        if name.is_empty() {
            return Err(NameProblem::Empty);
        }
        if name.len() > LONGEST {
            return Err(NameProblem::TooLong);
        }
        if name.starts_with(b"/") {
            return Err(NameProblem::Absolute);
        }
        if name.contains(&0) {
            return Err(NameProblem::Nul);
        }
        let mut path = Vec::with_capacity(name.len());
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => return Err(NameProblem::Parent),
                part => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(part);
                }
            }
        }
        Ok(Self(path))
    }

    /// Appends a relative path.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        if self.is_root() || below.is_root() {
            return Self([self.0.as_slice(), &below.0].concat());
        }
        Self([self.0.as_slice(), b"/", &below.0].concat())
    }

    /// True if this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, without `./` before them; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same as a relative path; empty for the root.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The parts, from the root down.
    pub fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|part| !part.is_empty())
    }

    /// The folder's path and the last part; nothing for the root.
    pub fn split(&self) -> Option<(&[u8], &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (b"", &self.0),
        })
    }

    /// The paths of the folders above, nearest first, without the root.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().enumerate().rev().filter_map(|(at, byte)| match byte {
            b'/' => Some(&self.0[..at]),
            _ => None,
        })
    }

    /// Makes a path from bytes that are known to be normal.
    pub(super) fn trusted(path: &[u8]) -> Self {
        Self(path.to_vec())
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("./")?;
        f.write_str(&readable(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", readable(&self.0))
    }
}

/// Name in readable form: no control character reaches a terminal.
pub fn readable(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if steers_terminal(letter) {
                text.extend(letter.escape_default());
            } else {
                text.push(letter);
            }
        }
        for byte in chunk.invalid() {
            text.extend(byte.escape_ascii().map(char::from));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        for (name, path) in [
            (&b"a"[..], &b"a"[..]),
            (b"./", b""),
            (b".", b""),
            (b"./a//b/./c/", b"a/b/c"),
            (b"..a/b..", b"..a/b.."),
            (b"\xff/\n", b"\xff/\n"),
        ] {
            assert_eq!(EntryPath::parse(name).unwrap().as_bytes(), path);
        }
        assert_eq!(EntryPath::parse(b""), Err(NameProblem::Empty));
        assert_eq!(EntryPath::parse(b"/a"), Err(NameProblem::Absolute));
        assert_eq!(EntryPath::parse(b"a/../b"), Err(NameProblem::Parent));
        assert_eq!(EntryPath::parse(b"a\0b"), Err(NameProblem::Nul));
        assert!(EntryPath::parse("a/".repeat(2048).as_bytes()).is_ok());
        let long = EntryPath::parse("a/".repeat(2049).as_bytes());
        assert_eq!(long, Err(NameProblem::TooLong));
    }

    #[test]
    fn a_path_shows_itself_without_control_characters() {
        let path = EntryPath::parse(b"a/\x1b[31m\xff\xc3\xa4").unwrap();
        assert_eq!(path.to_string(), "./a/\\u{1b}[31m\\xffä");
        assert_eq!(path.split().unwrap().0, b"a");
        assert_eq!(path.ancestors().collect::<Vec<_>>(), [b"a"]);
        let below = EntryPath::parse(b"p").unwrap().join(&path);
        assert_eq!(below.ancestors().collect::<Vec<_>>(), [&b"p/a"[..], b"p"]);
        assert_eq!(EntryPath::root().join(&path), path);
        assert_eq!(path.join(&EntryPath::root()), path);
    }
}
