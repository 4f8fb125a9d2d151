//! Carrying out the steps of a Dockerfile.
//!
//! ```text
//! build      the parent's side: stages in threads, each with a helper of its own
//! shared     what the stages' threads share
//! stage      one stage: its steps, found in the cache or handed to the helper
//! workplace  what that needs of the machine
//! inputs     what a step takes from elsewhere, and the digest of it
//! follow     what a command says, shown while it says it
//! job        what a helper is told of one step, and what it answers; plain data
//! step       the helper's side: root, command or copying, layer
//! ```

mod agent;
mod build;
mod choose;
mod error;
mod follow;
mod inputs;
pub mod job;
mod place;
mod readable;
mod shared;
mod stage;
pub mod step;
pub mod workplace;

pub use build::{BuiltImage, build, is_flattened};
pub use error::{DockerfileError, StepError};
