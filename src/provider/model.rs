//! Checked provider, and its output files.

use std::sync::Arc;

use super::argument::TemplateArgument;
use super::definition::{OutputTemplate, PackageTemplate};
use super::engine::Templates;

/// A checked provider.
#[derive(Debug, Clone)]
pub struct Provider {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) arguments: Vec<TemplateArgument>,
    pub(super) outputs: Vec<OutputTemplate>,
    pub(super) pages: Vec<OutputTemplate>,
    pub(super) packages: Vec<PackageTemplate>,
    pub(super) templates: Arc<Templates>,
    /// Names of the providers below, and their `provider.yaml`, which have a part in ids.
    pub(super) bases: Vec<(String, String)>,
}

/// A rendered file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFile {
    /// Relative path: of a reproducible file below the repository, else below the channel.
    pub name: String,
    /// Content type, if the provider names one.
    pub content_type: Option<String>,
    /// The content.
    pub bytes: Vec<u8>,
    /// True for packages and package lists, whose names determine their bytes.
    pub reproducible: bool,
}

impl Provider {
    /// The name: the folder's, or that of the built-in provider.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Explanation for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// All arguments, in the order of `provider.yaml`.
    pub fn arguments(&self) -> &[TemplateArgument] {
        &self.arguments
    }
}
