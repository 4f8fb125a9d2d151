//! Builder images: references, the store, layouts and archives, layers, and the embedded builder.
//!
//! An image goes through these modules, in this order:
//!
//! ```text
//! reference   "ubuntu:14.04" -> docker.io/library/ubuntu:14.04       what a package asks for
//! location    "oci-archive:FILE"                                     where a configuration says it lies
//! load        layout, OCI archive, docker archive -> checked blobs
//! pins        what a tree's lock says that names stand for
//! store       $MKPANDA_HOME/images, an OCI layout; gives an Image, and of that a RootImage
//! registry    pulling into the store, pushing from it; the protocol is `crate::store::registry`
//! save        from the store to a layout or an archive
//! layers      in the helper: blobs -> folders in overlay form, each once per id mapping
//! config      entrypoint, environment, user, working directory
//! host        instead of all that: the machine itself
//! ```
//!
//! Registries (`registry`) and Dockerfiles bring images into the same store.

pub mod compression;
pub mod config;
pub mod digest;
pub(crate) mod document;
pub mod host;
pub mod layers;
pub mod load;
pub mod location;
pub(crate) mod manifest;
pub mod pins;
pub mod platform;
pub mod registry;
pub mod save;
pub mod store;
mod store_error;
mod threads;
pub mod user;

#[cfg(test)]
mod tests;

/// Names of images: the grammar is that of registries.
pub use crate::store::registry::reference;
pub use document::DocumentError;
pub use reference::ImageRef;
