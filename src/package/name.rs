//! Names of packages, versions, users and groups (docs/format.md, "Names and ids").

use std::fmt;
use std::str::FromStr;

use crate::base::text::written_as_text;

/// A name breaks the rules of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {rule}")]
pub struct NameError {
    /// Intended kind of name.
    pub kind: &'static str,
    /// The text.
    pub text: String,
    /// Violated rule.
    pub rule: &'static str,
}

macro_rules! name_type {
    ($name:ident, $kind:literal, $check:path, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                match $check(text) {
                    None => Ok(Self(text.to_owned())),
                    Some(rule) => Err(NameError { kind: $kind, text: text.to_owned(), rule }),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        written_as_text!($name);
    };
}

name_type!(
    PackageName,
    "package name",
    check_package_name,
    "A package's name, which is its folder's: `^[a-zA-Z0-9@_+][a-zA-Z0-9@._+\\-]*$`, no `--` inside, no `-` at the end."
);
name_type!(
    Version,
    "package version",
    check_version,
    "A package's version: `^[a-zA-Z0-9@_+:.]+$`; made here, it is a SHA-1, after `version_extra` and a dot if there is one."
);
name_type!(UserName, "user name", check_user, "A service's user: `^dcos_[a-z0-9_]+$`.");
name_type!(
    GroupName,
    "group name",
    check_group,
    "A service's group: `^[a-z_][a-z0-9_-]*$`, or nothing, which the original let through and hashed."
);

name_type!(
    ImageName,
    "image name",
    check_image,
    "An image's name as a package writes it, such as `ubuntu:22.04`; the layer `image` knows what it refers to."
);

/// Builder image of packages that name no other.
pub const DEFAULT_IMAGE: &str = "dcos/dcos-builder:dcos-builder_dockerdir-latest";

impl ImageName {
    /// The image of packages that name none.
    pub fn default_builder() -> Self {
        Self(DEFAULT_IMAGE.to_owned())
    }
}

fn check_image(text: &str) -> Option<&'static str> {
    let bad = |letter: char| letter.is_whitespace() || letter.is_control();
    (text.is_empty() || text.starts_with('-') || text.contains(bad)).then_some(
        "it is an image's name, so it may not be empty, begin with - or have spaces inside",
    )
}

fn check_package_name(text: &str) -> Option<&'static str> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"@_+".contains(&byte);
    let mut bytes = text.bytes();
    match bytes.next() {
        None => return Some("it is empty"),
        Some(first) if !letter(first) => {
            return Some("it must begin with a letter, a digit, @, _ or +");
        }
        Some(_) => {}
    }
    if !bytes.all(|byte| letter(byte) || b".-".contains(&byte)) {
        return Some("it may have letters, digits and @ . _ + - only");
    }
    if text.contains("--") {
        return Some("it may not have -- inside, which separates name and version in an id");
    }
    text.ends_with('-').then_some("it may not end with -")
}

fn check_version(text: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"@_+:.".contains(&byte);
    (text.is_empty() || !text.bytes().all(allowed))
        .then_some("it may have letters, digits and @ _ + : . only, and not be empty")
}

fn check_user(text: &str) -> Option<&'static str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let rest = text.strip_prefix("dcos_").unwrap_or_default();
    (rest.is_empty() || !rest.bytes().all(allowed))
        .then_some("it must begin with dcos_, followed by a-z, 0-9 and _")
}

fn check_group(text: &str) -> Option<&'static str> {
    let start = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let allowed = |byte: u8| start(byte) || byte.is_ascii_digit() || byte == b'-';
    (!text.bytes().take(1).all(start) || !text.bytes().all(allowed))
        .then_some("it must begin with a-z or _, followed by a-z, 0-9, _ and -")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_names() {
        for good in ["a", "Upper@.x_+-1", "@x", "+", "9", "a-b", "a.b", "_"] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a--b", "a-", "a b", "ä", "a/b", "a\n"] {
            assert!(bad.parse::<PackageName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn versions_users_and_groups() {
        assert!("1.2:3+x@_".parse::<Version>().is_ok());
        assert!("1-2".parse::<Version>().is_err() && "".parse::<Version>().is_err());
        assert!("dcos_a9_".parse::<UserName>().is_ok());
        for bad in ["dcos_", "dcos-a", "root", "dcos_A", "xdcos_a"] {
            assert!(bad.parse::<UserName>().is_err(), "{bad}");
        }
        assert!("_x-9".parse::<GroupName>().is_ok() && "".parse::<GroupName>().is_ok());
        assert!("9x".parse::<GroupName>().is_err() && "X".parse::<GroupName>().is_err());
    }
}
