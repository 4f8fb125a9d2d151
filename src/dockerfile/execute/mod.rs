//! Carrying out the steps of a Dockerfile.
//!
//! ```text
//! bases      inputs that a Dockerfile takes from elsewhere
//! added      current contents of sources of ADD, for a lock
//! build      stages in threads, each with a helper of its own
//! stage      one stage: its steps, found in the cache or carried out by the helper
//! inputs     inputs of a step from elsewhere, and their digests
//! fetched    those of ADD from the network
//! provision  base images, and room for containers
//! shared     state that the stages' threads share
//! job        steps as jobs of the helper: plain data
//! step       the helper's side: root, command or copies, layer
//! ```

mod added;
mod agent;
mod bases;
mod build;
mod bytes;
mod caches;
mod choose;
mod error;
mod fetched;
mod inputs;
pub mod job;
mod placement;
mod provision;
mod provision_error;
mod readable;
mod shared;
mod stage;
mod step;

pub use added::{AddedError, AddedPlace, current};
pub use bases::{KnownConfig, OutsideInputs, outside_inputs};
pub use build::BuiltImage;
pub use error::{DockerfileError, StepError};
pub use provision_error::ProvisionError;
pub use shared::{is_flattened, is_still_of};
