//! Folder of an OCI layout, possibly with other images: those of other names stay.
//!
//! A writer of the index holds a lock on the file `oci-layout`, so that of images that are saved at the same
//! time none is lost.

use std::io::{self, Read, Write};
use std::path::Path;

use fs_err::os::unix::fs::OpenOptionsExt;
use serde_json::{Map, Value, json};

use super::{SaveError, Saving, open};
use crate::base::atomic::{self, AtomicFile};
use crate::base::confinement;
use crate::base::go_json;
use crate::base::lock::FileLock;
use crate::base::regular::open_regular;
use crate::image::digest::BlobDigest;
use crate::image::document::{
    CONTAINERD_NAME, DocumentError, INDEX, LONGEST_DOCUMENT, REF_NAME, annotation,
    check_layout_version,
};
use crate::package::json::canonical;
use crate::store::registry::media_type;

pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Writes the image into a folder.
pub(super) fn write(saving: &Saving<'_>, folder: &Path) -> Result<(), SaveError> {
    refuse_links(folder)?;
    let _lock = lock(folder)?;
    let mut index = read_index(folder)?;
    let blobs = folder.join("blobs/sha256");
    fs_err::create_dir_all(&blobs).map_err(SaveError::Write)?;
    for layer in &saving.image.layers {
        put(&blobs, &layer.digest, layer.size, &mut open(saving, &layer.digest)?)?;
    }
    let config: BlobDigest = saving.image.id.sum().clone().into();
    for (digest, bytes) in [(&config, &saving.config), (&saving.image.manifest, &saving.manifest)] {
        put(&blobs, digest, bytes.len() as u64, &mut bytes.as_slice())?;
    }
    let mut entries = match index.remove("manifests") {
        Some(Value::Array(entries)) => entries,
        None => Vec::new(),
        // Written back as a list, the entries would be lost.
        Some(_) => {
            let problem = serde::de::Error::custom("`manifests` is not a list");
            let (path, problem) = (folder.join("index.json"), DocumentError::Shape(problem));
            return Err(SaveError::NoLayout { path, problem });
        }
    };
    let entry = entry(saving);
    // One name means one image; one without a name is there once.
    entries.retain(|old| match annotation(&entry, REF_NAME) {
        Some(name) => annotation(old, REF_NAME).as_ref() != Some(&name),
        None => old.get("digest") != entry.get("digest"),
    });
    entries.push(entry);
    atomic::write_if_changed(&folder.join("index.json"), &document(index, entries))
        .map_err(SaveError::Write)
}

/// Refuses a folder with symlinks where files are written: they could lead anywhere.
fn refuse_links(folder: &Path) -> Result<(), SaveError> {
    for name in ["oci-layout", "index.json", "blobs/sha256"] {
        confinement::without_links(folder, Path::new(name)).map_err(|error| {
            match error.raw_os_error() {
                Some(libc::ELOOP) => SaveError::Link(folder.join(name)),
                _ => SaveError::Write(error),
            }
        })?;
    }
    Ok(())
}

/// The index of a layout that has this image alone.
pub(super) fn index(saving: &Saving<'_>) -> Vec<u8> {
    document(Map::new(), vec![entry(saving)])
}

/// Replaces the entries of an index; other keys stay.
fn document(mut index: Map<String, Value>, entries: Vec<Value>) -> Vec<u8> {
    index.insert("schemaVersion".to_owned(), json!(2));
    index.insert("mediaType".to_owned(), json!(media_type::INDEX));
    index.insert("manifests".to_owned(), entries.into());
    canonical(&index.into()).into_bytes()
}

fn entry(saving: &Saving<'_>) -> Value {
    let mut entry = json!({
        "mediaType": saving.media_type,
        "digest": saving.image.manifest,
        "size": saving.manifest.len(),
    });
    let names = [(REF_NAME, &saving.reference), (CONTAINERD_NAME, &saving.name)];
    let names: Map<String, Value> = names
        .into_iter()
        .filter_map(|(key, name)| Some((key.to_owned(), name.clone()?.into())))
        .collect();
    if !names.is_empty() {
        entry["annotations"] = names.into();
    }
    entry
}

/// Writes a missing blob.
fn put(
    blobs: &Path,
    digest: &BlobDigest,
    size: u64,
    content: &mut dyn Read,
) -> Result<(), SaveError> {
    let path = blobs.join(digest.hex());
    let is_there = |found: std::fs::Metadata| found.is_file() && found.len() == size;
    // By length alone: whoever loads the layout checks the digests.
    if fs_err::symlink_metadata(&path).is_ok_and(is_there) {
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

/// Makes the folder a layout, if empty or missing, and takes the layout's lock. Other folders are
/// refused.
fn lock(folder: &Path) -> Result<FileLock, SaveError> {
    let path = folder.join("oci-layout");
    if !path.exists() {
        match fs_err::read_dir(folder).map(Iterator::count) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(SaveError::Write(error)),
            Ok(0) => {}
            // Another process may have made the folder a layout just now.
            Ok(_) if path.exists() => {}
            Ok(_) => return Err(SaveError::NotEmpty(folder.to_owned())),
        }
        fs_err::create_dir_all(folder).map_err(SaveError::Write)?;
    }
    let options = || {
        let mut options = fs_err::OpenOptions::new();
        // A symlink could lead out of the folder, and a FIFO would wait for a reader.
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        options
    };
    let opened = options().write(true).create(true).truncate(false).open(&path);
    // A file that nobody may write to can be locked all the same.
    let file = opened.or_else(|_error| options().open(&path)).map_err(SaveError::Write)?;
    if !file.metadata().map_err(SaveError::Write)?.is_file() {
        return Err(SaveError::NotEmpty(folder.to_owned()));
    }
    let again = file.try_clone().map_err(SaveError::Write)?.into_parts().0;
    let lock = FileLock::acquire_opened_unless(again, || (), || false).map_err(SaveError::Write)?;
    let lock = lock.unwrap_or_else(|| unreachable!("the lock is waited for"));
    let mut bytes = Vec::new();
    (&file).take(LONGEST_DOCUMENT).read_to_end(&mut bytes).map_err(SaveError::Write)?;
    if bytes.is_empty() {
        // Made here, or by a process that ended right after that.
        (&file).write_all(LAYOUT).map_err(SaveError::Write)?;
        return Ok(lock);
    }
    check_layout_version(&bytes).map_err(|problem| SaveError::NoLayout { path, problem })?;
    Ok(lock)
}

fn read_index(folder: &Path) -> Result<Map<String, Value>, SaveError> {
    let path = folder.join("index.json");
    let Some(bytes) = read(&path)? else { return Ok(Map::new()) };
    go_json::parse(&bytes, &INDEX)
        .map_err(|error| SaveError::NoLayout { path, problem: DocumentError::Shape(error) })
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, SaveError> {
    let file = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(SaveError::Write)?,
    };
    let mut bytes = Vec::new();
    file.take(LONGEST_DOCUMENT).read_to_end(&mut bytes).map_err(SaveError::Write)?;
    Ok(Some(bytes))
}
