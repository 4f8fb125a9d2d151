//! Releases: from built trees to files that people install, put where people get them (docs/releasing.md).
//!
//! ```text
//! config      dcos-release.config.yaml: storages and options
//! storage     storages, opened as stores
//! layout      paths below a storage: repository, channel, commit
//! artifact    content, paths and headers of one artifact
//! trees       artifacts of built trees; pkgpanda: the static executable
//! channel     artifacts of a channel, which providers render
//! installers  installers of variants, for machines without a cloud
//! metadata    metadata.json; describe: that of a release in the making
//! signed      signatures of what hosts fetch
//! plan        every object of the two stages, in order; shown: as text and JSON
//! survey      what the storages have, and whether a release may be stored there
//! execute     carries a plan out
//! fetch       brings a release from a storage, for `promote` and `create-installer`
//! view, diff  releases for people
//! ```
//!
//! Everything before `execute` only reads. Content of a storage is checked: others may write to a
//! storage.

pub mod artifact;
pub mod channel;
mod commit;
pub mod config;
mod content;
mod describe;
mod diff;
mod error;
mod execute;
mod fetch;
pub mod installers;
mod layout;
mod metadata;
mod parallel;
mod pkgpanda;
mod plan;
mod shown;
mod signed;
mod storage;
mod survey;
pub mod trees;
pub mod view;

#[cfg(test)]
mod tests;

pub use commit::commit;
pub use describe::describe;
pub use diff::{Diff, Means, PackageChange, ReleasedPackage, Side};
pub use error::ReleaseError;
pub use execute::{StoredCounts, execute};
pub use fetch::fetch_core;
pub use layout::{Commit, LayoutError, ReleaseLocation, TESTING};
pub use metadata::{Complete, METADATA, Metadata, is_deployed};
pub use pkgpanda::StaticPkgpanda;
pub use plan::{PlanError, ReleaseOperation, ReleasePlan, ReleaseStage, ReleaseTarget};
pub use shown::{plan_json, plan_text};
pub use signed::sign;
pub use storage::{Storage, Storages};
pub use survey::{Survey, Surveyed, check_channel, read_release};
