//! Taking images in: an OCI layout as a folder or an archive, or a docker archive, which may come
//! through a pipe. An archive may be compressed by gzip, zstd, xz or bzip2.
//!
//! The input is untrusted: names are only compared, never used as paths; documents have a size
//! limit; the digests of manifests, configurations and layers are verified, and those of the
//! layers' uncompressed content too (diff ids). Only checked content enters the store.

mod docker;
mod error;
mod layout;
mod limit;
mod select;
mod source;
mod staging;

pub use error::{LoadError, LoadProblem};

pub(super) use staging::{Blob, Measured, Staging, measure, measure_stored};

use std::io::Read;
use std::path::Path;

use source::{LayoutSource, StagedArchive};

use super::config::ImageConfig;
use super::digest::{BlobDigest, ImageId};
use super::location::{ImageForm, StoredImage};
use super::platform::Platform;
use super::reference::ImageRef;
use crate::archive::compression::decompressed_with;
use crate::archive::{ArchiveLimits, ReadError};
use crate::base::causes::with_causes;
use crate::base::regular::open_regular;

/// Upper limit of images and names in one input. The cost is quadratic: each name searches all
/// entries of the store.
const MOST_NAMES: usize = 2000;

/// Source of an image to load.
pub enum LoadInput<'i> {
    /// A layout's folder or an archive.
    Path(&'i Path),
    /// An archive that can be read once only, such as standard input, and its name for messages.
    Stream(&'i mut dyn Read, &'i str),
}

impl std::fmt::Debug for LoadInput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LoadInput").field(&self.name()).finish()
    }
}

impl LoadInput<'_> {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stream(_, name) => (*name).to_owned(),
        }
    }
}

/// Wanted images of an input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ImageSelection {
    /// All images.
    #[default]
    All,
    /// The one that the input calls so: a full name, or the bare reference of a layout.
    Named(String),
    /// The only image, or, among several, the image of this name.
    OneFor(ImageRef),
}

/// Names of the images in the store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Naming {
    /// As the input calls them. A bare tag, which some layouts have for a name, names nothing.
    #[default]
    Own,
    /// So; then there has to be one only.
    As(ImageRef),
    /// Nothing: they are found by their ids.
    Nameless,
}

/// Options for loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Form of the input; detected by default.
    pub form: Option<ImageForm>,
    /// Wanted images.
    pub selection: ImageSelection,
    /// Names in the store.
    pub naming: Naming,
    /// Required platform.
    pub platform: Platform,
    /// Limits of the input.
    pub limits: ArchiveLimits,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            form: None,
            selection: ImageSelection::default(),
            naming: Naming::default(),
            platform: Platform::host(),
            limits: ArchiveLimits::default(),
        }
    }
}

impl LoadOptions {
    /// Options for an image at a configured location, called `name` in the configuration, without
    /// giving the image that name in the store.
    pub fn for_location(image: &StoredImage, name: &ImageRef) -> Self {
        Self {
            form: Some(image.form),
            selection: match &image.reference {
                Some(reference) => ImageSelection::Named(reference.clone()),
                None => ImageSelection::OneFor(name.clone()),
            },
            naming: Naming::Nameless,
            ..Self::default()
        }
    }
}

/// An image that has been checked and lies in the staging folder.
#[derive(Debug, Clone)]
pub(super) struct StagedImage {
    pub(super) names: Vec<ImageRef>,
    /// Names in the input, for selection and messages.
    pub(super) called: Vec<String>,
    pub(super) id: ImageId,
    pub(super) media_type: String,
    pub(super) manifest: Blob,
    pub(super) platform: Platform,
    /// Digest of the registry's index that led to the image, if any.
    pub(super) index: Option<BlobDigest>,
    /// The configuration and the layers.
    pub(super) content: Vec<Blob>,
}

/// The wanted images of an input.
#[derive(Debug, Default)]
pub(super) struct SelectedImages {
    pub(super) found: Vec<StagedImage>,
    /// Other entries that were asked for and cannot be used.
    pub(super) passed_over: Vec<PassedOver>,
}

/// An entry of an input that is not loaded.
#[derive(Debug)]
pub(super) struct PassedOver {
    /// Name and reason.
    pub(super) message: String,
    /// True if the entry is damaged; false if it is something else than an image for the platform.
    pub(super) is_damaged: bool,
}

impl PassedOver {
    fn new(called: &str, problem: &LoadProblem) -> Self {
        let message = format!("{called} ({})", with_causes(problem));
        Self { message, is_damaged: !problem.is_of_another_kind() }
    }
}

impl SelectedImages {
    /// Takes in an image, or adds the problem for which it is passed over; others are the input's.
    fn take(
        &mut self,
        called: &[String],
        image: Result<StagedImage, LoadProblem>,
        problems: &mut Vec<(String, LoadProblem)>,
    ) -> Result<(), LoadProblem> {
        match image {
            Ok(image) => self.found.push(image),
            Err(problem) if problem.is_of_entry() => {
                let called = called.join(", ");
                self.passed_over.push(PassedOver::new(&called, &problem));
                problems.push((called, problem));
            }
            Err(problem) => return Err(problem),
        }
        Ok(())
    }

