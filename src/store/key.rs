//! Names of objects in a store.

use std::fmt;
use std::str::FromStr;

use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::text::written_as_text;

/// Upper limit of a key's length in bytes: that of S3.
const LONGEST: usize = 1024;
/// Upper limit of a part's length in bytes: that of most filesystems.
const LONGEST_PART: usize = 255;

/// Name of an object: a relative path with `/` between its parts, without `.`, `..` and empty parts, in
/// ASCII characters that the path of a URL has without escapes. A part does not begin with `.tmp-`, the
/// prefix of files under construction.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(String);

/// Text that is not a valid key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid name in a store: {rule}")]
pub struct ObjectKeyError {
    text: String,
    rule: &'static str,
}

impl ObjectKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True if the key lies below a folder, at any depth.
    pub fn is_below(&self, folder: &Self) -> bool {
        self.0.strip_prefix(folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for ObjectKey {
    type Err = ObjectKeyError;

    fn from_str(text: &str) -> Result<Self, ObjectKeyError> {
        match broken_rule(text) {
            None => Ok(Self(text.to_owned())),
            Some(rule) => Err(ObjectKeyError { text: text.to_owned(), rule }),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

written_as_text!(ObjectKey);

/// Returns the rule that a text breaks as a key, if any.
fn broken_rule(text: &str) -> Option<&'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+@:=,~!".contains(&byte);
    if text.is_empty() {
        return Some("it is empty");
    }
    if text.len() > LONGEST {
        return Some("it is longer than 1024 bytes");
    }
    text.split('/').find_map(|part| match part {
        "" => Some("it is absolute, or a part of it is empty"),
        "." | ".." => Some("a part of it is . or .."),
        part if part.len() > LONGEST_PART => Some("a part of it is longer than 255 bytes"),
        part if part.starts_with(TEMPORARY_PREFIX) => Some("a part of it begins with .tmp-"),
        part if !part.bytes().all(is_plain) => {
            Some("it has characters other than a-z, A-Z, 0-9 and - . _ + @ : = , ~ !")
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_their_store() {
        for good in ["a", "a/b.c/d", "packages/a-b@x/a-b@x--1+y:2.tar.xz", "...", ".a", "sha1/0"] {
            assert_eq!(good.parse::<ObjectKey>().unwrap().to_string(), good);
        }
        let long_part = "a".repeat(256);
        let long = ["a/"; 600].concat() + "a";
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/..", "./a", "a\\b", "a%2e", "a?b",
            "a#b", "a b", "a\n", "a\0", "é", ".tmp-a", "a/.tmp-b", &long_part, &long,
        ] {
            assert!(bad.parse::<ObjectKey>().is_err(), "{bad}");
        }
        let key = |text: &str| text.parse::<ObjectKey>().unwrap();
        assert!(key("a/b/c").is_below(&key("a/b")) && !key("a/bc").is_below(&key("a/b")));
        assert!(!key("a/b").is_below(&key("a/b")));
    }
}
