//! Index of a store: for programs as JSON, for people as one HTML page without scripts.
//!
//! ```text
//! contents      what an index says, read from a store
//! document      as JSON; page: as HTML
//! destination   into a store, or a folder
//! ```
//!
//! The same store has the same index, byte for byte. Everything that comes from the store is a checked name, a
//! number, or escaped.

mod contents;
mod destination;
mod document;
mod page;

pub use contents::{IndexError, StoreIndex, read_index};
pub use destination::{Replaced, write_index};