    /// The images, or the problems of all entries if there is none.
    fn or_problems(self, problems: Vec<(String, LoadProblem)>) -> Result<Self, LoadProblem> {
        if self.found.is_empty() && !problems.is_empty() {
            return Err(LoadProblem::of_entries(problems));
        }
        Ok(self)
    }
}

/// Reads and checks the wanted images of an input.
pub(super) fn read(
    input: LoadInput<'_>,
    options: &LoadOptions,
    staging: &mut Staging<'_>,
) -> Result<SelectedImages, LoadProblem> {
    let SelectedImages { found, passed_over } = match input {
        LoadInput::Path(path) if path.is_dir() => match options.form {
            Some(form @ (ImageForm::OciArchive | ImageForm::DockerArchive)) => {
                return Err(LoadProblem::Folder { form });
            }
            _ => layout::read(&LayoutSource::Folder(path), options, staging)?,
        },
        LoadInput::Path(_) if options.form == Some(ImageForm::Oci) => {
            return Err(LoadProblem::NoFolder);
        }
        // A tree's configuration may name it.
        LoadInput::Path(path) if options.form.is_some() => {
            let mut file = open_regular(path).map_err(LoadProblem::Read)?;
            read_archive(&mut file, options, staging)?
        }
        // It may be a pipe, as `<(…)` in a shell makes one.
        LoadInput::Path(path) => {
            let mut file = fs_err::File::open(path).map_err(LoadProblem::Read)?;
            read_archive(&mut file, options, staging)?
        }
        LoadInput::Stream(stream, _) => read_archive(stream, options, staging)?,
    };
    // Before the store's lock is taken, which all other processes would wait for.
    if found.len() + found.iter().map(|image| image.names.len()).sum::<usize>() > MOST_NAMES {
        return Err(LoadProblem::Many { most: MOST_NAMES });
    }
    Ok(SelectedImages { found: rename(found, &options.naming)?, passed_over })
}

fn read_archive(
    input: &mut dyn Read,
    options: &LoadOptions,
    staging: &mut Staging<'_>,
) -> Result<SelectedImages, LoadProblem> {
    let threads = options.limits.max_threads;
    let input = decompressed_with(input, threads).map_err(ReadError::Stream)?;
    let archive = StagedArchive::read(input, options.limits, staging)?;
    let (oci, docker) = (archive.has("index.json"), archive.has("manifest.json"));
    match options.form {
        // Newer dockers write both; the layout keeps the manifests.
        Some(ImageForm::OciArchive) | None if oci => {
            layout::read(&LayoutSource::Archive(&archive), options, staging)
        }
        Some(ImageForm::DockerArchive) | None if docker => docker::read(&archive, options, staging),
        _ => Err(LoadProblem::NoImage {
            form: options.form,
            // Docker before 1.10 wrote that file instead of `manifest.json`.
            old_docker: archive.has("repositories"),
        }),
    }
}

fn rename(mut found: Vec<StagedImage>, naming: &Naming) -> Result<Vec<StagedImage>, LoadProblem> {
    match naming {
        Naming::Own => {}
        Naming::Nameless => found.iter_mut().for_each(|image| image.names.clear()),
        Naming::As(name) => match found.as_mut_slice() {
            [image] => image.names = vec![name.clone()],
            _ => return Err(LoadProblem::Several { called: called(&found) }),
        },
    }
    Ok(found)
}

fn called(found: &[StagedImage]) -> Vec<String> {
    found
        .iter()
        .map(|image| match image.called.as_slice() {
            [] => image.id.to_string(),
            called => called.join(", "),
        })
        .collect()
}

/// Checks that a configuration names as many layers as there are.
pub(super) fn check_count_of_layers(
    config: &ImageConfig,
    layers: usize,
) -> Result<(), LoadProblem> {
    let diff_ids = config.diff_ids.len();
    if diff_ids == layers { Ok(()) } else { Err(LoadProblem::LayerCount { diff_ids, layers }) }
}

/// Checks that the layers match the diff ids of the configuration; their numbers must be equal.
pub(super) fn check_layers(config: &ImageConfig, layers: &[Blob]) -> Result<(), LoadProblem> {
    for (index, (expected, layer)) in config.diff_ids.iter().zip(layers).enumerate() {
        let number = index + 1;
        match &layer.unpacked {
            Err(reason) => {
                let (digest, reason) = (layer.digest.clone(), reason.clone());
                return Err(LoadProblem::LayerContent { number, digest, reason });
            }
            // The digest of the compressed blob is right, but the id promises this one, and
            // packages' ids rest on that.
            Ok(found) if found != expected => {
                let (expected, found) = (expected.clone(), found.clone());
                return Err(LoadProblem::DiffId { number, expected, found });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

pub(super) fn check_platform(config: &ImageConfig, wanted: &Platform) -> Result<(), LoadProblem> {
    if wanted.accepts(&config.platform) {
        return Ok(());
    }
    Err(LoadProblem::Platform { wanted: wanted.clone(), found: vec![config.platform.to_string()] })
}
