//! Manifests and indexes, checked: what is read here came from outside.
//!
//! `oci-spec` gives the documents' shapes; docker's second schema has the same ones under other
//! media types. What a manifest leads to is named by SHA-256 only.

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, MediaType};

use super::compression::Compression;
use super::digest::{BlobDigest, DigestError};
use super::platform::Platform;

/// Documents beyond this many bytes are refused: they are read into memory.
pub(super) const LONGEST_DOCUMENT: u64 = 16 * 1024 * 1024;

/// The annotation that names an image in a layout's index.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and docker give the full name.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// The annotation in which our store says which index of its registry led to an image.
pub(super) const INDEX_DIGEST: &str = "mkpanda.pulled.index";

const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The media types of manifests and indexes, those of today first.
pub(super) const MANIFEST_TYPES: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    DOCKER_INDEX,
    DOCKER_MANIFEST,
];
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Why a document can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It isn't JSON, or not of the document's shape.
    #[error("it isn't what its media type says: {0}")]
    Shape(serde_json::Error),
    /// It says to be something else than what led to it.
    #[error("it calls itself {found}, but what leads to it says {expected}")]
    OtherType {
        /// What led to it.
        expected: String,
        /// Value that was found.
        found: String,
    },
    /// It leads to something of a kind that can't be used.
    #[error("{what} has the media type {media_type}, which is not supported")]
    MediaType {
        /// The role of what it leads to.
        what: String,
        /// The type.
        media_type: String,
    },
    /// A digest isn't a SHA-256.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A layer has to be fetched from elsewhere.
    #[error("layer {number} is a foreign one, which has to be fetched from elsewhere")]
    ForeignLayer {
        /// Number of the layer, from 1.
        number: usize,
    },
}

/// What a descriptor in an index leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Index,
    Other,
}

/// A checked descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(super) kind: Kind,
    pub(super) media_type: String,
    pub(super) digest: BlobDigest,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
    /// The reference by which its index names it, and containerd's full name.
    pub(super) ref_name: Option<String>,
    pub(super) full_name: Option<String>,
    /// The index by which a registry led to it.
    pub(super) index: Option<BlobDigest>,
}

/// A checked manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(super) config: Content,
    pub(super) layers: Vec<LayerContent>,
}

/// A blob that a document leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(super) digest: BlobDigest,
    pub(super) size: u64,
}

/// A layer's blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerContent {
    pub(super) content: Content,
    pub(super) media_type: String,
    pub(super) compression: Compression,
}

impl Target {
    pub(super) fn of(descriptor: &Descriptor) -> Result<Self, DocumentError> {
        let media_type = descriptor.media_type().to_string();
        let kind = kind_of(&media_type);
        let platform = descriptor.platform().as_ref().map(|platform| Platform {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone().filter(|variant| !variant.is_empty()),
        });
        let content = Content::of(descriptor)?;
        Ok(Self {
            kind,
            media_type,
            digest: content.digest,
            size: content.size,
            platform,
            ref_name: annotation(descriptor, REF_NAME),
            full_name: annotation(descriptor, CONTAINERD_NAME),
            index: annotation(descriptor, INDEX_DIGEST).and_then(|digest| digest.parse().ok()),
        })
    }
}

/// What a media type says that a document is.
pub(super) fn kind_of(media_type: &str) -> Kind {
    match MediaType::from(media_type) {
        MediaType::ImageManifest => Kind::Manifest,
        MediaType::ImageIndex => Kind::Index,
        MediaType::Other(name) if name == DOCKER_MANIFEST => Kind::Manifest,
        MediaType::Other(name) if name == DOCKER_INDEX => Kind::Index,
        _ => Kind::Other,
    }
}

impl Content {
    fn of(descriptor: &Descriptor) -> Result<Self, DocumentError> {
        Ok(Self { digest: descriptor.digest().as_ref().parse()?, size: descriptor.size() })
    }
}

/// An annotation of a descriptor.
pub(super) fn annotation(descriptor: &Descriptor, key: &str) -> Option<String> {
    descriptor.annotations().as_ref()?.get(key).cloned()
}

/// Reads an index below the top one; the top one has no media type that would lead to it.
pub(crate) fn parse_index(
    bytes: &[u8],
    expected: Option<&str>,
) -> Result<Vec<Target>, DocumentError> {
    let index: ImageIndex = serde_json::from_slice(bytes).map_err(DocumentError::Shape)?;
    if let Some(expected) = expected {
        check_type(expected, index.media_type().as_ref())?;
    }
    index.manifests().iter().map(Target::of).collect()
}

