//! Requirements of packages: another package, by name and variant.

use std::fmt;

use super::json::{JsonKind, JsonNode};
use super::{PackageName, Problem, Variant};

/// A package that another one needs, in one of its variants.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Requirement {
    /// The package.
    pub name: PackageName,
    /// Variant of the package.
    pub variant: Variant,
}

impl Requirement {
    /// Reads one entry of `requires`: a name, or `{"name": …, "variant": …}`.
    pub fn from_json(node: &JsonNode) -> Result<Self, Problem> {
        match &node.kind {
            JsonKind::String(name) => {
                Ok(Self { name: required_name(node, name)?, variant: Variant::DEFAULT })
            }
            JsonKind::Object(object) => {
                let both = "a requirement written as an object must have exactly the keys name and variant";
                let (Some(name), Some(variant), 2) =
                    (object.get("name"), object.get("variant"), object.entries().len())
                else {
                    return Err(Problem::at(node.offset, both)
                        .hint("write {\"name\": \"NAME\", \"variant\": \"VARIANT\"}, null being the default variant"));
                };
                let variant = match &variant.kind {
                    JsonKind::Null => Variant::DEFAULT,
                    _ => variant.string("the variant of a requirement")?.parse().map_err(
                        |error: super::VariantError| Problem::at(variant.offset, error.to_string()),
                    )?,
                };
                let text = name.string("the name of a requirement")?;
                Ok(Self { name: required_name(name, text)?, variant })
            }
            _ => {
                Err(node
                    .wrong("a requirement", "a package's name, or an object with name and variant"))
            }
        }
    }
}

impl Requirement {
    /// The package as an argument of commands: `NAME`, or `NAME:VARIANT`.
    pub fn typed(&self) -> String {
        match self.variant.name() {
            None => self.name.to_string(),
            Some(variant) => format!("{}:{variant}", self.name),
        }
    }
}

fn required_name(node: &JsonNode, name: &str) -> Result<PackageName, Problem> {
    if name.contains("--") {
        return Err(Problem::at(
            node.offset,
            format!("{name:?} is an exact package id, and a requirement names a package"),
        )
        .hint("require the name alone; the tree says which id that is"));
    }
    name.parse().map_err(|error: super::NameError| Problem::at(node.offset, error.to_string()))
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant.name() {
            None => write!(f, "{}", self.name),
            Some(variant) => write!(f, "{} (variant {variant})", self.name),
        }
    }
}
