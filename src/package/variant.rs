//! Variants of packages and trees: the default one, or a name before the first dot of a file name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A variant: `None` inside for the default one, shown as `<default>` and hashed as `""`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Variant(Option<String>);

/// The text can't be a variant's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid variant name: it must not be empty, contain a / or begin with a dot")]
pub struct VariantError(String);

impl Variant {
    /// The default variant.
    pub const DEFAULT: Self = Self(None);

    /// Name; `None` for the default variant.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The variant as it goes into a package's id.
    pub fn hashed(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// A file's name for this variant: `<file>`, or `<variant>.<file>`.
    pub fn file(&self, file: &str) -> String {
        match &self.0 {
            None => file.to_owned(),
            Some(name) => format!("{name}.{file}"),
        }
    }
}

impl FromStr for Variant {
    type Err = VariantError;

    /// Parses a named variant. The default one has no text.
    fn from_str(text: &str) -> Result<Self, VariantError> {
        // It is a part of file names, where a dot at the beginning would hide the file.
        if text.is_empty() || text.starts_with('.') || text.contains(['/', '\0']) {
            return Err(VariantError(text.to_owned()));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("<default>"))
    }
}

impl Serialize for Variant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Variant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            None => Ok(Self::DEFAULT),
            Some(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// Reads the variant off a file's name that may end in `suffix` (`buildinfo.json`, say).
///
/// Returns `None` for other files, and an error for a file without a valid variant: `.<suffix>` and
/// `foo<suffix>`, which would be overlooked otherwise.
pub fn variant_of_file(file: &str, suffix: &str) -> Option<Result<Variant, VariantError>> {
    let prefix = file.strip_suffix(suffix)?;
    if prefix.is_empty() {
        return Some(Ok(Variant::DEFAULT));
    }
    Some(match prefix.strip_suffix('.') {
        Some(name) => name.parse(),
        None => Err(VariantError(prefix.to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_read_off_file_names() {
        let of = |file| variant_of_file(file, "buildinfo.json");
        assert_eq!(of("buildinfo.json"), Some(Ok(Variant::DEFAULT)));
        assert_eq!(of("two.three.buildinfo.json").unwrap().unwrap().name(), Some("two.three"));
        assert!(of(".buildinfo.json").unwrap().is_err());
        assert!(of("foobuildinfo.json").unwrap().is_err());
        assert_eq!(of("build"), None);
        assert_eq!(Variant::DEFAULT.file("latest"), "latest");
        assert_eq!("x".parse::<Variant>().unwrap().file("latest"), "x.latest");
        assert_eq!(Variant::DEFAULT.to_string(), "<default>");
    }
}
