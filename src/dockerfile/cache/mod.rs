//! Build cache: maps the digest of a step's inputs to the resulting layer.
//!
//! ```text
//! $MKPANDA_HOME/build-cache/
//!   step-<key>.json       what a step with that key made
//!   content-<key>.json    the digest of files that a COPY takes from layers
//! ```
//!
//! A step's key is the digest of its canonical JSON, the diff ids of the layers below and the digests of
//! copied or mounted files. Times of files, networks, proxies and secrets are not part of the key.
//! Layers never change, so the digest of files in layers can be kept by their diff ids: a build
//! that finds all of its steps starts no helper.
//!
//! An entry refers to a blob of the image store, and keeps the blob alive: a removal of blobs
//! consults [`BuildCache::entries`]. The file's time is the time of its last use. A build that
//! finds an entry claims the blob, and then checks that the blob still exists; an unreadable entry,
//! or an entry of another version, counts as missing.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::step::{CopySource, LayerStep};
use crate::base::atomic;
use crate::base::digest::Sha256Sum;
use crate::base::regular::read_own;
use crate::image::digest::DiffId;
use crate::image::store::{BuiltLayer, ImageStore};

/// Changes whenever the same step would make another layer than before.
const VERSION: u32 = 4;

/// The cache's folder.
#[derive(Debug, Clone)]
pub struct BuildCache {
    folder: PathBuf,
}

/// Result of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepResult {
    /// The layer; nothing if no file changed.
    pub layer: Option<BuiltLayer>,
    /// True if owners set by the command may be lost.
    pub flattened: bool,
}

/// Entry on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// Path of the file; its time is the time of the last use.
    pub path: PathBuf,
    /// True if the entry can be read.
    pub is_usable: bool,
    /// Layer of the entry.
    pub layer: Option<BuiltLayer>,
}

/// The name of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheKey(Sha256Sum);

#[derive(Serialize, Deserialize)]
struct VersionedValue<T> {
    version: u32,
    value: T,
}

/// All inputs of a step.
#[derive(Serialize)]
struct StepKey<'a> {
    version: u32,
    below: &'a [DiffId],
    step: &'a LayerStep,
    contents: &'a [Sha256Sum],
    source_date_epoch: u64,
}

#[derive(Serialize)]
struct ContentKey<'a> {
    version: u32,
    layers: &'a [DiffId],
    sources: &'a [CopySource],
    exclude: &'a [String],
    parents: bool,
}

fn key(value: &impl Serialize) -> CacheKey {
    // Fields come in the order of their declarations, and no map is among them.
    let text = serde_json::to_vec(value).expect("texts and numbers can be written");
    CacheKey(Sha256Sum::of(&text))
}

/// Returns the key of a step. `contents` are the digests of the step's external inputs, in the
/// step's own order.
pub fn step_key(
    below: &[DiffId],
    step: &LayerStep,
    contents: &[Sha256Sum],
    source_date_epoch: u64,
) -> CacheKey {
    let mut step = step.clone();
    if let LayerStep::Run(run) = &mut step {
        // The network and proxies are the machine's, and the same command is meant to give the same
        // files with any of them.
        run.network = None;
        run.proxies.clear();
    }
    key(&StepKey { version: VERSION, below, step: &step, contents, source_date_epoch })
}

/// The key of the digest of files in layers.
pub fn content_key(
    layers: &[DiffId],
    sources: &[CopySource],
    exclude: &[String],
    parents: bool,
) -> CacheKey {
    key(&ContentKey { version: VERSION, layers, sources, exclude, parents })
}

impl BuildCache {
    /// Creates the cache in a folder, which is made with the first entry.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Returns the result of the step with that key, if the layer still exists after the claim.
    pub fn step<E>(
        &self,
        key: &CacheKey,
        store: &ImageStore,
        claim: impl FnOnce(&BuiltLayer) -> Result<(), E>,
    ) -> Result<Option<StepResult>, E> {
        let path = self.path("step", key);
        let Some(made) = read::<StepResult>(&path) else { return Ok(None) };
        if let Some(layer) = &made.layer {
            // Before the look: a collection in between would remove the blob just after it was
            // seen.
            claim(layer)?;
            if !store.has_layer(layer) {
                return Ok(None);
            }
        }
        touch(&path);
        Ok(Some(made))
    }

    /// Records the result of a step.
    pub fn put_step(&self, key: &CacheKey, made: &StepResult) -> std::io::Result<()> {
        write(&self.path("step", key), made)
    }

    /// The digest of files in layers.
    pub fn content(&self, key: &CacheKey) -> Option<Sha256Sum> {
        let path = self.path("content", key);
        read(&path).inspect(|_found| touch(&path))
    }

    /// Notes the digest of files in layers.
    pub fn put_content(&self, key: &CacheKey, digest: &Sha256Sum) -> std::io::Result<()> {
        write(&self.path("content", key), digest)
    }

