//! Entries that other tools wrote into the store's index, and the blobs that these need.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::*;
use crate::image::store::{ImageStoreError, Removed};

const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";

/// A store with the image `a:1`, into which another tool writes.
struct ForeignStore {
    home: TestHome,
    told: Events,
}

impl ForeignStore {
    fn new() -> Self {
        let home = TestHome::new();
        home.load_bytes(&docker_archive(&["a:1"], &[tar(&[("f", b"a")])])).unwrap();
        Self { home, told: Events::default() }
    }

    fn index(&self) -> std::path::PathBuf {
        self.home.store.folder().join("index.json")
    }

    /// Writes a blob; its descriptor has a media type, unless that is empty.
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = digest(bytes);
        fs_err::write(self.home.store.blob_path(&digest), bytes).unwrap();
        let mut descriptor = json!({"digest": digest.to_string(), "size": bytes.len()});
        if !media_type.is_empty() {
            descriptor["mediaType"] = json!(media_type);
        }
        descriptor
    }

    fn document(&self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().as_bytes())
    }

    fn enter(&self, entry: Value) {
        let text = fs_err::read(self.index()).unwrap();
        let mut index: Value = serde_json::from_slice(&text).unwrap();
        index["manifests"].as_array_mut().unwrap().push(entry);
        fs_err::write(self.index(), index.to_string()).unwrap();
    }

    fn remove(&self, name: &str) -> Removed {
        self.home.store.remove(name, &BTreeSet::new(), &self.told).unwrap()
    }

    fn warnings(&self) -> Vec<String> {
        self.told.warnings()
    }
}

#[test]
fn an_entry_that_cannot_be_understood_keeps_all_blobs() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for entry in [
        json!({"mediaType": MANIFEST, "size": 5}),
        json!({"mediaType": MANIFEST, "size": 5, "digest": format!("sha512:{}", "a".repeat(128))}),
        json!({"mediaType": MANIFEST, "digest": digest}),
        json!({"mediaType": MANIFEST, "digest": digest, "size": -1}),
        json!({"mediaType": MANIFEST, "digest": digest, "size": 1, "platform": 7}),
        json!({"mediaType": 7, "digest": digest, "size": 1}),
        json!(7),
        json!([]),
        Value::Null,
    ] {
        let foreign = ForeignStore::new();
        foreign.enter(entry.clone());
        let blobs = foreign.home.blobs();
        let broken = foreign.home.store.list().unwrap().broken;
        assert!(matches!(broken[0].1, ImageStoreError::OddEntry { number: 2, .. }), "{broken:?}");
        let removed = foreign.remove("a:1");
        assert_eq!((removed.names.len(), removed.blobs), (1, 0), "{entry}");
        foreign.home.store.remove_manifests(&BTreeSet::new(), &BTreeSet::new(), &Silent).unwrap();
        assert_eq!(foreign.home.blobs(), blobs, "{entry}");
        let warnings = foreign.warnings();
        assert!(warnings[0].contains("no blob was deleted: entry 1 of "), "{warnings:?}");
        if let Some(digest) = entry.get("digest") {
            assert!(warnings[0].contains("mkpanda image rm"), "{warnings:?}");
            assert_eq!(foreign.remove(digest.as_str().unwrap()).blobs, 3, "{entry}");
        }
    }
}

#[test]
fn an_odd_entry_is_removed_by_its_name() {
    let foreign = ForeignStore::new();
    let annotations = json!({"org.opencontainers.image.ref.name": "example.org/odd:1"});
    foreign.enter(json!({"mediaType": MANIFEST, "annotations": annotations}));
    assert_eq!(foreign.home.store.list().unwrap().broken[0].0, "example.org/odd:1");
    assert_eq!(foreign.remove("example.org/odd:1").names.len(), 1);
    assert_eq!(foreign.remove("a:1").blobs, 3);
}

#[test]
fn an_odd_entry_of_an_inner_index_keeps_all_blobs() {
    let foreign = ForeignStore::new();
    let inner = json!({"schemaVersion": 2, "manifests": [{"mediaType": MANIFEST, "size": 1}]});
    let outer = foreign.document(INDEX, &inner);
    let outer = json!({"schemaVersion": 2, "manifests": [outer]});
    foreign.enter(foreign.document(INDEX, &outer));
    let blobs = foreign.home.blobs();
    assert_eq!(foreign.remove("a:1").blobs, 0);
    assert_eq!(foreign.home.blobs(), blobs);
    assert!(foreign.warnings()[0].contains("no blob was deleted"), "{:?}", foreign.warnings());
}

#[test]
fn all_that_documents_of_other_tools_name_is_kept() {
    let foreign = ForeignStore::new();
    let config = foreign.blob("application/vnd.oci.empty.v1+json", b"{}");
    let layer = foreign.blob("application/vnd.example", b"layer");
    let subject = foreign.blob("application/vnd.example", b"subject");
    let image = json!({"config": config, "layers": [layer], "subject": subject});
    let image = foreign.document(MANIFEST, &image);
    let blob = foreign.blob("application/vnd.example", b"blob");
    let bare = foreign.blob("", b"bare");
    let summed = foreign.blob("", b"an old manifest's");
    let sums = json!([{"blobSum": summed["digest"]}]);
    let artifact = json!({"blobs": [blob, bare], "inner": [image], "fsLayers": sums});
    foreign.enter(foreign.document(ARTIFACT, &artifact));
    foreign.enter(foreign.blob("application/vnd.example.text", b"not JSON"));
    let kept = foreign.home.blobs().len() - 3;
    assert_eq!(foreign.remove("a:1").blobs, 3);
    assert_eq!(foreign.home.blobs().len(), kept);
    assert_eq!(foreign.warnings(), Vec::<String>::new());
    let artifact = foreign.home.store.list().unwrap().broken[0].0.clone();
    foreign.remove(&artifact);
    let text = foreign.home.store.list().unwrap().broken[0].0.clone();
    foreign.remove(&text);
    assert_eq!(foreign.home.blobs(), Vec::<String>::new());
}

#[test]
fn an_index_without_a_list_of_entries_is_not_written_to() {
    let foreign = ForeignStore::new();
    let text = r#"{"schemaVersion": 2, "manifests": {"0": {}}}"#;
    fs_err::write(foreign.index(), text).unwrap();
    let blobs = foreign.home.blobs();
    let none = BTreeSet::new();
    foreign.home.store.remove_manifests(&none, &none, &Silent).unwrap_err();
    assert_eq!(foreign.home.blobs(), blobs);
    assert_eq!(fs_err::read_to_string(foreign.index()).unwrap(), text);
}
