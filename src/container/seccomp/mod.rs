//! System calls that builds may not make, and those with emulated results where root is emulated.
//!
//! [`table`] is the policy, one row per refusal with its reason; [`program`] turns it into a
//! classic BPF program. A filter is installed last, right before the build script is executed.
//! libcontainer can install filters through libseccomp, a system library; this needs none.

#[cfg(test)]
mod document;
pub mod program;
pub mod table;

pub use program::build;
