//! The store's `index.json`: one entry per name, and one per nameless image.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::ImageStoreError;
use crate::base::regular::read_regular;
use crate::base::{atomic, go_json};
use crate::image::digest::BlobDigest;
use crate::image::document::{
    self, CheckedDescriptor, DocumentError, INDEX_DIGEST, LONGEST_DOCUMENT, REF_NAME, annotation,
    check_layout_version,
};
use crate::image::reference::ImageRef;
use crate::store::registry::media_type;

const LAYOUT: &str = "oci-layout";
const LAYOUT_TEXT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
const INDEX: &str = "index.json";

/// Index as read from disk. Keys of other tools are kept.
pub(super) struct LayoutIndex {
    document: Map<String, Value>,
    entries: Vec<Value>,
    path: PathBuf,
}

/// Checks that a folder is a layout of the version that is written here, or not there yet.
pub(super) fn check_version(folder: &Path) -> Result<(), ImageStoreError> {
    let path = folder.join(LAYOUT);
    let Some(bytes) = read(&path)? else { return Ok(()) };
    check_layout_version(&bytes).map_err(|problem| ImageStoreError::NoStore { path, problem })
}

/// Makes the folder a layout, if needed.
pub(super) fn create(folder: &Path) -> Result<(), ImageStoreError> {
    use std::os::unix::fs::PermissionsExt;
    // Helpers read blobs under other ids than the caller's, whatever the caller's umask.
    for made in [folder.to_owned(), folder.join("blobs"), folder.join("blobs/sha256")] {
        if !made.is_dir() {
            fs_err::create_dir_all(&made)
                .and_then(|()| fs_err::set_permissions(&made, PermissionsExt::from_mode(0o755)))
                .map_err(ImageStoreError::Io)?;
        }
    }
    let path = folder.join(LAYOUT);
    if !path.exists() {
        atomic::write(&path, LAYOUT_TEXT).map_err(ImageStoreError::Io)?;
    }
    Ok(())
}

impl LayoutIndex {
    /// Reads the index; a missing index is empty.
    pub(super) fn read(folder: &Path) -> Result<Self, ImageStoreError> {
        let path = folder.join(INDEX);
        let mut document: Map<String, Value> = match read(&path)? {
            Some(bytes) => go_json::parse(&bytes, &document::INDEX).map_err(|error| {
                ImageStoreError::NoStore {
                    path: path.clone(),
                    problem: DocumentError::Shape(error),
                }
            })?,
            None => [
                ("schemaVersion".to_owned(), json!(2)),
                ("mediaType".to_owned(), json!(media_type::INDEX)),
            ]
            .into_iter()
            .collect(),
        };
        let entries = match document.remove("manifests") {
            Some(Value::Array(entries)) => entries,
            None => Vec::new(),
            // Written back as a list, the entries would be lost, and all blobs with them.
            Some(_) => {
                let problem = serde::de::Error::custom("`manifests` is not a list");
                return Err(ImageStoreError::NoStore {
                    path,
                    problem: DocumentError::Shape(problem),
                });
            }
        };
        Ok(Self { document, entries, path })
    }

    /// Writes the index; the targets of its entries must be present.
    pub(super) fn write(&mut self) -> Result<(), ImageStoreError> {
        let mut document = self.document.clone();
        document.insert("manifests".to_owned(), Value::Array(self.entries.clone()));
        let bytes = serde_json::to_vec(&document).expect("texts and numbers can be written");
        atomic::write_if_changed(&self.path, &bytes).map_err(ImageStoreError::Io)
    }

    /// The entries that can be understood; [`Self::odd`] has the others.
    pub(super) fn targets(&self) -> Vec<CheckedDescriptor> {
        self.entries.iter().filter_map(|entry| CheckedDescriptor::of(entry).ok()).collect()
    }

