//! Images made by hand, whole and broken, and what the store makes of them.

mod compression;
mod docker;
mod foreign;
mod golden;
mod hostile;
mod interop;
mod layers;
mod layouts;
mod new_layer;
mod store;

use std::path::Path;

use super::digest::{BlobDigest, DiffId};
use super::load::{LoadInput, LoadOptions};
use super::platform::Platform;
use super::store::{ImageStore, LoadedImage};
use crate::base::digest::Sha256Sum;
use crate::base::event::{Event, Silent};
use crate::base::events::Events;

/// A home with a store in it.
struct TestHome {
    folder: tempfile::TempDir,
    store: ImageStore,
}

impl TestHome {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path()).unwrap();
        Self { folder, store }
    }

    fn load_bytes(&self, bytes: &[u8]) -> Result<Vec<LoadedImage>, String> {
        self.load_with(bytes, &LoadOptions::default())
    }

    fn load_with(
        &self,
        mut bytes: &[u8],
        options: &LoadOptions,
    ) -> Result<Vec<LoadedImage>, String> {
        let loaded = self.store.load(LoadInput::Stream(&mut bytes, "-"), options, &Silent);
        self.checked(loaded)
    }

    fn load_path(&self, path: &Path) -> Result<Vec<LoadedImage>, String> {
        let loaded = self.store.load(LoadInput::Path(path), &LoadOptions::default(), &Silent);
        self.checked(loaded)
    }

    /// Whatever happened, nothing half-done is left.
    fn checked(
        &self,
        loaded: Result<Vec<LoadedImage>, super::load::LoadError>,
    ) -> Result<Vec<LoadedImage>, String> {
        for name in self.names() {
            assert!(!name.starts_with(".tmp-"), "{name} is left");
        }
        if loaded.is_err() && self.store.list().unwrap().images.is_empty() {
            assert_eq!(self.blobs(), Vec::<String>::new());
        }
        loaded.map_err(|error| {
            use std::error::Error;
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(error) = source {
                text = format!("{text}: {error}");
                source = error.source();
            }
            text
        })
    }

    fn names(&self) -> Vec<String> {
        names(self.store.folder())
    }

    fn blobs(&self) -> Vec<String> {
        names(&self.store.folder().join("blobs/sha256"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A tar archive of files.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        append(&mut builder, name, content);
    }
    builder.into_inner().unwrap()
}

fn append(builder: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
}

fn append_link(builder: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, to: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    builder.append_link(&mut header, name, to).unwrap();
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn digest(bytes: &[u8]) -> BlobDigest {
    Sha256Sum::of(bytes).into()
}

/// A configuration with these layers' uncompressed contents.
fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    config_for(&Platform::host(), layers)
}

fn config_for(platform: &Platform, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<DiffId> = layers.iter().map(|layer| Sha256Sum::of(layer).into()).collect();
    // The spaces and the unknown key have to survive: the id is over these bytes.
    format!(
        r#"{{ "architecture": "{}", "os": "{}", "x-unknown": 1,
        "config": {{"Entrypoint": ["/bin/sh"], "Env": ["A=1"]}},
        "rootfs": {{"type": "layers", "diff_ids": {}}} }}"#,
        platform.architecture,
        platform.os,
        serde_json::to_string(&diff_ids).unwrap()
    )
    .into_bytes()
}

/// A docker archive of one image.
fn docker_archive(tags: &[&str], layers: &[Vec<u8>]) -> Vec<u8> {
    let mut files = docker_files(tags, layers);
    files.sort();
    let files: Vec<(&str, &[u8])> =
        files.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    tar(&files)
}

fn docker_files(tags: &[&str], layers: &[Vec<u8>]) -> Vec<(String, Vec<u8>)> {
    let config = config(layers);
    let config_name = format!("{}.json", digest(&config).hex());
    let names: Vec<String> = (0..layers.len()).map(|index| format!("l{index}/layer.tar")).collect();
    let manifest = serde_json::json!(
        [{"Config": config_name, "RepoTags": tags, "Layers": names}]
    );
    let mut files: Vec<_> = names.into_iter().zip(layers.iter().cloned()).collect();
    files.push((config_name, config));
    files.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
    files
}

/// The blobs and the index of an OCI layout.
#[derive(Default)]
struct TestLayout {
    blobs: Vec<Vec<u8>>,
    entries: Vec<serde_json::Value>,
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl TestLayout {
    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> serde_json::Value {
        let descriptor = serde_json::json!({
            "mediaType": media_type, "digest": digest(&bytes).to_string(), "size": bytes.len(),
        });
        self.blobs.push(bytes);
        descriptor
    }

    /// Adds an image's blobs; layers are the media type's ending, the stored and the plain bytes.
    fn image(&mut self, config: Vec<u8>, layers: &[(&str, Vec<u8>)]) -> serde_json::Value {
        let config = self.blob("application/vnd.oci.image.config.v1+json", config);
        let layers: Vec<_> = layers
            .iter()
            .map(|(ending, bytes)| self.blob(&format!("{LAYER}{ending}"), bytes.clone()))
            .collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
        });
        self.blob(MANIFEST, manifest.to_string().into_bytes())
    }

    /// Adds an image with one plain layer to the index.
    fn add(&mut self, name: Option<&str>, platform: &Platform, content: &[u8]) -> BlobDigest {
        let layer = tar(&[("file", content)]);
        let config = config_for(platform, std::slice::from_ref(&layer));
        let id = digest(&config);
        let entry = self.image(config, &[("", layer)]);
        self.enter(entry, name);
        id
    }

    fn enter(&mut self, mut entry: serde_json::Value, name: Option<&str>) {
        if let Some(name) = name {
            entry["annotations"] = serde_json::json!({"org.opencontainers.image.ref.name": name});
        }
        self.entries.push(entry);
    }

    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let index = serde_json::json!({"schemaVersion": 2, "manifests": self.entries});
        let mut files: Vec<_> = self
            .blobs
            .iter()
            .map(|blob| (format!("blobs/sha256/{}", digest(blob).hex()), blob.clone()))
            .collect();
        files.push(("index.json".to_owned(), index.to_string().into_bytes()));
        files.push(("oci-layout".to_owned(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec()));
        files
    }

    fn archive(&self) -> Vec<u8> {
        let files = self.files();
        tar(&files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect::<Vec<_>>())
    }

    fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in self.files() {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, bytes).unwrap();
        }
        folder
    }
}
