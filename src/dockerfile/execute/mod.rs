//! Carrying out the steps of a Dockerfile.
//!
//! ```text
//! build     the parent's side: stages in threads, each with a helper of its own
//! job       what a helper is told of one step, and what it answers; plain data
//! step      the helper's side: root, command or copying, layer
//! ```

pub mod job;
pub mod step;
