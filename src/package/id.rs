//! A package's id, `<name>--<version>`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::{NameError, PackageName, Version};
use crate::base::text::written_as_text;

/// A package's id: `<name>--<version>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageId {
    name: PackageName,
    version: Version,
}

impl PackageId {
    /// Puts an id together.
    pub fn new(name: PackageName, version: Version) -> Self {
        Self { name, version }
    }

    /// The package's name.
    pub fn name(&self) -> &PackageName {
        &self.name
    }

    /// The package's version.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Compares ids as texts, so that `a-b--1` comes after `a--2`.
    pub fn cmp_as_text(&self, other: &Self) -> Ordering {
        let (name, other_name) = (self.name.as_str(), other.name.as_str());
        let shared = name.len().min(other_name.len());
        // Only where one name begins with the other does it matter what comes next.
        name.as_bytes()[..shared].cmp(&other_name.as_bytes()[..shared]).then_with(|| {
            let rest =
                |id: &Self| [&id.name.as_str()[shared..], "--", id.version.as_str()].concat();
            if name.len() == other_name.len() {
                self.version.cmp(&other.version)
            } else {
                rest(self).cmp(&rest(other))
            }
        })
    }
}

impl FromStr for PackageId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let error = |rule| NameError { kind: "package id", text: text.to_owned(), rule };
        let (name, version) =
            text.split_once("--").ok_or_else(|| error("it must be <name>--<version>"))?;
        // The text could be parted in two ways.
        if version.contains("--") {
            return Err(error("it may have only one --, between name and version"));
        }
        Ok(Self { name: name.parse()?, version: version.parse()? })
    }
}

impl fmt::Display for PackageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}--{}", self.name, self.version)
    }
}

written_as_text!(PackageId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_name_and_version() {
        let id: PackageId = "a-b--1.2.ff".parse().unwrap();
        assert_eq!((id.name().as_str(), id.version().as_str()), ("a-b", "1.2.ff"));
        assert_eq!(id.to_string(), "a-b--1.2.ff");
        for bad in ["a", "a--", "--1", "a--1--2", "a--1-2", "a---1"] {
            assert!(bad.parse::<PackageId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_compare_as_texts() {
        let texts =
            ["a--1", "a--10", "a--2", "a-b--1", "a.b--1", "a+b--1", "ab--1", "A--1", "@--_"];
        for one in texts {
            for other in texts {
                let ids: [PackageId; 2] = [one, other].map(|text| text.parse().unwrap());
                assert_eq!(ids[0].cmp_as_text(&ids[1]), one.cmp(other), "{one} {other}");
            }
        }
    }
}
