//! Looks at a tree without a build and without a network.
//!
//! ```text
//! listing      packages with ids and places where they are built: `mkpanda list`
//! relations    what requires what, and chains of requirements: `mkpanda graph`
//! check        faults and oddities of a whole tree: `mkpanda check`
//! explain      inputs of an id, and the first one that differs from another build: `mkpanda explain`
//! ```
//!
//! Results are plain data with a JSON form; `cli` makes text of the same data.

pub mod check;
pub mod explain;
pub mod listing;
pub mod relations;
