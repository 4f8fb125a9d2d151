//! The image store: an OCI image layout that other tools can read (`skopeo inspect
//! oci:$MKPANDA_HOME/images:docker.io/library/ubuntu:14.04`).
//!
//! ```text
//! $MKPANDA_HOME/
//!   images/
//!     oci-layout             {"imageLayoutVersion":"1.0.0"}
//!     index.json             an entry per name; ref.name is the full reference; nameless ones have none
//!     blobs/sha256/<hex>     manifests, configurations, layers, as they came
//!     locations.json         which image a configured folder or file gave, and when (`located`)
//!     .tmp-…/                blobs on their way in, with the lock file of whoever brings them
//!     .partial/<hex>         what has come of a registry's blobs so far (`registry::partial`)
//!   locks/images             taken while the index changes or blobs are moved or removed
//! ```
//!
//! Invariants: a blob's content has the digest in its name, and is never written to again; the
//! target of an index entry is present before the entry. Reading takes no lock: the index is
//! replaced as a whole. An image stays while an entry leads to it; unreferenced blobs are removed
//! with the next removal, unless the caller keeps them (`build::gc`: the build cache and running
//! builds), and folders of dead processes with the next load or collection.

mod built;
mod commit;
mod image;
mod index;
mod located;
mod mark;
mod remove;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use built::{BlobRoom, BuiltLayer, StoredBuild};
pub use commit::LoadedImage;
pub use image::{Image, Inspection, Layer, LayerBlob, RootImage};
pub use remove::Removed;

pub use super::store_error::ImageStoreError;

use index::LayoutIndex;

use super::compression::LayerCompression;
use super::config::ImageConfig;
use super::digest::BlobDigest;
use super::document::{CheckedDescriptor, DocumentKind, LONGEST_DOCUMENT};
use super::manifest::parse_manifest;
use super::reference::ImageRef;
use crate::base::digest::Sha256Sum;
use crate::base::regular::read_regular;
use crate::base::suggestion::nearest;

/// Shorter prefixes of ids are taken for names.
const SHORTEST_PREFIX: usize = 4;

/// The image store below a home folder.
#[derive(Debug, Clone)]
pub struct ImageStore {
    folder: PathBuf,
    lock: PathBuf,
}

/// All images of the store.
#[derive(Debug)]
pub struct ImageListing {
    /// Images by name; nameless images last.
    pub images: Vec<Image>,
    /// Unusable entries of the index, by name or manifest.
    pub broken: Vec<(String, ImageStoreError)>,
}

impl ImageStore {
    /// The store of a home folder. Nothing is written before something is loaded.
    pub fn open(home: &Path) -> Result<Self, ImageStoreError> {
        let store = Self { folder: home.join("images"), lock: home.join("locks/images") };
        index::check_version(&store.folder)?;
        Ok(store)
    }

