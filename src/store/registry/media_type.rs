//! Media types of OCI images (image specification, "OCI Image Media Types").

/// An index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// A manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer, before the ending of the compression.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
