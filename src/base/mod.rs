//! What every other layer stands on and what knows no domain type: digests, files that appear
//! whole or not at all, locks, removing, and the events through which the library reports progress.

pub mod atomic;
pub mod causes;
pub(crate) mod descent;
pub mod digest;
pub(crate) mod elf;
pub(crate) mod escape;
pub mod event;
#[cfg(feature = "builder")]
pub mod go_json;
pub mod http;
pub mod lock;
pub(crate) mod lock_holder;
pub mod memory_file;
#[cfg(feature = "builder")]
pub mod parallel;
#[cfg(test)]
#[path = "tests/recorded.rs"]
pub(crate) mod recorded;
pub mod regular;
pub(crate) mod remedy;
pub mod removal;
#[cfg(feature = "builder")]
pub mod secret;
pub(crate) mod suggestion;
pub mod supervisor;
pub(crate) mod text;
#[cfg(feature = "builder")]
pub mod times;
#[cfg(test)]
#[path = "tests/warnings.rs"]
pub(crate) mod warnings;
pub mod within;