    /// The folder of the layout.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Path of a blob.
    pub fn blob_path(&self, digest: &BlobDigest) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.hex())
    }

    /// Every image, each once, with all its names.
    pub fn list(&self) -> Result<ImageListing, ImageStoreError> {
        let mut targets: BTreeMap<BlobDigest, CheckedDescriptor> = BTreeMap::new();
        let mut names: BTreeMap<BlobDigest, Vec<ImageRef>> = BTreeMap::new();
        let index = LayoutIndex::read(&self.folder)?;
        let mut broken = index.odd();
        for target in index.targets() {
            let reference = index::reference(&target);
            names.entry(target.digest.clone()).or_default().extend(reference);
            targets.insert(target.digest.clone(), target);
        }
        let mut images = Vec::new();
        for (digest, target) in targets {
            let references = names.remove(&digest).unwrap_or_default();
            let called = label(&references, &digest);
            match self.read_image(&target, references) {
                Ok(image) => images.push(image),
                Err(error) => broken.push((called, error)),
            }
        }
        images.sort_by_key(|image| {
            let name = image.references.first().cloned();
            (name.is_none(), name, image.id.clone())
        });
        Ok(ImageListing { images, broken })
    }

    /// The image of that name. A name with a digest is also found by the digest of the manifest.
    pub fn find(&self, name: &ImageRef) -> Result<Option<Image>, ImageStoreError> {
        let index = LayoutIndex::read(&self.folder)?;
        let targets = index.targets();
        let named = |target: &&CheckedDescriptor| index::reference(target).as_ref() == Some(name);
        let pinned = |target: &&CheckedDescriptor| {
            name.digest() == Some(&target.digest)
                && index::reference(target).is_some_and(|other| other.same_repository(name))
        };
        let found = targets.iter().find(named).or_else(|| targets.iter().find(pinned));
        found.map(|target| self.read_image(target, index::names(&targets, target))).transpose()
    }

    /// Returns the image of that name, with the digest of the registry's document at the time of
    /// the pull.
    pub(in crate::image) fn pulled(
        &self,
        name: &ImageRef,
    ) -> Result<Option<(Image, BlobDigest)>, ImageStoreError> {
        let targets = LayoutIndex::read(&self.folder)?.targets();
        let named = |target: &&CheckedDescriptor| index::reference(target).as_ref() == Some(name);
        let Some(target) = targets.iter().find(named) else { return Ok(None) };
        let image = self.read_image(target, index::names(&targets, target))?;
        Ok(Some((image, target.index.clone().unwrap_or_else(|| target.digest.clone()))))
    }

    /// Returns an image's stored manifest, its media type, and the size of the configuration.
    pub(in crate::image) fn manifest_of(
        &self,
        image: &Image,
    ) -> Result<(Vec<u8>, String, u64), ImageStoreError> {
        let called = label(&image.references, &image.manifest);
        let what = "the manifest";
        let bytes = self.document(&image.manifest, what, &called)?;
        let targets = LayoutIndex::read(&self.folder)?.targets();
        let target = targets.into_iter().find(|target| target.digest == image.manifest);
        let target = target.ok_or_else(|| ImageStoreError::not_found(called.clone()))?;
        let manifest = parse_manifest(&bytes, &target.media_type)
            .map_err(|error| damaged(&called, what, error))?;
        Ok((bytes, target.media_type, manifest.config.size))
    }

    /// The entry of an image in a layout's index, and all its blobs with their paths.
    pub fn for_layout(
        &self,
        image: &Image,
    ) -> Result<(serde_json::Value, Vec<(BlobDigest, PathBuf)>), ImageStoreError> {
        let (manifest, media_type, _) = self.manifest_of(image)?;
        let entry = serde_json::json!({
            "mediaType": media_type, "digest": image.manifest, "size": manifest.len(),
        });
        let blobs = image.blobs().map(|digest| (digest.clone(), self.blob_path(&digest)));
        Ok((entry, blobs.collect()))
    }

    /// An image's configuration, as it is stored.
    pub fn config_of(&self, image: &Image) -> Result<Vec<u8>, ImageStoreError> {
        let called = label(&image.references, &image.manifest);
        self.document(&image.id.sum().clone().into(), "the configuration", &called)
    }

    /// Layers of all images in the store, with their diff ids.
    pub(in crate::image) fn layers(&self) -> Result<BTreeMap<BlobDigest, Layer>, ImageStoreError> {
        let layers = self.list()?.images.into_iter().flat_map(|image| image.layers);
        Ok(layers.map(|layer| (layer.digest.clone(), layer)).collect())
    }

    /// The image whose id begins so; with or without `sha256:`, the whole id or some digits.
    pub fn find_id(&self, prefix: &str) -> Result<Option<Image>, ImageStoreError> {
        let digits = prefix.strip_prefix("sha256:").unwrap_or(prefix);
        let mut images = self.list()?.images;
        images.retain(|image| image.id.hex().starts_with(digits));
        let mut ids: Vec<String> = images.iter().map(|image| image.id.to_string()).collect();
        ids.sort();
        ids.dedup();
        // Ids, not images: one image may be there with two manifests.
        if ids.len() > 1 {
            return Err(ImageStoreError::Ambiguous { prefix: prefix.to_owned(), ids });
        }
        Ok(images.into_iter().next())
    }

    /// The image that a person means: a name, or the beginning of an id.
    pub fn find_any(&self, text: &str) -> Result<Image, ImageStoreError> {
        let named = match text.parse::<ImageRef>() {
            Ok(name) => self.find(&name)?,
            Err(_) => None,
        };
        let found = match named {
            None if is_id(text) => self.find_id(text)?,
            found => found,
        };
        found.ok_or_else(|| ImageStoreError::NotFound {
            name: text.to_owned(),
            near: self.name_like(text),
        })
    }

    /// Name of the image that is most like a mistyped one.
    fn name_like(&self, typed: &str) -> Option<String> {
        let images = self.list().ok()?.images;
        let names: Vec<String> = images
            .iter()
            .flat_map(|image| image.references.iter().map(ImageRef::familiar))
            .collect();
        // With the tag that stands for none.
        let typed = typed.parse::<ImageRef>().map_or(typed.to_owned(), |name| name.familiar());
        nearest(&typed, names.iter().map(String::as_str)).map(str::to_owned)
    }

    /// Returns an image with its documents.
    pub fn inspect(&self, text: &str) -> Result<Inspection, ImageStoreError> {
        let image = self.find_any(text)?;
        let called = label(&image.references, &image.manifest);
        let document = |what: &str, digest: &BlobDigest| {
            let bytes = self.document(digest, what, &called)?;
            serde_json::from_slice(&bytes).map_err(|error| damaged(&called, what, error))
        };
        let manifest = document("the manifest", &image.manifest)?;
        let config = document("the configuration", &image.id.sum().clone().into())?;
        Ok(Inspection { image, manifest, config })
    }

    /// The image that an index entry leads to. Documents are checked against their digests, since
    /// the id goes into those of packages; layers are when they are unpacked.
    fn read_image(
        &self,
        target: &CheckedDescriptor,
        references: Vec<ImageRef>,
    ) -> Result<Image, ImageStoreError> {
        let called = label(&references, &target.digest);
        if target.kind != DocumentKind::Manifest {
            let problem = format!("has the media type {}", target.media_type);
            return Err(damaged(&called, "the index entry", problem));
        }
        let bytes = self.document(&target.digest, "the manifest", &called)?;
        let manifest = parse_manifest(&bytes, &target.media_type)
            .map_err(|error| damaged(&called, "the manifest", error))?;
        let bytes = self.document(&manifest.config.digest, "the configuration", &called)?;
        let config = ImageConfig::parse(&bytes)
            .map_err(|problem| ImageStoreError::Config { image: called.clone(), problem })?;
        // Layers and diff ids are paired by their positions from here on.
        if config.diff_ids.len() != manifest.layers.len() {
            return Err(damaged(
                &called,
                "the configuration",
                "has other layers than its manifest",
            ));
        }
        let mut compressions = Vec::with_capacity(manifest.layers.len());
        for (index, layer) in manifest.layers.iter().enumerate() {
            let what = format!("layer {}", index + 1);
            let path = self.blob_path(&layer.content.digest);
            let size =
                fs_err::metadata(&path).map_err(|error| damaged(&called, &what, error))?.len();
            // Digests of layers are left to the unpacking: reading gigabytes for a list would take
            // minutes.
            if size != layer.content.size {
                let problem = format!("has {size} bytes instead of {}", layer.content.size);
                return Err(damaged(&called, &what, problem));
            }
            let compression = LayerCompression::of_file(&path);
            compressions.push(compression.map_err(|error| damaged(&called, &what, error))?);
        }
        Ok(Image::new(target, manifest, config, compressions, references))
    }

    fn document(
        &self,
        digest: &BlobDigest,
        what: &str,
        called: &str,
    ) -> Result<Vec<u8>, ImageStoreError> {
        let bytes = read_regular(&self.blob_path(digest), LONGEST_DOCUMENT)
            .map_err(|error| damaged(called, what, error))?;
        if Sha256Sum::of(&bytes) != *digest.sum() {
            return Err(damaged(called, what, "has been changed: its digest is another"));
        }
        Ok(bytes)
    }
}

fn is_id(text: &str) -> bool {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    (SHORTEST_PREFIX..=64).contains(&digits.len())
        && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn label(references: &[ImageRef], manifest: &BlobDigest) -> String {
    references.first().map_or_else(|| manifest.to_string(), ImageRef::familiar)
}

fn damaged(image: &str, what: &str, problem: impl std::fmt::Display) -> ImageStoreError {
    let problem = problem.to_string();
    ImageStoreError::Damaged { image: image.to_owned(), what: what.to_owned(), problem }
}
