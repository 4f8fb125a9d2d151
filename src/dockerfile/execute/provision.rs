//! Provision of a build's external inputs: base images, and room for containers. Everything in use
//! is registered, so that no collection removes an input meanwhile.

use std::path::Path;
use std::sync::Arc;

use super::error::{DockerfileError, StepError};
use super::provision_error::ProvisionError;
use super::shared::{FinishedStage, ImageBuild, is_flattened};
use crate::base::event::Observer;
use crate::container::helper::HelperSlot;
use crate::dockerfile::evaluate::{ConfigDocument, EvaluatedStage};
use crate::dockerfile::model::Position;
use crate::image::digest::ImageId;
use crate::image::pins::{ImageKey, ImagePin, PinError};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::PullOptions;
use crate::image::store::{BuiltLayer, Image, ImageStore, ImageStoreError};
use crate::runner::scratch::InputsFolder;
use crate::runner::session::Session;
use crate::runner::uses::{self, Used};

impl ImageBuild<'_> {
    /// The layers of an image that isn't a stage's base.
    pub(super) fn image_layers(
        &self,
        name: &str,
        observer: &dyn Observer,
    ) -> Result<Vec<BuiltLayer>, StepError> {
        let platform = self.options.platform.clone().unwrap_or_else(Platform::host);
        let found = self.found_image(name, &platform, observer);
        found.map(|done| done.layers).map_err(|error| StepError::Provision(Box::new(error)))
    }

    pub(super) fn image(
        &self,
        name: &str,
        platform: &Platform,
        position: &Position,
        observer: &dyn Observer,
    ) -> Result<FinishedStage, DockerfileError> {
        self.found_image(name, platform, observer).map_err(|error| DockerfileError::Image {
            place: format!("{}:{}", self.path.display(), position.line),
            source: Box::new(error),
        })
    }

    /// An image by its name, looked for once per platform.
    pub(super) fn found_image(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<FinishedStage, ProvisionError> {
        let key = format!("{platform} {name}");
        if let Some(done) = self.shared().images.get(&key) {
            return Ok(done.clone());
        }
        let image = self.provide_image(name, platform, observer)?;
        let done = self.done_image(name, &image)?;
        let mut shared = self.shared();
        shared.images.insert(key, done.clone());
        // An image given by id is the same for everybody.
        if name.parse::<ImageId>().is_err() {
            shared.bases.insert(name.to_owned(), image.id.to_string());
        }
        Ok(done)
    }

    fn done_image(&self, name: &str, image: &Image) -> Result<FinishedStage, ProvisionError> {
        let store = self.builder.store;
        let name = || name.to_owned();
        let config = store.config_of(image).map_err(|error| store_error(&name(), error))?;
        let document = ConfigDocument::parse(&config)
            .map_err(|source| ProvisionError::Config { name: name(), source })?;
        let layers = image.layers.iter().map(|layer| BuiltLayer {
            digest: layer.digest.clone(),
            size: layer.size,
            compression: layer.compression,
            diff_id: layer.diff_id.clone(),
        });
        let flattened = is_flattened(store, image).map_err(|error| store_error(&name(), error))?;
        Ok(FinishedStage {
            finished: EvaluatedStage::of_image(document),
            layers: layers.collect(),
            flattened,
        })
    }

    /// The image that a FROM or `--from` names, in the store.
    fn provide_image(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Image, ProvisionError> {
        let image = if name.parse::<ImageId>().is_ok() {
            self.stored(|store| store.find_id(name), name, observer)?
        } else {
            self.named(name, platform, observer)?
        };
        let gone = || store_error(name, ImageStoreError::not_found(name.to_owned()));
        let image = image.ok_or_else(gone)?;
        if !platform.accepts(&image.platform) {
            return Err(ProvisionError::Platform {
                name: name.to_owned(),
                found: Box::new(image.platform),
                wanted: Box::new(platform.clone()),
            });
        }
        Ok(image)
    }

    /// An image of the store, registered, if the store still has it then.
    fn stored(
        &self,
        find: impl Fn(&ImageStore) -> Result<Option<Image>, ImageStoreError>,
        name: &str,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ProvisionError> {
        let find = || find(self.builder.store).map_err(|error| store_error(name, error));
        let Some(image) = find()? else { return Ok(None) };
        self.register(&Used::of_image(&image), observer)?;
        // Looked for again: a removal may have come before the registration, and from then on none
        // can.
        Ok(find()?.filter(|found| found.manifest == image.manifest))
    }

    /// The image of a name: the stored one, or the registry's.
    fn named(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ProvisionError> {
        let reference: ImageRef = name
            .parse()
            .map_err(|source| ProvisionError::Name { name: name.to_owned(), source })?;
        let key = ImageKey { name: reference.clone(), platform: platform.clone() };
        if let Some(pin) = self.builder.pins.base(&key).map_err(pin_error)? {
            return self.pinned(name, &key, pin, observer);
        }
        let find = |store: &ImageStore| store.find(&reference);
        if !self.builder.pulls
            && let Some(image) = self.stored(find, name, observer)?
        {
            return Ok(Some(image));
        }
        self.may_begin()?;
        let (store, registry) = (self.builder.store, self.builder.registry);
        let options =
            PullOptions { platform: platform.clone(), limits: self.builder.runner.archives };
        let pulled =
            registry.pull(store, &reference, &options, None, observer).map_err(|error| {
                ProvisionError::Pull { name: name.to_owned(), source: Box::new(error) }
            })?;
        let named =
            self.builder.store.find(&reference).map_err(|error| store_error(name, error))?;
        // The image came by a mirror of the tree's own, and so without the name.
        if named.is_none_or(|named| named.manifest != pulled.manifest) {
            self.shared().has_nameless_base = true;
        }
        let find = |store: &ImageStore| store.find_manifest(&pulled.manifest);
        self.stored(find, name, observer)
    }

    /// The image that the lock has for a name.
    fn pinned(
        &self,
        name: &str,
        key: &ImageKey,
        pin: &ImagePin,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ProvisionError> {
        let (store, registry) = (self.builder.store, self.builder.registry);
        if pin.stored(store, &key.name).map_err(pin_error)?.is_none() {
            self.may_begin()?;
            let limits = self.builder.runner.archives;
            let options = PullOptions { platform: key.platform.clone(), limits };
            pin.pull(store, registry, &key.name, &options, observer).map_err(pin_error)?;
        }
        let found = pin.stored(store, &key.name).map_err(pin_error)?;
        let gone = || store_error(name, ImageStoreError::not_found(name.to_owned()));
        let manifest = found.ok_or_else(gone)?.manifest;
        // An image built on one without a plain name gets no name either.
        let named = store.find(&key.name).map_err(|error| store_error(name, error))?;
        if named.is_none_or(|named| named.manifest != manifest) {
            self.shared().has_nameless_base = true;
        }
        self.stored(|store| store.find_manifest(&manifest), name, observer)
    }

    fn may_begin(&self) -> Result<(), ProvisionError> {
        if self.builder.only_cached { Err(ProvisionError::NotCached) } else { Ok(()) }
    }

    /// Keeps a layer, its blob and its unpacked files, from being removed while the build goes on. A
    /// layer that was there before may be gone now.
    pub(super) fn use_layer(
        &self,
        layer: &BuiltLayer,
        observer: &dyn Observer,
    ) -> Result<(), ProvisionError> {
        let mut used = Used::default();
        used.layers.insert(layer.diff_id.hex().to_owned());
        used.blobs.insert(layer.digest.clone());
        self.register(&used, observer)
    }

    /// Keeps a folder, a cache or that of the logs, from being removed while the build goes on.
    pub(super) fn use_folder(
        &self,
        folder: &Path,
        observer: &dyn Observer,
    ) -> Result<(), ProvisionError> {
        let mut used = Used::default();
        let relative = folder.strip_prefix(self.builder.runner.home.root());
        used.folders.extend(relative.map(Path::to_owned));
        self.register(&used, observer)
    }

    fn register(&self, used: &Used, observer: &dyn Observer) -> Result<(), ProvisionError> {
        let mut registration = self.registration();
        let waiting = || uses::say_waiting(observer);
        let registered = match &*registration {
            Some(registration) => registration.add(used, waiting),
            None => uses::register(&self.builder.runner.home, used, waiting)
                .map(|registered| *registration = Some(registered)),
        };
        registered.map_err(ProvisionError::Register)
    }

    /// Folder for downloads and copies of inputs, which goes with the build.
    pub(super) fn inputs(&self) -> std::io::Result<std::path::PathBuf> {
        let mut shared = self.shared();
        if let Some(session) = &shared.session {
            return session.inputs();
        }
        let inputs = match shared.inputs.take() {
            Some(inputs) => inputs,
            None => InputsFolder::create(&self.builder.runner.home)?,
        };
        Ok(shared.inputs.insert(inputs).path())
    }

    /// The build's session, opened when it is first needed, and a helper of the calling thread.
    pub(super) fn session(
        &self,
        observer: &dyn Observer,
    ) -> Result<(Arc<Session>, HelperSlot), ProvisionError> {
        // The other threads wait meanwhile: there is one answer for all.
        let mut shared = self.shared();
        if let Some(session) = &shared.session {
            return Ok((Arc::clone(session), session.helper()));
        }
        self.may_begin()?;
        let opened = Session::open(self.builder.runner, observer);
        let (session, helper) = opened.map_err(ProvisionError::Session)?;
        let session = Arc::new(session);
        shared.session = Some(Arc::clone(&session));
        // A step enters its network by itself.
        Ok((session, helper.look_ahead(false)))
    }
}

fn pin_error(error: PinError) -> ProvisionError {
    ProvisionError::Pin(Box::new(error))
}

fn store_error(name: &str, source: ImageStoreError) -> ProvisionError {
    ProvisionError::Store { name: name.to_owned(), source: Box::new(source) }
}
