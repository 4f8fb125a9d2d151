//! Permissions that the user gives to a tree.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

/// Permission that the user can give to a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// `[builders]`: registry of builder images, and pushes to it with the user's credentials.
    Builders,
    /// End of the run together with the parent process.
    DieWithParent,
    /// `git_local` sources outside the tree's own repository.
    GitLocal,
    /// `dockerfile:` places of images outside the tree.
    Images,
    /// Limits higher than the user's.
    Limits,
    /// The machine's network in builds.
    Network,
    /// `[registries]`: mirrors, plain HTTP, CAs.
    Registries,
    /// Repository of packages.
    RepositoryUrl,
    /// Range of ids that root gives to containers.
    RootRange,
    /// Scratch folder of builds.
    Scratch,
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Builders => "builders",
            Self::DieWithParent => "die_with_parent",
            Self::GitLocal => "git_local",
            Self::Images => "images",
            Self::Limits => "limits",
            Self::Network => "network",
            Self::Registries => "registries",
            Self::RepositoryUrl => "repository_url",
            Self::RootRange => "root_range",
            Self::Scratch => "scratch",
        })
    }
}

/// Permissions of a tree in the user's configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// Keys that the tree may set.
    #[serde(default)]
    pub allow: BTreeSet<Grant>,
}
