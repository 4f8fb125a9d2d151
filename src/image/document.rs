//! Indexes and descriptors, checked, as are [`manifest`](super::manifest)s: what is read here came from
//! outside.
//!
//! Docker's second schema has the same structures as OCI's under other media types; both are parsed
//! as Go programs do ([`go_json`]). Descriptors must use SHA-256. An unintelligible entry of an
//! index does not make the others unusable.

use std::collections::BTreeMap;

use oci_spec::image::MediaType;
use serde::Deserialize;
use serde_json::Value;

use super::digest::{BlobDigest, DigestError};
use super::platform::Platform;
use crate::base::go_json::{self, Shape};
use crate::store::registry::media_type;

/// Upper limit of a document's bytes, as documents are read into memory.
// Four times what registries have to take (OCI Distribution Specification, "Pushing Manifests").
pub(super) const LONGEST_DOCUMENT: u64 = 16 * 1024 * 1024;

/// The annotation that names an image in a layout's index.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation in which containerd and docker give the full name.
pub(super) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Annotation in our store with the digest of the registry's index that led to an image.
pub(super) const INDEX_DIGEST: &str = "mkpanda.pulled.index";

pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// The media types of manifests and indexes, those of today first.
pub(super) const MANIFEST_TYPES: [&str; 4] =
    [media_type::INDEX, media_type::MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
/// Why a document can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It isn't JSON, or not of the document's shape.
    #[error("it isn't what its media type says: {0}")]
    Shape(serde_json::Error),
    /// The document has another media type than its descriptor.
    #[error("it calls itself {found}, but what leads to it says {expected}")]
    OtherType {
        /// Media type in the descriptor.
        expected: String,
        /// Media type in the document.
        found: String,
    },
    /// A layout of another version.
    #[error("the layout has the version {0}, but only versions 1.x are known")]
    Version(String),
    /// The target's media type is not supported.
    #[error("{what} has the media type {media_type}, which is not supported")]
    MediaType {
        /// Role of the target.
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
        /// Role of the incomplete document.
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

/// Descriptor in its written form; missing keys are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawDescriptor {
    pub(super) media_type: String,
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

/// What a descriptor in an index leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DocumentKind {
    Manifest,
    Index,
    Other,
}

/// A checked descriptor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckedDescriptor {
    pub(super) kind: DocumentKind,
    pub(super) media_type: String,
    pub(super) digest: BlobDigest,
    pub(super) size: u64,
    pub(super) platform: Option<Platform>,
    /// Value of the reference annotation in the index, and of containerd's full name.
    pub(super) ref_name: Option<String>,
    pub(super) full_name: Option<String>,
    /// Digest of the registry's index that led to the target.
    pub(super) index: Option<BlobDigest>,
}

/// A blob that a document leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReferencedBlob {
    pub(super) digest: BlobDigest,
    pub(super) size: u64,
}

/// A checked index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct IndexContent {
    pub(super) targets: Vec<CheckedDescriptor>,
    /// Entries that cannot be understood, in words.
    pub(super) odd: Vec<String>,
}

impl CheckedDescriptor {
    /// Checks an entry of an index.
    pub(super) fn of(entry: &Value) -> Result<Self, DocumentError> {
        let raw: RawDescriptor =
            serde_json::from_value(entry.clone()).map_err(DocumentError::Shape)?;
        let what = "an entry of the index";
        let content = ReferencedBlob::of(&raw, what)?;
        if raw.media_type.is_empty() {
            return Err(DocumentError::Missing { what: what.to_owned(), key: "mediaType" });
        }
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

    /// True if an entry of an index may be for a platform; one without a platform may be for any.
    pub(super) fn may_be_for(&self, wanted: &Platform) -> bool {
        self.platform.as_ref().is_none_or(|platform| wanted.accepts(platform))
    }

    /// Rank of an entry among those of an index that may be for a platform; the lowest comes first.
    pub(super) fn rank(&self, wanted: &Platform) -> (u8, u8) {
        match &self.platform {
            Some(platform) if platform.is_complete() => (0, wanted.distance(platform)),
            Some(_) => (1, 0),
            None => (2, 0),
        }
    }
}

/// Returns the kind of document for a media type.
pub(super) fn kind_of(media_type: &str) -> DocumentKind {
    match MediaType::from(media_type) {
        MediaType::ImageManifest => DocumentKind::Manifest,
        MediaType::ImageIndex => DocumentKind::Index,
        MediaType::Other(name) if name == DOCKER_MANIFEST => DocumentKind::Manifest,
        MediaType::Other(name) if name == DOCKER_INDEX => DocumentKind::Index,
        _ => DocumentKind::Other,
    }
}

impl ReferencedBlob {
    pub(super) fn of(raw: &RawDescriptor, what: &str) -> Result<Self, DocumentError> {
        let missing = |key| DocumentError::Missing { what: what.to_owned(), key };
        if raw.digest.is_empty() {
            return Err(missing("digest"));
        }
        let size = raw.size.ok_or_else(|| missing("size"))?;
        // Parsed before any use: the digits become the name of a file, and a hostile `../` must
        // not.
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
    // A minor version adds what readers may ignore (semantic versioning, OCI image layout,
    // "oci-layout file").
    if version.starts_with("1.") {
        return Ok(());
    }
    Err(DocumentError::Version(version))
}

/// Reads an index below the top one. The top index is not reached through a descriptor with a media
/// type.
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
        match CheckedDescriptor::of(entry) {
            Ok(target) => content.targets.push(target),
            Err(problem) => content.odd.push(format!("an entry that {}", said_of(&problem))),
        }
    }
    Ok(content)
}

fn said_of(problem: &DocumentError) -> String {
    format!("is not usable ({problem})")
}

/// A document that says another type than its descriptor could be read as two things at once.
pub(super) fn check_type(expected: &str, found: &str) -> Result<(), DocumentError> {
    // OCI images need no `mediaType` of their own (image manifest, "mediaType"); only a
    // contradiction is refused (CVE-2021-41190).
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

    #[test]
    fn documents_of_programs_in_go_are_read() {
        assert_eq!(parse_index(br#"{"manifests": null}"#, None).unwrap(), IndexContent::default());
        assert_eq!(layout_version(br#"{"ImageLayoutVersion": "1.0.0"}"#).unwrap(), "1.0.0");
        let error = check_layout_version(br#"{"imageLayoutVersion": "2.0.0"}"#).unwrap_err();
        assert!(error.to_string().contains("version 2.0.0, but only"), "{error}");
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
            (good.replace("\"mediaType\"", "\"other\""), false),
            (good.replace(OCI, ""), false),
            ("7".to_owned(), false),
            ("[]".to_owned(), false),
        ] {
            let index = format!(r#"{{"schemaVersion": 2, "manifests": [{odd}, {good}]}}"#);
            let content = parse_index(index.as_bytes(), None).unwrap();
            let count = (content.targets.len(), content.odd.len());
            assert_eq!(count, if understood { (2, 0) } else { (1, 1) }, "{odd}");
            assert_eq!(content.targets.last().unwrap().rank(&Platform::host()).0, 0);
            assert!(!understood || content.targets[0].rank(&Platform::host()).0 > 0, "{odd}");
        }
    }
}