    /// Entries that cannot be understood, by name, digest or number, and why.
    pub(super) fn odd(&self) -> Vec<(String, ImageStoreError)> {
        let mut odd = Vec::new();
        for (number, entry) in self.entries.iter().enumerate() {
            let Err(problem) = CheckedDescriptor::of(entry) else { continue };
            let named = annotation(entry, REF_NAME).filter(|name| is_full(name));
            let named = named.or_else(|| digest(entry).map(str::to_owned));
            let (path, number, is_named) = (self.path.clone(), number + 1, named.is_some());
            let called = named.unwrap_or_else(|| format!("entry {number}"));
            let problem = Box::new(problem);
            odd.push((called, ImageStoreError::OddEntry { path, number, is_named, problem }));
        }
        odd
    }

    /// An entry of an image, whatever its name.
    pub(super) fn entry(&self, manifest: &BlobDigest) -> Option<Value> {
        let found = self.entries.iter().find(|entry| digest(entry) == Some(&manifest.to_string()));
        found.cloned()
    }

    /// Adds an image under a name, or under none. Returns the manifest that had the name before.
    pub(super) fn add(&mut self, mut image: Value, name: Option<&ImageRef>) -> Option<BlobDigest> {
        let own = digest(&image).map(str::to_owned);
        let own = own.as_deref();
        let entries = &mut self.entries;
        let Some(name) = name else {
            if !entries.iter().any(|entry| digest(entry) == own) {
                entries.push(image);
            }
            return None;
        };
        let mut before = None;
        if let Some(position) = entries.iter().position(|entry| is_called(entry, name)) {
            if digest(&entries[position]) == own {
                set_annotation(
                    &mut entries[position],
                    INDEX_DIGEST,
                    annotation(&image, INDEX_DIGEST),
                );
                return None;
            }
            let mut old = entries.remove(position);
            before = digest(&old).and_then(|digest| digest.parse().ok());
            // The previous image of that name stays, nameless, until removed.
            if !entries.iter().any(|entry| digest(entry) == digest(&old)) {
                set_name(&mut old, None);
                entries.push(old);
            }
        }
        // With a name, the image needs its nameless entry no longer.
        entries.retain(|entry| digest(entry) != own || annotation(entry, REF_NAME).is_some());
        set_name(&mut image, Some(name));
        entries.push(image);
        before
    }

    /// Removes the entries for which `goes` is true, and returns them.
    pub(super) fn take_out(&mut self, goes: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.entries.extract_if(.., |entry| goes(entry)).collect()
    }
}

/// Name of an entry, if valid as a reference; other tools may write any text.
pub(super) fn reference(target: &CheckedDescriptor) -> Option<ImageRef> {
    target.ref_name.as_deref().filter(|name| is_full(name))?.parse().ok()
}

fn is_full(name: &str) -> bool {
    // A bare tag, which other tools write, would be read as a name of Docker Hub's library.
    name.contains(['/', ':'])
}

/// All names of the image that a target leads to.
pub(super) fn names(targets: &[CheckedDescriptor], image: &CheckedDescriptor) -> Vec<ImageRef> {
    targets.iter().filter(|target| target.digest == image.digest).filter_map(reference).collect()
}

/// True if an entry has that name, even if nothing else of it can be understood.
pub(super) fn is_called(entry: &Value, name: &ImageRef) -> bool {
    let found = annotation(entry, REF_NAME).filter(|text| is_full(text));
    found.is_some_and(|text| text.parse().as_ref() == Ok(name))
}

/// Digest of an entry.
pub(super) fn digest(entry: &Value) -> Option<&str> {
    entry.get("digest")?.as_str()
}

fn set_name(entry: &mut Value, name: Option<&ImageRef>) {
    set_annotation(entry, REF_NAME, name.map(ToString::to_string));
}

fn set_annotation(entry: &mut Value, key: &str, value: Option<String>) {
    let Some(entry) = entry.as_object_mut() else { return };
    let annotations = entry.remove("annotations");
    let mut annotations = match annotations {
        Some(Value::Object(annotations)) => annotations,
        _ => Map::new(),
    };
    match value {
        Some(value) => annotations.insert(key.to_owned(), value.into()),
        None => annotations.remove(key),
    };
    if !annotations.is_empty() {
        entry.insert("annotations".to_owned(), annotations.into());
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ImageStoreError> {
    match read_regular(path, LONGEST_DOCUMENT) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ImageStoreError::Io(error)),
    }
}
