//! Images of registries: pulling them into the store and pushing them from there. The protocol itself
//! is [`crate::store::registry`].
//!
//! ```text
//! client      shared by all pulls and pushes of a run
//! resolve     a name -> the manifest that is for this machine, through indexes
//! download    a blob, taken up where it broke off, written down while it comes
//! partial     where blobs are until they are whole
//! tail        giving a blob to who unpacks it while it comes
//! mirrored    images of mirrors that are stores: a folder, an archive, a web server
//! fetch       all blobs of an image, several at once
//! pull, push  all of an image; options: what a pull is given
//! ```
//!
//! Nothing is believed: what a manifest leads to has to have its size and its digest, layers what the
//! configuration says of their content, and only what was checked comes into the store. A registry
//! is asked for nothing that the store has; for an image that is there, once, whether it is still
//! that one. Blobs go to files as they come, and from files as they go.

mod client;
mod download;
mod error;
mod fetch;
mod mirror_layout;
mod mirrored;
mod options;
mod partial;
mod pull;
mod push;
mod resolve;
mod tail;

#[cfg(test)]
mod tests;

pub use client::Client;
pub use error::{RegistryError, RegistryProblem, Verb};
pub use mirror_layout::IMAGES;
pub use options::{ImageMirrors, PullOptions, Pulled, UnpackFailure, Unpacker};
pub use push::Pushed;

#[cfg(any(test, fuzzing))]
pub(crate) use resolve::read_served;
