//! Names of a store's index.

/// Index for programs.
pub const INDEX_JSON: &str = "index.json";
/// Index for people.
pub const INDEX_PAGE: &str = "index.html";
