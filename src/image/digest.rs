//! Digests of images and layers: `sha256:<hex>`, as those of blobs.

pub use crate::store::registry::{BlobDigest, DigestError};

use crate::store::registry::digest::digest_type;

digest_type!(
    ImageId,
    "image id",
    "Id of an image: digest of its configuration, and part of package ids (docs/format.md, \"Package id\")."
);
digest_type!(DiffId, "diff id", "Digest of a layer's uncompressed tar.");
