//! Saving images of the store: into an OCI layout's folder, or as an archive, an OCI or a docker one.
//!
//! The same image always gives the same archive, byte for byte: members have a fixed order, time
//! and owner. Layers of a docker archive are plain or gzip, which all readers support; zstd layers
//! are decompressed.

mod archive;
mod error;
mod folder;

pub use error::SaveError;

use std::io::Write;

use fs_err::File;

use super::location::{ImageForm, StoredImage};
use super::reference::ImageRef;
use super::store::{Image, ImageStore};
use crate::base::atomic::AtomicFile;
use crate::base::regular::open_regular;

/// Destination of a saved image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SaveDestination<'d> {
    /// Form, path, and name of the image at the destination.
    pub place: &'d StoredImage,
    /// Name of the image, where the location has none.
    pub name: Option<&'d ImageRef>,
}

/// Image to save, with its name at the destination.
struct Saving<'s> {
    store: &'s ImageStore,
    image: &'s Image,
    manifest: Vec<u8>,
    media_type: String,
    config: Vec<u8>,
    /// Reference for the index: a full reference, or the requested text.
    reference: Option<String>,
    /// Full name, if any.
    name: Option<String>,
}

impl<'s> Saving<'s> {
    fn new(
        store: &'s ImageStore,
        image: &'s Image,
        destination: &SaveDestination<'_>,
    ) -> Result<Self, SaveError> {
        let (manifest, media_type, _) = store.manifest_of(image)?;
        let config = store.config_of(image)?;
        let asked = destination.place.reference.as_ref();
        let full = |text: &String| text.contains(['/', ':']).then(|| text.parse().ok()).flatten();
        let name: Option<ImageRef> = match asked {
            Some(text) => full(text),
            None => destination.name.cloned(),
        };
        let name = name.map(|name| name.to_string());
        let reference = asked.cloned().or_else(|| name.clone());
        Ok(Self { store, image, manifest, media_type, config, reference, name })
    }
}

/// Saves an image; a file appears whole or not at all.
pub fn save(
    store: &ImageStore,
    image: &Image,
    destination: &SaveDestination<'_>,
) -> Result<(), SaveError> {
    let saving = Saving::new(store, image, destination)?;
    let place = destination.place;
    if place.form == ImageForm::Oci {
        return folder::write(&saving, &place.path);
    }
    let path = std::path::absolute(&place.path).map_err(SaveError::Write)?;
    // A special file, such as a pipe, cannot be replaced by a regular one.
    let special = fs_err::metadata(&path).is_ok_and(|found| !found.is_file());
    if special {
        let mut file =
            fs_err::OpenOptions::new().write(true).open(&path).map_err(SaveError::Write)?;
        return write_archive(&saving, place.form, &mut file);
    }
    let mut file = AtomicFile::create(&path).map_err(SaveError::Write)?;
    write_archive(&saving, place.form, &mut file)?;
    file.commit().map_err(SaveError::Write)
}

/// Saves an image as an archive into something that is open, such as stdout.
pub fn save_stream(
    store: &ImageStore,
    image: &Image,
    destination: &SaveDestination<'_>,
    mut to: impl Write,
) -> Result<(), SaveError> {
    let saving = Saving::new(store, image, destination)?;
    write_archive(&saving, destination.place.form, &mut to)?;
    to.flush().map_err(SaveError::Write)
}

fn write_archive(
    saving: &Saving<'_>,
    form: ImageForm,
    to: &mut dyn Write,
) -> Result<(), SaveError> {
    match form {
        ImageForm::DockerArchive => archive::write_docker(saving, to),
        ImageForm::Oci | ImageForm::OciArchive => archive::write_oci(saving, to),
    }
}

/// Opens a blob of the store.
fn open(saving: &Saving<'_>, digest: &super::digest::BlobDigest) -> Result<File, SaveError> {
    open_regular(&saving.store.blob_path(digest)).map_err(SaveError::Read)
}