/// Reads a manifest and checks all that it leads to.
pub(crate) fn parse_manifest(bytes: &[u8], expected: &str) -> Result<Manifest, DocumentError> {
    let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(DocumentError::Shape)?;
    check_type(expected, manifest.media_type().as_ref())?;
    let config = manifest.config();
    let known = match config.media_type() {
        MediaType::ImageConfig => true,
        MediaType::Other(name) => name == DOCKER_CONFIG,
        _ => false,
    };
    if !known {
        return Err(DocumentError::MediaType {
            what: "its configuration".to_owned(),
            media_type: config.media_type().to_string(),
        });
    }
    let layers = manifest
        .layers()
        .iter()
        .enumerate()
        .map(|(index, layer)| parse_layer(index + 1, layer))
        .collect::<Result<_, _>>()?;
    Ok(Manifest { config: Content::of(config)?, layers })
}

fn parse_layer(number: usize, layer: &Descriptor) -> Result<LayerContent, DocumentError> {
    let media_type = layer.media_type().to_string();
    let foreign = media_type.contains("nondistributable") || media_type.contains(".foreign.");
    if foreign || layer.urls().as_ref().is_some_and(|urls| !urls.is_empty()) {
        return Err(DocumentError::ForeignLayer { number });
    }
    let compression = match media_type.as_str() {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Compression::None,
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Compression::Gzip,
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Compression::Zstd,
        _ => return Err(DocumentError::MediaType { what: format!("layer {number}"), media_type }),
    };
    Ok(LayerContent { content: Content::of(layer)?, media_type, compression })
}

/// A document that says another type than its descriptor could be read as two things at once.
fn check_type(expected: &str, found: Option<&MediaType>) -> Result<(), DocumentError> {
    match found {
        Some(found) if found.as_ref() != expected => Err(DocumentError::OtherType {
            expected: expected.to_owned(),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

    fn manifest(config_type: &str, layer: &str) -> String {
        let digest = BlobDigest::from(crate::base::digest::Sha256Sum::of(b"x"));
        format!(
            r#"{{"schemaVersion": 2,
            "config": {{"mediaType": "{config_type}", "digest": "{digest}", "size": 1}},
            "layers": [{{"digest": "{digest}", "size": 1, {layer}}}]}}"#
        )
    }

    fn parse(config_type: &str, layer: &str) -> Result<Manifest, String> {
        parse_manifest(manifest(config_type, layer).as_bytes(), OCI)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_known_media_types_are_read() {
        for (media_type, compression) in [
            ("application/vnd.oci.image.layer.v1.tar", Compression::None),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Compression::Gzip),
            ("application/vnd.oci.image.layer.v1.tar+zstd", Compression::Zstd),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Compression::Gzip),
            ("application/vnd.docker.image.rootfs.diff.tar", Compression::None),
        ] {
            let layer = format!(r#""mediaType": "{media_type}""#);
            assert_eq!(parse(DOCKER_CONFIG, &layer).unwrap().layers[0].compression, compression);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let config = "application/vnd.oci.image.config.v1+json";
        let tar = r#""mediaType": "application/vnd.oci.image.layer.v1.tar""#;
        for (config, layer, message) in [
            ("application/vnd.cncf.helm.config.v1+json", tar, "helm"),
            (config, r#""mediaType": "application/vnd.oci.image.layer.v1.tar+xz""#, "tar+xz"),
            (
                config,
                r#""mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip""#,
                "layer 1 is a foreign",
            ),
            (config, &format!(r#"{tar}, "urls": ["https://example.org/x"]"#), "foreign"),
        ] {
            let error = parse(config, layer).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let text = manifest(config, tar).replace(
            "\"schemaVersion\"",
            &format!("\"mediaType\": \"{DOCKER_MANIFEST}\", \"schemaVersion\""),
        );
        let error = parse_manifest(text.as_bytes(), OCI).unwrap_err().to_string();
        assert!(error.contains("calls itself"), "{error}");
        let sha512 = manifest(config, tar).replace("sha256:", "sha512:");
        assert!(parse_manifest(sha512.as_bytes(), OCI).is_err());
    }
}
