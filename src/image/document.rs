//! Manifests and indexes, checked: what is read here came from outside.
//!
//! Docker's second schema has the same shapes as OCI's under other media types; both are read as programs
//! in Go read them ([`go_json`]). What a manifest leads to is named by SHA-256 only. One entry of an
//! index that cannot be understood does not make the others unusable.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use serde::Deserialize;
use serde_json::Value;

use super::digest::{BlobDigest, DigestError};
use super::platform::Platform;
use crate::base::go_json::{self, Shape};

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
const OCTETS: &str = "application/octet-stream";
/// Prefixes of the media types of layers, before the compression.
const LAYER_TYPES: [&str; 4] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

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
    /// A key that has to be there is missing.
    #[error("{what} has no {key}")]
    Missing {
        /// The role of what lacks it.
        what: String,
        /// The key.
        key: &'static str,
    },
}

const DESCRIPTOR: Shape = Shape::Structure(&[
    ("mediaType", Shape::Any),
    ("digest", Shape::Any),
    ("size", Shape::Any),
    ("annotations", Shape::Map(&Shape::Any)),
    (
        "platform",
        Shape::Structure(&[
            ("architecture", Shape::Any),
            ("os", Shape::Any),
            ("variant", Shape::Any),
        ]),
    ),
]);

/// Form of an index.
pub(super) const INDEX: Shape = Shape::Structure(&[
    ("schemaVersion", Shape::Any),
    ("mediaType", Shape::Any),
    ("manifests", Shape::List(&DESCRIPTOR)),
    ("annotations", Shape::Map(&Shape::Any)),
]);

/// Form of a manifest.
pub(super) const MANIFEST: Shape = Shape::Structure(&[
    ("schemaVersion", Shape::Any),
    ("mediaType", Shape::Any),
    ("config", DESCRIPTOR),
    ("layers", Shape::List(&DESCRIPTOR)),
    ("annotations", Shape::Map(&Shape::Any)),
]);

/// Form of the file `oci-layout`.
const LAYOUT: Shape = Shape::Structure(&[("imageLayoutVersion", Shape::Any)]);

/// A descriptor as it was written; keys that are missing are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawDescriptor {
    media_type: String,
    digest: String,
    size: Option<u64>,
    annotations: BTreeMap<String, String>,
    platform: Option<RawPlatform>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawPlatform {
    architecture: String,
    os: String,
    variant: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawIndex {
    media_type: String,
    manifests: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawManifest {
    media_type: String,
    config: Option<RawDescriptor>,
    layers: Vec<RawDescriptor>,
}

/// What a descriptor in an index leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// A layer's blob. Its content decides on its compression, not the media type: both are of many tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerContent {
    pub(super) content: Content,
    pub(super) media_type: String,
}

/// A checked index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct IndexContent {
    pub(super) targets: Vec<Target>,
    /// Entries that cannot be understood, in words.
    pub(super) odd: Vec<String>,
}

impl Target {
    /// Checks an entry of an index.
    pub(super) fn of(entry: &Value) -> Result<Self, DocumentError> {
        let raw: RawDescriptor =
            serde_json::from_value(entry.clone()).map_err(DocumentError::Shape)?;
        let content = Content::of(&raw, "an entry of the index")?;
        let platform = raw.platform.map(|platform| Platform {
            os: platform.os,
            architecture: platform.architecture,
            variant: Some(platform.variant).filter(|variant| !variant.is_empty()),
        });
        let named = |key: &str| raw.annotations.get(key).filter(|text| !text.is_empty()).cloned();
        Ok(Self {
            kind: kind_of(&raw.media_type),
            digest: content.digest,
            size: content.size,
            platform,
            ref_name: named(REF_NAME),
            full_name: named(CONTAINERD_NAME),
            index: named(INDEX_DIGEST).and_then(|digest| digest.parse().ok()),
            media_type: raw.media_type,
        })
    }

