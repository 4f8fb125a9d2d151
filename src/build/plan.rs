//! Plan for a set of packages, with reasons: data that can be printed before any action.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value;

use super::id::Identities;
use crate::package::{ImageName, PackageId};
use crate::tree::{PackageKey, PackageTree};

/// State of a package in the cache.
#[derive(Debug, Clone, Default)]
pub struct CacheState {
    /// True if the archive with exactly this id is present.
    pub archive: bool,
    /// The id of the last build, from the `latest` file: for the reason only, never to decide.
    pub latest: Option<PackageId>,
    /// The `build_ids` of the last build, if they are at hand.
    pub latest_build_ids: Option<Value>,
}

/// Plan for packages, in dependency order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildPlan {
    /// An entry per package.
    pub entries: Vec<PlanEntry>,
}

/// Planned action for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanEntry {
    /// Name and variant.
    pub key: PackageKey,
    /// Id of the package.
    pub id: PackageId,
    /// Planned action.
    pub action: Action,
}

/// Action for a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// None: the package is in the cache.
    Cached,
    /// Fetch, or build if no repository has the package.
    Build(Why),
}

/// Reason for a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The package has no record of a build.
    NeverBuilt,
    /// The package was built with this id, but its archive is missing.
    ArchiveMissing,
    /// The last build had another id.
    Changed {
        /// Id of the last build.
        from: PackageId,
        /// Changed parts of `build_ids`, in words; empty if the last `build_ids` are unknown.
        what: Vec<&'static str>,
    },
}

/// Package without a known id, and thereby with unknown presence in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Name and variant.
    pub key: PackageKey,
    /// Reason.
    pub why: WhyPending,
}

/// Reason why the id of a package is still unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhyPending {
    /// The package's image must be pulled or built first.
    Image {
        /// The image.
        name: ImageName,
        /// Folder with the image's Dockerfile.
        folder: PathBuf,
    },
    /// Its image would have to be pulled first.
    Pull(ImageName),
    /// A required package has no known id.
    Requires(PackageKey),
}

/// Plans packages with known ids, given the cache's state of each.
pub fn plan(
    tree: &PackageTree,
    identities: &Identities,
    mut cache: impl FnMut(&PackageKey, &PackageId) -> CacheState,
) -> BuildPlan {
    let entries = identities.iter().map(|identity| {
        let state = cache(&identity.key, &identity.id);
        let action = if state.archive {
            Action::Cached
        } else {
            Action::Build(match state.latest {
                None => Why::NeverBuilt,
                Some(latest) if latest == identity.id => Why::ArchiveMissing,
                Some(from) => {
                    let now = tree.package(&identity.key).map(|package| {
                        // Only looked at when something is built, so never when nothing changed.
                        identities.build_ids(package, identity)
                    });
                    let what = match (&state.latest_build_ids, &now) {
                        (Some(then), Some(now)) => differences(then, now),
                        _ => Vec::new(),
                    };
                    Why::Changed { from, what }
                }
            })
        };
        PlanEntry { key: identity.key.clone(), id: identity.id.clone(), action }
    });
    BuildPlan { entries: entries.collect() }
}

/// The parts of `build_ids` as a person knows them.
const PARTS: [(&str, &str); 12] = [
    ("build", "the build script"),
    ("sources", "its sources"),
    ("extra_source", "extra/"),
    ("docker", "the builder image"),
    ("requires", "what it requires"),
    ("environment", "environment"),
    ("state_directory", "state_directory"),
    ("username", "username"),
    ("group", "group"),
    ("sysctl", "sysctl"),
    ("version_extra", "version_extra"),
    ("pkgpanda_version", "the format's version"),
];

fn differences(then: &Value, now: &Value) -> Vec<&'static str> {
    let differs = |(key, _): &&(&str, &str)| then.get(key) != now.get(key);
    PARTS.iter().filter(differs).map(|(_, words)| *words).collect()
}

impl BuildPlan {
    /// The plan once these packages are in the cache.
    #[must_use]
    pub fn without(&self, there: &BTreeSet<PackageId>) -> Self {
        let mut plan = self.clone();
        for entry in plan.entries.iter_mut().filter(|entry| there.contains(&entry.id)) {
            entry.action = Action::Cached;
        }
        plan
    }

    /// The packages that are not there yet.
    pub fn to_build(&self) -> impl Iterator<Item = &PlanEntry> {
        self.entries.iter().filter(|entry| entry.action != Action::Cached)
    }
}

impl fmt::Display for BuildPlan {
    /// A line per package: `build <id> (<why>)` or `cached <id>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PlanEntry { key, id, action } in &self.entries {
            let variant = match key.variant.name() {
                None => String::new(),
                Some(name) => format!(" variant {name}"),
            };
            match action {
                Action::Cached => writeln!(f, "cached {id}{variant}")?,
                Action::Build(why) => writeln!(f, "build  {id}{variant} ({why})")?,
            }
        }
        Ok(())
    }
}

impl Pending {
    /// Reason, in words.
    pub fn reason(&self) -> String {
        match &self.why {
            WhyPending::Image { name, folder } => format!(
                "its image {name} would be pulled, or built from {}, first",
                folder.display()
            ),
            WhyPending::Pull(name) => format!("its image {name} would be pulled first"),
            WhyPending::Requires(required) => format!("it requires {required}"),
        }
    }
}

impl fmt::Display for Pending {
    /// A line: `later  <name> (<why>)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "later  {} (no id yet: {})", self.key, self.reason())
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverBuilt => f.write_str("never built"),
            Self::ArchiveMissing => f.write_str("its archive is gone"),
            Self::Changed { from, what } if what.is_empty() => write!(f, "last built as {from}"),
            Self::Changed { from, what } => {
                write!(f, "last built as {from}; changed: {}", what.join(", "))
            }
        }
    }
}
