//! Manifests, checked: the configuration and the layers of an image.

use oci_spec::image::MediaType;
use serde::Deserialize;

use super::document::{DocumentError, MANIFEST, RawDescriptor, ReferencedBlob, check_type};
use crate::base::go_json;
use crate::store::registry::media_type;

const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const OCTETS: &str = "application/octet-stream";
/// Prefixes of the media types of layers, before the compression.
const LAYER_TYPES: [&str; 4] = [
    media_type::LAYER,
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawManifest {
    media_type: String,
    config: Option<RawDescriptor>,
    layers: Vec<RawDescriptor>,
}

/// A checked manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageManifest {
    pub(super) config: ReferencedBlob,
    pub(super) layers: Vec<LayerContent>,
}

/// Blob of a layer. The compression is read off the content: tools write media types that do not agree with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerContent {
    pub(super) content: ReferencedBlob,
    pub(super) media_type: String,
}

/// Reads a manifest and checks all that it leads to.
pub(crate) fn parse_manifest(bytes: &[u8], expected: &str) -> Result<ImageManifest, DocumentError> {
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
    Ok(ImageManifest { config: ReferencedBlob::of(&config, what)?, layers })
}

/// Reads the descriptor of a layer. Layers that may be fetched from elsewhere (`urls`,
/// "nondistributable") are asked for like all others.
fn parse_layer(number: usize, layer: &RawDescriptor) -> Result<LayerContent, DocumentError> {
    let (what, media_type) = (format!("layer {number}"), layer.media_type.clone());
    let is_tar = LAYER_TYPES.iter().any(|start| {
        // `+encrypted` layers (ocicrypt) are no tars for anyone without the key.
        media_type.strip_prefix(start).is_some_and(|rest| !rest.contains("encrypted"))
    });
    // Artifacts that are not images, such as Helm charts and signatures, have manifests, too.
    if !is_tar && !media_type.is_empty() {
        return Err(DocumentError::MediaType { what, media_type });
    }
    Ok(LayerContent { content: ReferencedBlob::of(layer, &what)?, media_type })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::BlobDigest;
    use crate::image::document::DOCKER_MANIFEST;

    const OCI: &str = "application/vnd.oci.image.manifest.v1+json";

    fn manifest(config_type: &str, layer: &str) -> String {
        let digest = BlobDigest::from(crate::base::digest::Sha256Sum::of(b"x"));
        format!(
            r#"{{"schemaVersion": 2,
            "config": {{"mediaType": "{config_type}", "digest": "{digest}", "size": 1}},
            "layers": [{{"digest": "{digest}", "size": 1, {layer}}}]}}"#
        )
    }

    fn parse(config_type: &str, layer: &str) -> Result<ImageManifest, String> {
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
    fn manifests_of_programs_in_go_are_read() {
        let digest = BlobDigest::from(crate::base::digest::Sha256Sum::of(b"x"));
        let text = format!(
            r#"{{"MediaType": "", "Config": {{"MEDIATYPE": null, "Digest": "{digest}", "SIZE": 1}},
                "layers": null, "annotations": null, "subject": null}}"#
        );
        let parsed = parse_manifest(text.as_bytes(), OCI).unwrap();
        assert_eq!((parsed.config.size, parsed.layers.len()), (1, 0));
    }
}