    /// All entries, whatever has become of them.
    pub fn entries(&self) -> std::io::Result<Vec<CacheEntry>> {
        let files = match fs_err::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut entries = Vec::new();
        for file in files {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let content = if name.starts_with("step-") {
                read::<StepResult>(&path).map(|made| made.layer)
            } else if name.starts_with("content-") {
                read::<Sha256Sum>(&path).map(|_digest| None)
            } else {
                // A file under construction, or of another program.
                continue;
            };
            entries.push(CacheEntry {
                is_usable: content.is_some(),
                layer: content.flatten(),
                path,
            });
        }
        Ok(entries)
    }

    fn path(&self, kind: &str, key: &CacheKey) -> PathBuf {
        self.folder.join(format!("{kind}-{}.json", key.0))
    }
}

/// Updates the time of an entry. After a failure, the time of creation counts as the last use.
fn touch(path: &Path) {
    let touched = fs_err::File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.into_parts().0.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(%error, "can't note that a step was used");
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    let bytes = read_own(path).ok()?;
    let entry: VersionedValue<T> = serde_json::from_slice(&bytes).ok()?;
    (entry.version == VERSION).then_some(entry.value)
}

fn write(path: &Path, value: &impl Serialize) -> std::io::Result<()> {
    use std::io::Write;
    let text = serde_json::to_vec(&VersionedValue { version: VERSION, value })?;
    let mut file = atomic::AtomicFile::create(path)?;
    file.write_all(&text)?;
    // An entry damaged by a power cut counts as missing.
    file.commit_unsynced()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::step::{FolderStep, RunNetwork, RunStep};

    fn run(command: &str) -> RunStep {
        RunStep {
            command: vec![command.to_owned()],
            documents: Vec::new(),
            environment: Vec::new(),
            proxies: Vec::new(),
            workdir: "/".to_owned(),
            user: String::new(),
            mounts: Vec::new(),
            network: None,
        }
    }

    #[test]
    fn what_changes_nothing_is_in_no_key() {
        let plain = step_key(&[], &LayerStep::Run(run("a")), &[], 0);
        let mut other = run("a");
        other.network = Some(RunNetwork::Host);
        other.proxies.push(("http_proxy".to_owned(), "http://secret@proxy".to_owned()));
        assert_eq!(step_key(&[], &LayerStep::Run(other), &[], 0), plain);
        let content = Sha256Sum::of(b"x");
        let below = DiffId::from(content.clone());
        for other in [
            step_key(&[], &LayerStep::Run(run("b")), &[], 0),
            step_key(&[], &LayerStep::Run(run("a")), &[], 1),
            step_key(&[], &LayerStep::Run(run("a")), std::slice::from_ref(&content), 0),
            step_key(std::slice::from_ref(&below), &LayerStep::Run(run("a")), &[], 0),
        ] {
            assert_ne!(other, plain);
        }
    }

    fn find(cache: &BuildCache, key: &CacheKey, store: &ImageStore) -> Option<StepResult> {
        cache.step(key, store, |_layer| Ok::<_, ()>(())).unwrap()
    }

    #[test]
    fn an_entry_counts_while_its_blob_is_there() {
        let home = tempfile::tempdir().unwrap();
        let store = ImageStore::open(home.path()).unwrap();
        let cache = BuildCache::new(home.path().join("build-cache"));
        let folder = LayerStep::Folder(FolderStep { path: "/a".to_owned(), user: String::new() });
        let key = step_key(&[], &folder, &[], 0);
        assert_eq!(find(&cache, &key, &store), None);
        let empty = StepResult { layer: None, flattened: false };
        cache.put_step(&key, &empty).unwrap();
        assert_eq!(find(&cache, &key, &store), Some(empty));
        let sum = Sha256Sum::of(b"blob");
        let layer = BuiltLayer {
            digest: sum.clone().into(),
            size: 4,
            compression: crate::image::compression::LayerCompression::Gzip,
            diff_id: sum.into(),
        };
        let blob = store.blob_path(&layer.digest);
        let made = StepResult { layer: Some(layer), flattened: true };
        cache.put_step(&key, &made).unwrap();
        assert_eq!(find(&cache, &key, &store), None);
        fs_err::create_dir_all(blob.parent().unwrap()).unwrap();
        fs_err::write(&blob, "blo").unwrap();
        assert_eq!(find(&cache, &key, &store), None, "another size");
        fs_err::write(&blob, "blob").unwrap();
        assert_eq!(find(&cache, &key, &store), Some(made));
        let entries = cache.entries().unwrap();
        assert_eq!(entries.len(), 1);
        assert!(entries[0].is_usable && entries[0].layer.is_some());
        let claim = |_layer: &BuiltLayer| fs_err::remove_file(&blob);
        assert_eq!(cache.step(&key, &store, claim).unwrap(), None, "it went before the claim");
        fs_err::write(cache.path("step", &key), "{").unwrap();
        assert!(!cache.entries().unwrap()[0].is_usable);
        assert_eq!(find(&cache, &key, &store), None);
    }
}
