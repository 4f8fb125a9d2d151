//! Putting packages, bootstraps and builder images into a store.
//!
//! ```text
//! place      an archive in a store, with the files beside it
//! package    packages; bootstrap: bootstraps; image: builder images
//! error      failures
//! ```
//!
//! The archive comes first, and the files beside it (sum, signature, record, list) describe the archive that
//! the store has: of two writers at once the store takes one archive, and a writer that was killed leaves an
//! archive that the next one describes. Other bytes under one id are not damage in themselves, since another
//! version may compress differently: packages are compared by the digest of their tar.

mod bootstrap;
mod error;
mod image;
mod package;
mod place;

pub use bootstrap::{BootstrapPublication, bootstrap_path, list_path, publish_bootstrap};
pub use error::PublishError;
pub use image::{ImagePublication, has_image, publish_image};
pub use package::{Publication, publish, record_path};
pub use place::{Published, has};
