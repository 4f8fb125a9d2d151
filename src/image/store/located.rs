//! Images at configured locations: loaded once, and again when the folder or file changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::index::{self, LayoutIndex};
use super::{Image, ImageStore, ImageStoreError};
use crate::archive::ArchiveLimits;
use crate::base::atomic;
use crate::base::confinement::real_path;
use crate::base::event::Observer;
use crate::base::file_stamp::FileStamp;
use crate::base::regular::read_own;
use crate::image::digest::BlobDigest;
use crate::image::load::{LoadError, LoadInput, LoadOptions, LoadProblem};
use crate::image::location::{ImageForm, StoredImage};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;

const LOCATIONS: &str = "locations.json";

/// Record of a loaded location. An unreadable record counts as empty: its images are loaded again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Located {
    file: PathBuf,
    stamp: FileStamp,
    manifest: BlobDigest,
}

impl ImageStore {
    /// Returns the image at the location that the configuration gives for `name`. The image is
    /// loaded if the store lacks the current content; the store does not record `name`.
    pub fn at_location(
        &self,
        place: &StoredImage,
        name: &ImageRef,
        limits: ArchiveLimits,
        observer: &dyn Observer,
    ) -> Result<Image, LoadError> {
        let fail = |problem| LoadError { input: place.to_string(), problem };
        let (file, stamp) = real_path(&changing_file(place))
            .and_then(|file| read_stamp(&file).map(|stamp| (file, stamp)))
            .map_err(|error| fail(LoadProblem::Read(error)))?;
        // By the real path: a symlink of a release may lead to another file tomorrow.
        let key = key(place, &file, name);
        let known = self.locations().map_err(|error| fail(error.into()))?.remove(&key);
        if let Some(known) = known.filter(|known| known.stamp == stamp) {
            let image = self.find_manifest(&known.manifest).map_err(|error| fail(error.into()))?;
            if let Some(image) = image {
                return Ok(image);
            }
        }
        let options = LoadOptions { limits, ..LoadOptions::for_location(place, name) };
        // The stamp was taken before: a change during the load is seen as one by the next run.
        let loaded = self.load(LoadInput::Path(&place.path), &options, observer)?;
        let manifest = loaded[0].manifest.clone();
        let located = Located { file, stamp, manifest: manifest.clone() };
        self.locate(key, located, observer).map_err(|error| fail(error.into()))?;
        let image = self.find_manifest(&manifest).map_err(|error| fail(error.into()))?;
        image.ok_or_else(|| fail(ImageStoreError::not_found(manifest.to_string()).into()))
    }

    /// The manifests that configured places gave and still would; forgets the other places.
    pub fn located_manifests(&self) -> Result<BTreeSet<BlobDigest>, ImageStoreError> {
        let mut locations = self.locations()?;
        locations.retain(|_, located| {
            read_stamp(&located.file).is_ok_and(|stamp| stamp == located.stamp)
        });
        self.write_locations(&locations)?;
        Ok(locations.into_values().map(|located| located.manifest).collect())
    }

    /// The image of a manifest.
    pub fn find_manifest(&self, manifest: &BlobDigest) -> Result<Option<Image>, ImageStoreError> {
        let targets = LayoutIndex::read(&self.folder)?.targets();
        let found = targets.iter().find(|target| target.digest == *manifest);
        found.map(|target| self.read_image(target, index::names(&targets, target))).transpose()
    }

    fn locate(
        &self,
        key: String,
        located: Located,
        observer: &dyn Observer,
    ) -> Result<(), ImageStoreError> {
        // Read again under the lock, as another process may have added a location since.
        let _store = self.lock(observer)?;
        let mut locations = self.locations()?;
        locations.insert(key, located);
        self.write_locations(&locations)
    }

    fn locations(&self) -> Result<BTreeMap<String, Located>, ImageStoreError> {
        match read_own(&self.folder.join(LOCATIONS)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(error) => Err(ImageStoreError::Io(error)),
        }
    }

    fn write_locations(
        &self,
        locations: &BTreeMap<String, Located>,
    ) -> Result<(), ImageStoreError> {
        if locations.is_empty() && !self.folder.join(LOCATIONS).exists() {
            return Ok(());
        }
        let bytes = serde_json::to_vec(locations).expect("texts and numbers can be written");
        atomic::write_if_changed(&self.folder.join(LOCATIONS), &bytes).map_err(ImageStoreError::Io)
    }
}

fn read_stamp(path: &Path) -> io::Result<FileStamp> {
    fs_err::metadata(path).map(|data| FileStamp::of(&data))
}

/// Path of the file that changes together with the location's content.
fn changing_file(place: &StoredImage) -> PathBuf {
    match place.form {
        ImageForm::Oci => place.path.join("index.json"),
        ImageForm::OciArchive | ImageForm::DockerArchive => place.path.clone(),
    }
}

/// Key of a record. The result also depends on the requested name.
fn key(place: &StoredImage, file: &Path, name: &ImageRef) -> String {
    let (form, platform) = (place.form.as_str(), Platform::host());
    match &place.reference {
        Some(reference) => format!("{form} {} {platform} {reference}", file.display()),
        None => format!("{form} {} {platform} for {name}", file.display()),
    }
}
