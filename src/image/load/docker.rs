//! Archives of `docker save` and `podman save`: `manifest.json` names configurations and layers,
//! and manifests are made here. The same archive always gives the same manifests.

use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType, SCHEMA_VERSION};
use serde::Deserialize;

use super::select::{NamedItem, by_name, check_count};
use super::source::StagedArchive;
use super::staging::{Blob, Staging};
use super::{
    LoadOptions, LoadProblem, SelectedImages, StagedImage, check_count_of_layers, check_layers,
    check_platform,
};
use crate::base::go_json::{self, Shape};
use crate::image::compression::LayerCompression;
use crate::image::config::ImageConfig;
use crate::image::digest::{BlobDigest, ImageId};
use crate::image::document::DocumentError;
use crate::image::reference::ImageRef;

/// Form of `manifest.json`.
const MANIFEST: Shape = Shape::List(&Shape::Structure(&[
    ("Config", Shape::Any),
    ("RepoTags", Shape::Any),
    ("Layers", Shape::Any),
]));

/// An image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerManifestEntry {
    #[serde(default)]
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl NamedItem for DockerManifestEntry {
    fn given_names(&self) -> Vec<String> {
        match &self.repo_tags {
            Some(tags) if !tags.is_empty() => tags.clone(),
            // `docker save` of an id gives no tags.
            _ => vec![self.config.clone()],
        }
    }
}

/// Reads the wanted images of a docker archive.
pub(super) fn read(
    archive: &StagedArchive,
    options: &LoadOptions,
    staging: &mut Staging<'_>,
) -> Result<SelectedImages, LoadProblem> {
    let what = "manifest.json";
    let bytes = staging.document(archive.file(staging, what, what)?, what)?;
    let entries: Vec<DockerManifestEntry> = go_json::parse(&bytes, &MANIFEST).map_err(|error| {
        LoadProblem::Document { what: what.to_owned(), problem: DocumentError::Shape(error) }
    })?;
    let entries = by_name(entries, &options.selection)?;
    check_count(&entries, &options.selection)?;
    let (mut wanted, mut problems) = (SelectedImages::default(), Vec::new());
    for entry in entries {
        let called = entry.given_names();
        wanted.take(&called, read_image(archive, entry, options, staging), &mut problems)?;
    }
    wanted.or_problems(problems)
}

fn read_image(
    archive: &StagedArchive,
    entry: DockerManifestEntry,
    options: &LoadOptions,
    staging: &mut Staging<'_>,
) -> Result<StagedImage, LoadProblem> {
    let what = "the configuration";
    let config = archive.file(staging, &entry.config, what)?.clone();
    if let Some(expected) = digest_in_name(&entry.config)
        && expected != config.digest
    {
        let (what, found) = (what.to_owned(), config.digest);
        return Err(LoadProblem::Digest { what, expected, found });
    }
    let image = ImageConfig::parse(&staging.document(&config, what)?)?;
    check_platform(&image, &options.platform)?;
    let layers = entry.layers.unwrap_or_default();
    check_count_of_layers(&image, layers.len())?;
    let mut content = Vec::with_capacity(layers.len() + 1);
    for (index, name) in layers.iter().enumerate() {
        content.push(archive.file(staging, name, &format!("layer {}", index + 1))?.clone());
    }
    check_layers(&image, &content)?;
    let manifest = staging.add_bytes(&make_manifest(&config, &content))?;
    content.push(config.clone());
    let tags = entry.repo_tags.unwrap_or_default();
    Ok(StagedImage {
        names: names(&tags)?,
        called: tags,
        id: ImageId::from(config.digest.sum().clone()),
        media_type: MediaType::ImageManifest.to_string(),
        manifest,
        platform: image.platform,
        index: None,
        content,
    })
}

/// Digest in a configuration's file name, which older and newer dockers write differently.
fn digest_in_name(name: &str) -> Option<BlobDigest> {
    let file = name.rsplit_once('/').map_or(name, |(_, file)| file);
    let hex = file.strip_suffix(".json").unwrap_or(file);
    format!("sha256:{hex}").parse().ok()
}

fn names(tags: &[String]) -> Result<Vec<ImageRef>, LoadProblem> {
    tags.iter()
        // Docker's tag for an image that has lost its name.
        .filter(|tag| *tag != "<none>:<none>")
        .map(|tag| tag.parse().map_err(|_error| LoadProblem::Name { text: tag.clone() }))
        .collect()
}

fn make_manifest(config: &Blob, layers: &[Blob]) -> Vec<u8> {
    let descriptor = |media_type: MediaType, blob: &Blob| {
        let digest: oci_spec::image::Sha256Digest =
            blob.digest.hex().parse().expect("a digest's hex digits are a SHA-256");
        Descriptor::new(media_type, blob.size, digest)
    };
    let layers: Vec<Descriptor> = layers
        .iter()
        .map(|layer| {
            let media_type = match layer.compression {
                LayerCompression::None => MediaType::ImageLayer,
                LayerCompression::Gzip => MediaType::ImageLayerGzip,
                LayerCompression::Zstd => MediaType::ImageLayerZstd,
            };
            descriptor(media_type, layer)
        })
        .collect();
    let manifest = ImageManifestBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, config))
        .layers(layers)
        .build()
        .expect("a manifest has a version, a configuration and layers");
    serde_json::to_vec(&manifest).expect("a manifest of texts and numbers can be written")
}
