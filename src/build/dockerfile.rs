//! What building an image needs of the layers above it: the machine's isolation, room in the builder's
//! folder, and the images that the store has.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::archive::Limits;
use crate::base::event::Observer;
use crate::container::helper::{HelperPlace, Interrupt};
use crate::container::machine::Machine;
use crate::dockerfile::BuildOptions;
use crate::dockerfile::execute::workplace::{Room, ServiceError, Services, Workplace};
use crate::dockerfile::execute::{BuiltImage, DockerfileError, build};
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::{Client, PullOptions};
use crate::image::store::{Image, ImageStore, StoreError};
use crate::source::FetchOptions;

use super::home::give_folder;
use super::home::{Home, RunScratch};
use super::isolation::{self, Wanted};
use super::scratch::remove_as_container;

/// Builds images from Dockerfiles.
#[derive(Debug)]
pub struct ImageBuilder<'a> {
    /// The builder's own folder.
    pub home: &'a Home,
    /// The image store.
    pub store: &'a ImageStore,
    /// The registries, from which images are pulled.
    pub registry: &'a Client,
    /// Which isolation.
    pub isolation: &'a Wanted,
    /// How sources are fetched.
    pub fetch: &'a FetchOptions,
    /// What archives may hold.
    pub limits: Limits,
    /// Ends everything.
    pub interrupt: Arc<Interrupt>,
}

impl ImageBuilder<'_> {
    /// Builds an image. `name` is what its logs are kept under.
    pub fn build(
        &self,
        name: &str,
        options: &BuildOptions,
        observer: &dyn Observer,
    ) -> Result<BuiltImage, DockerfileError> {
        let services = Machinery { builder: self, scratch: Mutex::default() };
        let workplace = Workplace {
            store: self.store,
            cache: self.home.build_cache(),
            caches: self.home.caches(),
            logs: self.home.image_logs(name),
            fetch: self.fetch,
            search_path: self.isolation.search_path.clone(),
            limits: self.limits,
            interrupt: Arc::clone(&self.interrupt),
            services: &services,
        };
        build(options, &workplace, observer)
    }
}

#[derive(Debug)]
struct Machinery<'a> {
    builder: &'a ImageBuilder<'a>,
    /// Kept until the build is over.
    scratch: Mutex<Option<RunScratch>>,
}

impl Machinery<'_> {
    /// The image of a name: the stored one, or the registry's.
    fn named(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ServiceError> {
        let reference: ImageRef =
            name.parse().map_err(|error| failed(format!("{name:?} is no image's name"), error))?;
        let stored = |error| failed(format!("image {name}"), error);
        let ImageBuilder { store, registry, limits, .. } = self.builder;
        if let Some(image) = store.find(&reference).map_err(stored)? {
            return Ok(Some(image));
        }
        let options = PullOptions { platform: platform.clone(), limits: *limits };
        let pulled = registry.pull(store, &reference, &options, None, observer);
        pulled.map_err(|error| ServiceError {
            hint: error.hint(),
            ..failed(format!("there is no image {name}"), error)
        })?;
        store.find(&reference).map_err(stored)
    }
}

impl Services for Machinery<'_> {
    fn image(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Image, ServiceError> {
        let stored = |error| failed(format!("image {name}"), error);
        let store = self.builder.store;
        let image = if name.parse::<ImageId>().is_ok() {
            store.find_id(name).map_err(stored)?
        } else {
            self.named(name, platform, observer)?
        };
        let image = image.ok_or_else(|| stored(StoreError::NotFound(name.to_owned())))?;
        if !platform.accepts(&image.platform) {
            return Err(ServiceError {
                message: format!("the image {name} is for {}, not for {platform}", image.platform),
                hint: None,
                source: None,
            });
        }
        Ok(image)
    }

    fn may_have_ranges(&self) -> bool {
        isolation::may_have_ranges(self.builder.isolation)
    }

    fn start(&self, observer: &dyn Observer) -> Result<(Arc<Room>, HelperPlace), ServiceError> {
        let ImageBuilder { home, isolation: wanted, interrupt, .. } = self.builder;
        if let Err(error) = isolation::sweep_orphans(wanted, home, interrupt) {
            // It harms nobody else's build.
            tracing::warn!(%error, "can't sweep what dead runs have left");
        }
        let no_room = |error| failed("no room for containers".to_owned(), error);
        let scratch = home.start_run().map_err(no_room)?;
        let (machine, place) =
            isolation::detect(wanted, &scratch, interrupt, observer).map_err(|error| {
                ServiceError { hint: error.remedy(), ..failed("no containers".to_owned(), error) }
            })?;
        let layers = home.layers(&machine.map.digest());
        give_folder(&layers, &machine.map).map_err(no_room)?;
        let room = Room {
            machine,
            scratch: scratch.folder().to_owned(),
            view: scratch.view().to_owned(),
            layers,
            remove,
        };
        *self.scratch.lock().unwrap_or_else(PoisonError::into_inner) = Some(scratch);
        // A step enters its network by itself.
        Ok((Arc::new(room), place.look_ahead(false)))
    }
}

fn failed(message: String, error: impl std::error::Error + Send + Sync + 'static) -> ServiceError {
    ServiceError { message, hint: None, source: Some(Box::new(error)) }
}

fn remove(machine: &Machine, folder: &Path, view: &Path) {
    // What can't be removed at all is swept by a later run.
    drop(remove_as_container(&machine.map, folder, view, &Arc::default()));
}

/// The name under which an image's logs are kept.
pub fn log_name(names: &[ImageRef], context: &Path) -> String {
    let text = match names.first() {
        Some(name) => name.familiar(),
        None => context.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    };
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    text.chars().map(|letter| if plain(letter) { letter } else { '_' }).collect()
}
