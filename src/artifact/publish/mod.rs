//! Putting packages, bootstraps and builder images into a store.
//!
//! ```text
//! target     an archive in a store, with the files beside it
//! package    packages; bootstrap: bootstraps; image: builder images
//! error      failures
//! ```
//!
//! The archive comes first, and its accompanying files (digest, signature, record, list) describe
//! the stored archive: of two concurrent writers the store accepts one archive, and the next writer
//! completes the files of a killed one. Different bytes under one id are not damage in themselves,
//! since another version may compress differently: packages are compared by the digest of their
//! tar.

mod bootstrap;
mod error;
mod image;
mod package;
mod target;

pub use bootstrap::{BootstrapPublication, publish_bootstrap};
pub use error::PublishError;
pub use image::{ImagePublication, has_image, publish_image};
pub use package::{Publication, publish, record_path};
pub use target::{Published, has};
