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
//! Nothing is trusted: referenced content must match its size and digest, and layers must match the
//! diff ids in the configuration; only checked content enters the store. Blobs in the store are not
//! downloaded again; for an image in the store, one request compares the manifest's digest.
//! Downloads are streamed to files, and uploads are streamed from files.

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
pub use options::{ImageMirrors, PullOptions, PulledImage, UnpackFailure, Unpacker};
pub use push::PushedImage;

#[cfg(any(test, fuzzing))]
pub(crate) use resolve::read_served;
