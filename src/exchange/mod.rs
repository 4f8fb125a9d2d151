//! Exchange with shared caches outside of builds: `mkpanda cache`.
//!
//! ```text
//! wanted     what the current ids of a tree name: packages, bootstraps, sources
//! push       from a tree's cache into caches; pull: from caches into a tree's cache
//! contents   what a store holds, by the names of its objects
//! verify     each artifact of a store against the files beside it
//! index      a description of a store for people and programs: JSON and one HTML page
//! ```
//!
//! Nothing is built. Every transfer is complete or absent, so that an interrupted run can be
//! repeated: transferred artifacts are not transferred a second time.

mod contents;
mod failure;
mod index;
mod names;
mod pull;
mod push;
mod verify;
mod wanted;

pub use contents::{ArtifactKind, PartSizes, StoreContents};
pub use failure::{ExchangeError, ExchangeFailure};
pub use index::{IndexError, Replaced, StoreIndex, read_index, write_index};
pub use names::{INDEX_JSON, INDEX_PAGE};
pub use pull::{PullReport, pull};
pub use push::{PushReport, push};
pub use verify::{ArtifactFault, FaultKind, Verified, verify};
pub use wanted::{PackageSelection, WantedArtifacts};
