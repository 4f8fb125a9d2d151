//! Digests of images and layers: `sha256:<hex>`, as those of blobs.

pub use crate::store::registry::{BlobDigest, DigestError};

use crate::store::registry::digest::digest_type;

digest_type!(
    ImageId,
    "image id",
    "Digest of the bytes of an image's configuration; a part of package ids (SPEC §5)."
);
digest_type!(DiffId, "diff id", "Digest of a layer's uncompressed tar.");
