//! Index of a store: for programs as JSON, for people as one HTML page without scripts.
//!
//! ```text
//! contents   what an index says, read from a store
//! document   as JSON; page: as HTML
//! place      into a store, or a folder
//! ```
//!
//! The same store has the same index, byte for byte. Everything that comes from the store is a checked name, a
//! number, or escaped.

mod contents;
mod document;
mod page;
mod place;

pub use contents::{Index, IndexError, read_index};
pub use place::{Replaced, write_index};
