//! Foundation of all other layers, without domain types: digests, atomic files, locks, removal, and
//! the events through which the library reports progress.

pub mod atomic;
#[cfg(feature = "builder")]
pub mod calendar;
pub mod causes;
pub mod confinement;
pub(crate) mod descent;
pub mod digest;
pub(crate) mod early_writer;
pub(crate) mod elf;
pub(crate) mod escape;
pub mod event;
#[cfg(test)]
#[path = "tests/events.rs"]
pub(crate) mod events;
#[cfg(feature = "builder")]
pub(crate) mod file_stamp;
pub(crate) mod full_disk;
#[cfg(feature = "builder")]
pub mod go_json;
pub mod hidden_input;
pub mod http;
pub mod lock;
pub(crate) mod lock_holder;
pub mod memory_file;
#[cfg(feature = "builder")]
pub mod parallel;
#[cfg(test)]
#[path = "tests/processor_time.rs"]
pub(crate) mod processor_time;
#[cfg(feature = "builder")]
pub mod programs;
#[cfg(test)]
#[path = "tests/recorded.rs"]
pub(crate) mod recorded;
pub mod regular;
pub(crate) mod remedy;
pub mod removal;
#[cfg(feature = "builder")]
pub mod secret;
#[cfg(feature = "builder")]
pub(crate) mod serde_words;
pub(crate) mod suggestion;
pub mod supervisor;
pub(crate) mod tap;
pub(crate) mod text;
pub(crate) mod threaded_hasher;
#[cfg(feature = "builder")]
pub mod times;
#[cfg(feature = "builder")]
pub mod total;
