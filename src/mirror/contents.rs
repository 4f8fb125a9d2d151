//! Wanted contents of a mirror: plain data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::error::MirrorError;
use crate::base::http::redact;
use crate::image::reference::ImageRef;
use crate::image::registry::IMAGES;
use crate::image::store::{Image, ImageStore};
use crate::package::json::canonical;
use crate::package::paths::package_path;
use crate::package::{CommitId, PackageId, SourceSpec};
use crate::source::{FetchedSource, SourceRequest};
use crate::store::ObjectKey;
use crate::store::registry::media_type;

/// Annotation of a name in an OCI layout's index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Content of a file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum MirrorContent {
    /// A local file.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// A bundle to be made.
    Bundle(Bundle),
}

/// A bundle to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bundle {
    pub(super) commit: CommitId,
    pub(super) repository: PathBuf,
}

/// A file of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MirrorFile {
    /// Content; `None` if the mirror has to have the file already.
    pub(super) content: Option<MirrorContent>,
    pub(super) origin: Option<String>,
    /// Names in sources (`ref_origin`) for the commit of a bundle.
    pub(super) ref_origins: BTreeSet<String>,
}

/// Everything that a mirror is to hold.
#[derive(Debug, Clone, Default)]
pub struct MirrorContents {
    pub(super) items: BTreeMap<ObjectKey, MirrorFile>,
    pub(super) images: BTreeMap<String, Value>,
}

/// URL of a source without credentials, and the name of a commit.
fn described(request: &SourceRequest) -> (Option<String>, Option<String>) {
    match &request.source.spec {
        SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => (Some(redact(&file.url)), None),
        SourceSpec::Git { url, ref_origin, .. } => (Some(redact(url)), Some(ref_origin.clone())),
        SourceSpec::GitLocal { .. } => (None, None),
    }
}

impl MirrorContents {
    fn item(&mut self, key: ObjectKey, origin: Option<String>) -> &mut MirrorFile {
        let new = MirrorFile { content: None, origin, ref_origins: BTreeSet::new() };
        self.items.entry(key).or_insert(new)
    }

    /// Adds a source that the mirror has already.
    pub fn keep_source(&mut self, request: &SourceRequest) {
        let Some(key) = request.mirror_key() else { return };
        let (origin, ref_origin) = described(request);
        self.item(key, origin).ref_origins.extend(ref_origin);
    }

    /// Adds a fetched source.
    pub fn add_source(&mut self, request: &SourceRequest, fetched: &FetchedSource) {
        let Some(key) = request.mirror_key() else { return };
        self.keep_source(request);
        let content = match fetched {
            FetchedSource::File { path, .. } | FetchedSource::Archive { path, .. } => {
                MirrorContent::File(path.clone())
            }
            FetchedSource::GitMirror { path, commit, .. }
            | FetchedSource::GitLocal { path, commit, .. } => {
                MirrorContent::Bundle(Bundle { commit: commit.clone(), repository: path.clone() })
            }
        };
        if let Some(item) = self.items.get_mut(&key) {
            item.content = Some(content);
        }
    }

    /// Adds an image under a name; `tree` is the tree with the need.
    pub fn add_image(
        &mut self,
        store: &ImageStore,
        name: &ImageRef,
        image: &Image,
        tree: &str,
    ) -> Result<(), MirrorError> {
        let read = |source| MirrorError::Image { name: name.familiar(), source };
        let (mut entry, blobs) =
            store.for_layout(image).map_err(|error| read(std::io::Error::other(error)))?;
        entry["annotations"] = json!({ REF_NAME: name.to_string() });
        let known = self.images.insert(name.to_string(), entry.clone());
        // A layout has one image of a name, and two trees may mean two.
        if known.is_some_and(|known| known != entry) {
            return Err(MirrorError::OtherImage { name: name.familiar(), tree: tree.to_owned() });
        }
        for (digest, path) in blobs {
            let key = format!("{IMAGES}/blobs/sha256/{}", digest.hex()).parse()?;
            self.item(key, Some(name.to_string())).content = Some(MirrorContent::File(path));
        }
        Ok(())
    }

    /// Adds a package of a cache, with its digest file.
    pub fn add_package(
        &mut self,
        id: &PackageId,
        archive: PathBuf,
        sha256: &str,
    ) -> Result<(), MirrorError> {
        let name = package_path(id);
        let sum: ObjectKey = format!("{name}.sha256").parse()?;
        self.item(name.parse()?, Some(id.to_string())).content = Some(MirrorContent::File(archive));
        let text = format!("{sha256}\n").into_bytes();
        self.item(sum, Some(id.to_string())).content = Some(MirrorContent::Bytes(text));
        Ok(())
    }

    /// Adds a package that the mirror has already.
    pub fn keep_package(&mut self, id: &PackageId) -> Result<(), MirrorError> {
        let name = package_path(id);
        self.item(name.parse()?, Some(id.to_string()));
        self.item(format!("{name}.sha256").parse()?, Some(id.to_string()));
        Ok(())
    }

    /// Adds the documents of the layout; `old` are the entries of an index that stay, by name.
    pub(super) fn finish(&mut self, old: BTreeMap<String, Value>) {
        let mut entries = old;
        entries.extend(std::mem::take(&mut self.images));
        if entries.is_empty() {
            return;
        }
        let entries: Vec<Value> = entries.into_values().collect();
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type::INDEX,
            "manifests": entries,
        });
        let documents =
            [("index.json", canonical(&index).into_bytes()), ("oci-layout", LAYOUT_TEXT.to_vec())];
        for (name, bytes) in documents {
            let key = format!("{IMAGES}/{name}");
            let key = key.parse().unwrap_or_else(|_| unreachable!("a valid name"));
            self.item(key, None).content = Some(MirrorContent::Bytes(bytes));
        }
    }
}

/// The entries of an OCI layout's index by their names.
pub(super) fn index_entries(text: &[u8]) -> BTreeMap<String, Value> {
    let index: Value = serde_json::from_slice(text).unwrap_or_default();
    let entries = index["manifests"].as_array().cloned().unwrap_or_default();
    let named = |entry: Value| {
        let name = entry["annotations"][REF_NAME].as_str()?.to_owned();
        Some((name, entry))
    };
    entries.into_iter().filter_map(named).collect()
}
