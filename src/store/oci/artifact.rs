//! Manifests of artifacts, written and read. The same object with the same description has the same
//! bytes, so that two writers of one object do not contradict each other; a manifest has no date.

use std::collections::BTreeMap;

use oci_spec::image::{
    ANNOTATION_REVISION, ANNOTATION_TITLE, ANNOTATION_VERSION, ImageManifest, MediaType,
};
use serde_json::json;

use super::kind;
use crate::base::digest::Sha256Sum;
use crate::store::backend::About;
use crate::store::key::ObjectKey;
use crate::store::registry::BlobDigest;

/// Upper limit of a manifest's length in bytes, which registries have as well.
pub(super) const LONGEST: u64 = 4 << 20;
/// The empty configuration (OCI image specification, "Guidance for an Empty Descriptor").
pub(super) const EMPTY: &[u8] = b"{}";
/// The same in base64.
const EMPTY_DATA: &str = "e30=";

/// Annotation with the key of the object.
const KEY: &str = "org.mkpanda.key";
const PACKAGE_NAME: &str = "org.mkpanda.package.name";
const PACKAGE_VERSION: &str = "org.mkpanda.package.version";
const PACKAGE_VARIANT: &str = "org.mkpanda.package.variant";
const PACKAGE_REQUIRES: &str = "org.mkpanda.package.requires";
const TREE_COMMIT: &str = "org.mkpanda.tree.commit";

/// Upper limit of the letters of foreign text in a message.
const LONGEST_SHOWN: usize = 200;

/// The blob of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectBlob {
    pub(super) digest: BlobDigest,
    pub(super) size: u64,
}

/// A manifest does not describe the object that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// The manifest is that of an image or of another program's artifact.
    #[error("it is {found}, not an object of a store")]
    Foreign {
        /// The type, as far as the manifest tells.
        found: String,
    },
    /// The artifact is another object of a store.
    #[error("it is the object {found:?}")]
    OtherKey {
        /// The key in the annotation.
        found: String,
    },
    /// The manifest breaks the format.
    #[error("its manifest is not valid: {0}")]
    Manifest(String),
}

/// Returns the manifest of an object.
pub(super) fn manifest(key: &ObjectKey, blob: &ObjectBlob, about: &About<'_>) -> Vec<u8> {
    let kind = kind::of(key);
    let title = key.as_str().rsplit('/').next().unwrap_or_default();
    let requires = (!about.requires.is_empty()).then(|| about.requires.join(" "));
    let annotations = [
        (KEY, Some(key.as_str())),
        (ANNOTATION_TITLE, Some(title)),
        (ANNOTATION_VERSION, about.version),
        (ANNOTATION_REVISION, about.commit),
        (PACKAGE_NAME, about.name),
        (PACKAGE_VERSION, about.version),
        (PACKAGE_VARIANT, about.variant),
        (PACKAGE_REQUIRES, requires.as_deref()),
        (TREE_COMMIT, about.commit),
    ];
    let annotations: BTreeMap<&str, &str> =
        annotations.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    let config = BlobDigest::from(Sha256Sum::of(EMPTY));
    // By hand: the library keeps annotations in a map without an order.
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "artifactType": kind.artifact,
        "config": {
            "mediaType": MediaType::EmptyJSON,
            "digest": config,
            "size": EMPTY.len(),
            "data": EMPTY_DATA,
        },
        "layers": [{
            "mediaType": kind.layer,
            "digest": blob.digest,
            "size": blob.size,
            // `oras pull` names the file by it.
            "annotations": { ANNOTATION_TITLE: title },
        }],
        "annotations": annotations,
    });
    manifest.to_string().into_bytes()
}

/// Reads the manifest of an object whose key is known.
pub(super) fn read(bytes: &[u8], key: &ObjectKey) -> Result<ObjectBlob, ArtifactError> {
    let (found, blob) = read_any(bytes)?;
    if found == *key { Ok(blob) } else { Err(ArtifactError::OtherKey { found: found.to_string() }) }
}

/// Reads the manifest of any object.
pub(super) fn read_any(bytes: &[u8]) -> Result<(ObjectKey, ObjectBlob), ArtifactError> {
    let manifest: ImageManifest =
        serde_json::from_slice(bytes).map_err(|error| not_valid(&error.to_string()))?;
    let artifact = manifest.artifact_type().as_ref();
    // First: what is another program's has no annotations of ours, and is no fault.
    if !kind::is_ours(artifact) {
        let found = artifact.unwrap_or(manifest.config().media_type()).to_string();
        return Err(ArtifactError::Foreign { found: format!("{:?}", shown(&found)) });
    }
    let annotations = manifest.annotations().as_ref();
    let key = annotations.and_then(|all| all.get(KEY));
    let key = key.ok_or_else(|| not_valid(&format!("it lacks the annotation {KEY}")))?;
    let key: ObjectKey = key.parse().map_err(|_error| {
        not_valid(&format!("the annotation {KEY} is not a valid key: {:?}", shown(key)))
    })?;
    let kind = kind::of(&key);
    let artifact = artifact.map(ToString::to_string).unwrap_or_default();
    if artifact != kind.artifact {
        let expected = kind.artifact;
        return Err(not_valid(&format!(
            "{key} has the artifact type {expected}, not {:?}",
            shown(&artifact)
        )));
    }
    let [layer] = manifest.layers().as_slice() else {
        return Err(not_valid(&format!("it has {} layers, not one", manifest.layers().len())));
    };
    let media_type = layer.media_type().to_string();
    if media_type != kind.layer {
        let expected = kind.layer;
        return Err(not_valid(&format!(
            "the layer has the media type {:?}, not {expected}",
            shown(&media_type)
        )));
    }
    let digest = layer.digest().to_string();
    let digest = digest.parse().map_err(|_error| {
        not_valid(&format!("the layer's digest is not a SHA-256: {:?}", shown(&digest)))
    })?;
    Ok((key, ObjectBlob { digest, size: layer.size() }))
}

fn not_valid(reason: &str) -> ArtifactError {
    ArtifactError::Manifest(shown(reason).to_owned())
}

/// Returns the beginning of a text.
fn shown(text: &str) -> &str {
    text.char_indices().nth(LONGEST_SHOWN).map_or(text, |(end, _)| &text[..end])
}