    /// Rank of an entry among those of an index that may be for a platform; the lowest comes first.
    pub(super) fn rank(&self) -> (u8, u8) {
        match &self.platform {
            Some(platform) if platform.is_complete() => (0, platform.distance()),
            Some(_) => (1, 0),
            None => (2, 0),
        }
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
    fn of(raw: &RawDescriptor, what: &str) -> Result<Self, DocumentError> {
        let missing = |key| DocumentError::Missing { what: what.to_owned(), key };
        if raw.digest.is_empty() {
            return Err(missing("digest"));
        }
        let size = raw.size.ok_or_else(|| missing("size"))?;
        Ok(Self { digest: raw.digest.parse()?, size })
    }
}

/// An annotation of an index's entry.
pub(super) fn annotation(entry: &Value, key: &str) -> Option<String> {
    entry.get("annotations")?.get(key)?.as_str().map(str::to_owned)
}

/// The version that the file `oci-layout` names.
pub(super) fn layout_version(bytes: &[u8]) -> Result<String, DocumentError> {
    let layout: Value = go_json::parse(bytes, &LAYOUT).map_err(DocumentError::Shape)?;
    let version = layout.get("imageLayoutVersion").and_then(Value::as_str);
    let missing =
        || DocumentError::Missing { what: "oci-layout".to_owned(), key: "imageLayoutVersion" };
    version.map(str::to_owned).ok_or_else(missing)
}

/// Checks the version of a layout.
pub(super) fn check_layout_version(bytes: &[u8]) -> Result<(), DocumentError> {
    let version = layout_version(bytes)?;
    if version.starts_with("1.") {
        return Ok(());
    }
    Err(DocumentError::OtherType {
        expected: "version 1".to_owned(),
        found: format!("version {version}"),
    })
}

/// Reads an index below the top one; the top one has no media type that would lead to it.
pub(crate) fn parse_index(
    bytes: &[u8],
    expected: Option<&str>,
) -> Result<IndexContent, DocumentError> {
    let index: RawIndex = go_json::parse(bytes, &INDEX).map_err(DocumentError::Shape)?;
    if let Some(expected) = expected {
        check_type(expected, &index.media_type)?;
    }
    let mut content = IndexContent::default();
    for entry in &index.manifests {
        match Target::of(entry) {
            Ok(target) => content.targets.push(target),
            Err(problem) => content.odd.push(format!("an entry that {}", said_of(&problem))),
        }
    }
    Ok(content)
}

fn said_of(problem: &DocumentError) -> String {
    format!("is not usable ({problem})")
}

/// Reads a manifest and checks all that it leads to.
pub(crate) fn parse_manifest(bytes: &[u8], expected: &str) -> Result<Manifest, DocumentError> {
    let manifest: RawManifest = go_json::parse(bytes, &MANIFEST).map_err(DocumentError::Shape)?;
    check_type(expected, &manifest.media_type)?;
    let what = "its configuration";
    let config = manifest
        .config
        .ok_or_else(|| DocumentError::Missing { what: "it".to_owned(), key: "config" })?;
    let known = match MediaType::from(config.media_type.as_str()) {
        MediaType::ImageConfig => true,
        // The second one is of docker 1.10.
        MediaType::Other(name) => [DOCKER_CONFIG, OCTETS, ""].contains(&name.as_str()),
        _ => false,
    };
    if !known {
        let (what, media_type) = (what.to_owned(), config.media_type);
        return Err(DocumentError::MediaType { what, media_type });
    }
    let layers = manifest
        .layers
        .iter()
        .enumerate()
        .map(|(index, layer)| parse_layer(index + 1, layer))
        .collect::<Result<_, _>>()?;
    Ok(Manifest { config: Content::of(&config, what)?, layers })
}

/// Reads the descriptor of a layer. Layers that may be fetched from elsewhere (`urls`,
/// "nondistributable") are asked for like all others.
fn parse_layer(number: usize, layer: &RawDescriptor) -> Result<LayerContent, DocumentError> {
    let (what, media_type) = (format!("layer {number}"), layer.media_type.clone());
    let is_tar = LAYER_TYPES.iter().any(|start| {
        media_type.strip_prefix(start).is_some_and(|rest| !rest.contains("encrypted"))
    });
    if !is_tar && !media_type.is_empty() {
        return Err(DocumentError::MediaType { what, media_type });
    }
    Ok(LayerContent { content: Content::of(layer, &what)?, media_type })
}

/// A document that says another type than its descriptor could be read as two things at once.
fn check_type(expected: &str, found: &str) -> Result<(), DocumentError> {
    if found.is_empty() || found == expected {
        return Ok(());
    }
    let (expected, found) = (expected.to_owned(), found.to_owned());
    Err(DocumentError::OtherType { expected, found })
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
        for media_type in [
            "application/vnd.oci.image.layer.v1.tar",
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
            "application/vnd.docker.image.rootfs.diff.tar",
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "",
        ] {
            let layer = format!(r#""mediaType": "{media_type}", "urls": ["https://e/x"]"#);
            for config in [DOCKER_CONFIG, OCTETS, ""] {
                assert_eq!(parse(config, &layer).unwrap().layers[0].media_type, media_type);
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let config = "application/vnd.oci.image.config.v1+json";
        let tar = r#""mediaType": "application/vnd.oci.image.layer.v1.tar""#;
        for (config, layer, message) in [
            ("application/vnd.cncf.helm.config.v1+json", tar, "helm"),
            ("application/vnd.oci.empty.v1+json", tar, "empty"),
            (config, r#""mediaType": "application/vnd.in-toto+json""#, "in-toto"),
            (
                config,
                r#""mediaType": "application/vnd.oci.image.layer.v1.tar+gzip+encrypted""#,
                "encrypted",
            ),
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
        for (from, to) in
            [("sha256:", "sha512:"), ("\"config\"", "\"other\""), ("\"size\": 1", "\"x\": 1")]
        {
            let text = manifest(config, tar).replace(from, to);
            assert!(parse_manifest(text.as_bytes(), OCI).is_err(), "{to}");
        }
    }

    #[test]
    fn documents_of_programs_in_go_are_read() {
        let digest = BlobDigest::from(crate::base::digest::Sha256Sum::of(b"x"));
        let text = format!(
            r#"{{"MediaType": "", "Config": {{"MEDIATYPE": null, "Digest": "{digest}", "SIZE": 1}},
                "layers": null, "annotations": null, "subject": null}}"#
        );
        let parsed = parse_manifest(text.as_bytes(), OCI).unwrap();
        assert_eq!((parsed.config.size, parsed.layers.len()), (1, 0));
        assert_eq!(parse_index(br#"{"manifests": null}"#, None).unwrap(), IndexContent::default());
        assert_eq!(layout_version(br#"{"ImageLayoutVersion": "1.0.0"}"#).unwrap(), "1.0.0");
    }

    #[test]
    fn odd_entries_of_an_index_leave_the_others_usable() {
        let good = format!(
            r#"{{"mediaType": "{OCI}", "digest": "sha256:{}", "size": 5,
                "platform": {{"os": "linux", "architecture": "amd64", "variant": ""}}}}"#,
            "a".repeat(64)
        );
        for (odd, understood) in [
            (good.replace("\"architecture\": \"amd64\"", "\"x\": 1"), true),
            (good.replace("\"amd64\"", "null"), true),
            (good.replace("\"platform\"", "\"other\""), true),
            (good.replace("{\"os\"", "null, \"y\": {\"os\""), true),
            (good.replace("\"variant\": \"\"", "\"variant\": 8"), false),
            (good.replace("sha256:", "sha512:"), false),
            (good.replace("\"size\": 5", "\"size\": -5"), false),
            (good.replace("\"size\": 5", "\"size\": null"), false),
            (good.replace("\"digest\"", "\"other\""), false),
            ("7".to_owned(), false),
            ("[]".to_owned(), false),
        ] {
            let index = format!(r#"{{"schemaVersion": 2, "manifests": [{odd}, {good}]}}"#);
            let content = parse_index(index.as_bytes(), None).unwrap();
            let count = (content.targets.len(), content.odd.len());
            assert_eq!(count, if understood { (2, 0) } else { (1, 1) }, "{odd}");
            assert_eq!(content.targets.last().unwrap().rank().0, 0);
            assert!(!understood || content.targets[0].rank().0 > 0, "{odd}");
        }
    }
}
