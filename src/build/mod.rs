//! From a tree to packages: ids, the plan, its execution.

pub mod id;
pub mod plan;
