//! An OCI layout's folder, in which other images may be already: those of other names stay.

use std::io::{self, Read};
use std::path::Path;

use oci_spec::image::{
    Descriptor, ImageIndex, ImageIndexBuilder, MediaType, OciLayout, SCHEMA_VERSION, Sha256Digest,
};

use super::{SaveError, Saving, open};
use crate::base::atomic::{self, AtomicFile};
use crate::image::digest::BlobDigest;
use crate::image::document::{
    CONTAINERD_NAME, DocumentError, LONGEST_DOCUMENT, REF_NAME, annotation,
};
use crate::package::json::canonical;

pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Writes the image into a folder.
pub(super) fn write(saving: &Saving<'_>, folder: &Path) -> Result<(), SaveError> {
    check(folder)?;
    let old = read_index(folder)?;
    let blobs = folder.join("blobs/sha256");
    fs_err::create_dir_all(&blobs).map_err(SaveError::Write)?;
    atomic::write_if_changed(&folder.join("oci-layout"), LAYOUT).map_err(SaveError::Write)?;
    for layer in &saving.image.layers {
        put(&blobs, &layer.digest, layer.size, &mut open(saving, &layer.digest)?)?;
    }
    let config: BlobDigest = saving.image.id.sum().clone().into();
    for (digest, bytes) in [(&config, &saving.config), (&saving.image.manifest, &saving.manifest)] {
        put(&blobs, digest, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    let mut entries = old;
    let entry = entry(saving);
    // One name means one image; one without a name is there once.
    entries.retain(|old| match annotation(&entry, REF_NAME) {
        Some(name) => annotation(old, REF_NAME).as_ref() != Some(&name),
        None => old.digest() != entry.digest(),
    });
    entries.push(entry);
    atomic::write_if_changed(&folder.join("index.json"), &document(entries))
        .map_err(SaveError::Write)
}

/// The index of a layout that has this image alone.
pub(super) fn index(saving: &Saving<'_>) -> Vec<u8> {
    document(vec![entry(saving)])
}

fn document(entries: Vec<Descriptor>) -> Vec<u8> {
    let index = ImageIndexBuilder::default()
        .schema_version(SCHEMA_VERSION)
        .media_type(MediaType::ImageIndex)
        .manifests(entries)
        .build()
        .expect("an index has a version and entries");
    // Annotations would come in any order.
    let index = serde_json::to_value(&index).expect("texts and numbers can be written");
    canonical(&index).into_bytes()
}

fn entry(saving: &Saving<'_>) -> Descriptor {
    let digest: Sha256Digest =
        saving.image.manifest.hex().parse().expect("a digest's hex digits are a SHA-256");
    let media_type = MediaType::from(saving.media_type.as_str());
    let mut entry = Descriptor::new(media_type, saving.manifest.len() as u64, digest);
    let names = [(REF_NAME, &saving.reference), (CONTAINERD_NAME, &saving.name)];
    let names: std::collections::HashMap<String, String> =
        names.into_iter().filter_map(|(key, name)| Some((key.to_owned(), name.clone()?))).collect();
    entry.set_annotations(Some(names).filter(|names| !names.is_empty()));
    entry
}

/// Writes a blob that isn't there.
fn put(
    blobs: &Path,
    digest: &BlobDigest,
    size: u64,
    content: &mut dyn Read,
) -> Result<(), SaveError> {
    let path = blobs.join(digest.hex());
    if fs_err::metadata(&path).is_ok_and(|found| found.len() == size) {
        return Ok(());
    }
    let mut file = AtomicFile::create(&path).map_err(SaveError::Write)?;
    let written = io::copy(content, &mut file).map_err(SaveError::Write)?;
    if written != size {
        let error = io::Error::new(io::ErrorKind::UnexpectedEof, "a blob is shorter than it was");
        return Err(SaveError::Read(error));
    }
    file.commit_unsynced().map_err(SaveError::Write)
}

/// Nothing is written into a folder that is something else.
fn check(folder: &Path) -> Result<(), SaveError> {
    let path = folder.join("oci-layout");
    let Some(bytes) = read(&path)? else {
        let entries = match fs_err::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(SaveError::Write)?,
        };
        return match entries.count() {
            0 => Ok(()),
            _ => Err(SaveError::NotEmpty(folder.to_owned())),
        };
    };
    let problem = match serde_json::from_slice::<OciLayout>(&bytes) {
        Ok(layout) if layout.image_layout_version().starts_with("1.") => return Ok(()),
        Ok(layout) => DocumentError::OtherType {
            expected: "version 1".to_owned(),
            found: format!("version {}", layout.image_layout_version()),
        },
        Err(error) => DocumentError::Shape(error),
    };
    Err(SaveError::NoLayout { path, problem })
}

fn read_index(folder: &Path) -> Result<Vec<Descriptor>, SaveError> {
    let path = folder.join("index.json");
    let Some(bytes) = read(&path)? else { return Ok(Vec::new()) };
    let index: ImageIndex = serde_json::from_slice(&bytes)
        .map_err(|error| SaveError::NoLayout { path, problem: DocumentError::Shape(error) })?;
    Ok(index.manifests().clone())
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, SaveError> {
    let file = match fs_err::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(SaveError::Write)?,
    };
    let mut bytes = Vec::new();
    file.take(LONGEST_DOCUMENT).read_to_end(&mut bytes).map_err(SaveError::Write)?;
    Ok(Some(bytes))
}
