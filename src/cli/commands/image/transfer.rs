//! `mkpanda image pull`, `push`, `save` and `load`: images between the store and elsewhere, under
//! skopeo's names of places.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::super::error::CliError;
use super::super::super::settings::Settings;
use super::super::Context;
use crate::base::event::Observer;
use crate::container::helper::Interrupt;
use crate::dockerfile::execute::is_flattened;
use crate::image::load::{ImageSelection, LoadInput, LoadOptions, Naming};
use crate::image::location::{
    ImageForm, ImageLocation, PODMAN_PREFIX, REGISTRY_PREFIX, StoredImage,
};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::{Client, PullOptions, Unpacker};
use crate::image::save::{self, SaveDestination};
use crate::image::store::{Image, ImageStore};
use crate::runner::unpack::LayerUnpacker;

/// Context of these commands.
pub(super) struct TransferContext<'t> {
    pub(super) context: &'t Context<'t>,
    pub(super) settings: &'t Settings,
    pub(super) store: &'t ImageStore,
    pub(super) observer: &'t dyn Observer,
    pub(super) interrupt: &'t Arc<Interrupt>,
}

/// Destination as typed: with a form before it, or a bare reference.
enum TypedDestination {
    Registry(ImageRef),
    Stored(StoredImage),
}

impl TypedDestination {
    fn parse(text: &str) -> Result<Self, CliError> {
        let forms = [ImageForm::Oci, ImageForm::OciArchive, ImageForm::DockerArchive];
        let has_form = |form: &ImageForm| {
            text.strip_prefix(form.as_str()).is_some_and(|rest| rest.starts_with(':'))
        };
        let placed = text.starts_with(REGISTRY_PREFIX) || text.starts_with(PODMAN_PREFIX);
        if !placed && !forms.iter().any(has_form) {
            return Ok(Self::Registry(text.parse()?));
        }
        match text.parse::<ImageLocation>()? {
            ImageLocation::Stored(image) => Ok(Self::Stored(image)),
            ImageLocation::Registry(reference) => Ok(Self::Registry(reference)),
            ImageLocation::Host | ImageLocation::Dockerfile(_) => unreachable!("it has a form"),
        }
    }
}

impl TransferContext<'_> {
    pub(super) fn pull(&self, text: &str, platform: Option<&Platform>) -> Result<(), CliError> {
        let reference = match TypedDestination::parse(text)? {
            TypedDestination::Registry(reference) => reference,
            TypedDestination::Stored(image) => return self.load_stored(&image, None, platform),
        };
        let options = PullOptions {
            platform: platform.cloned().unwrap_or_else(Platform::host),
            limits: self.settings.archive_limits(),
        };
        let client = super::super::registry_client(self.settings);
        let runner = super::super::runner_settings(self.context, self.settings, self.interrupt);
        let unpacker = LayerUnpacker::new(runner);
        // Of another platform's image nothing will be built here.
        let unpacker: Option<&dyn Unpacker> =
            (options.platform == Platform::host()).then_some(&unpacker);
        let pulled = client.pull(self.store, &reference, &options, unpacker, self.observer)?;
        let name = pulled.reference.familiar();
        self.context.printer.data(&format!("{}  {name}\n", pulled.id));
        Ok(())
    }

    pub(super) fn push(&self, image: &str, to: Option<&str>) -> Result<(), CliError> {
        let found = self.store.find_any(image)?;
        let to = match to {
            Some(to) => TypedDestination::parse(to)?,
            None => TypedDestination::Registry(image.parse()?),
        };
        let reference = match to {
            TypedDestination::Registry(reference) => reference,
            TypedDestination::Stored(place) => return self.save_stored(image, &found, &place),
        };
        if is_flattened(self.store, &found)? {
            return Err(CliError::Flattened(image.to_owned()));
        }
        let client = Client::new(self.settings.registry.clone());
        let pushed = client.push(self.store, &found, &reference, self.observer)?;
        let name = pushed.reference.familiar();
        self.context.printer.data(&format!("{}  {name}\n", pushed.manifest));
        Ok(())
    }

    pub(super) fn save(&self, image: &str, output: &str) -> Result<(), CliError> {
        let found = self.store.find_any(image)?;
        let place = match output.split_once(':').map(|_| TypedDestination::parse(output)) {
            Some(Ok(TypedDestination::Stored(place))) => place,
            Some(Err(error)) if is_placed(output) => return Err(error),
            Some(Ok(TypedDestination::Registry(_))) if output.starts_with(REGISTRY_PREFIX) => {
                return self.push(image, Some(output));
            }
            _ => StoredImage {
                form: ImageForm::DockerArchive,
                path: PathBuf::from(output),
                reference: None,
            },
        };
        self.save_stored(image, &found, &place)
    }

    fn save_stored(&self, typed: &str, image: &Image, place: &StoredImage) -> Result<(), CliError> {
        // Under the name by which it was asked for, if it was by one.
        let asked: Option<ImageRef> = typed.parse().ok();
        let asked = asked.filter(|name| image.references.contains(name));
        let name = asked.as_ref().or(image.references.first());
        let destination = SaveDestination { place, name };
        if place.path.as_os_str() == "-" && place.form != ImageForm::Oci {
            let stdout = std::io::stdout().lock();
            save::save_stream(self.store, image, &destination, stdout)?;
        } else {
            save::save(self.store, image, &destination)?;
        }
        Ok(())
    }

    pub(super) fn load(&self, input: &Path, name: Option<&str>) -> Result<(), CliError> {
        if let Some(text) = input.to_str().filter(|text| is_placed(text)) {
            return match TypedDestination::parse(text)? {
                TypedDestination::Stored(image) => self.load_stored(&image, name, None),
                TypedDestination::Registry(_) => {
                    let (option, place) = ("`image load`", format!("{text}: `image pull` it"));
                    Err(CliError::Useless { option, place })
                }
            };
        }
        self.load_with(input, &self.options(name, None)?)
    }

    fn load_stored(
        &self,
        image: &StoredImage,
        name: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<(), CliError> {
        let mut options = self.options(name, platform)?;
        options.form = Some(image.form);
        if let Some(reference) = &image.reference {
            options.selection = ImageSelection::Named(reference.clone());
        }
        self.load_with(&image.path, &options)
    }

    fn options(
        &self,
        name: Option<&str>,
        platform: Option<&Platform>,
    ) -> Result<LoadOptions, CliError> {
        let limits = self.settings.archive_limits();
        let mut options = LoadOptions { limits, ..LoadOptions::default() };
        if let Some(name) = name {
            options.naming = Naming::As(name.parse()?);
        }
        if let Some(platform) = platform {
            options.platform = platform.clone();
        }
        Ok(options)
    }

    fn load_with(&self, input: &Path, options: &LoadOptions) -> Result<(), CliError> {
        let mut stdin = std::io::stdin().lock();
        let input = if input.as_os_str() == "-" {
            LoadInput::Stream(&mut stdin, "stdin")
        } else {
            LoadInput::Path(input)
        };
        for loaded in self.store.load(input, options, self.observer)? {
            let name = loaded.reference.map_or_else(|| "<none>".to_owned(), |name| name.familiar());
            self.context.printer.data(&format!("{}  {name}\n", loaded.id));
        }
        Ok(())
    }
}

/// True if a form stands before a place, in skopeo's spelling.
fn is_placed(text: &str) -> bool {
    let forms = ["oci:", "oci-archive:", "docker-archive:", REGISTRY_PREFIX, PODMAN_PREFIX];
    forms.iter().any(|form| text.starts_with(form))
}
