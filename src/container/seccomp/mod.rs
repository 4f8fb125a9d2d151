//! System calls that builds may not make, and those with emulated results where root is emulated.
//!
//! [`table`] is the policy, one row per refusal with its reason; [`program`] turns the table into a
//! classic BPF program. A filter is installed last, right before the build script is executed.
//! libcontainer can install filters through libseccomp, a system library, which is not needed here.

#[cfg(test)]
mod document;
pub mod program;
pub mod table;

pub use program::build;
