//! What building an image needs of the layers above it: the machine's isolation, room in the builder's
//! folder, and the images that the store has.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::archive::Limits;
use crate::base::event::Observer;
use crate::base::removal::remove_all;
use crate::container::helper::{HelperPlace, Interrupt};
use crate::container::machine::Machine;
use crate::dockerfile::BuildOptions;
use crate::dockerfile::execute::workplace::{Room, ServiceError, Services, Using, Workplace};
use crate::dockerfile::execute::{BuiltImage, DockerfileError, build};
use crate::image::digest::ImageId;
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::image::registry::{Client, PullOptions};
use crate::image::store::{Image, ImageStore, StoreError};
use crate::source::FetchOptions;

use super::gc::uses::{self, Registration, Used};
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
    /// Whether what commands say is shown while they say it.
    pub shows_output: bool,
    /// How long a command may take.
    pub time_limit: Option<Duration>,
    /// Whether only what is in the cache may be put together: then it fails at the first step that isn't.
    pub only_cached: bool,
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
        let services =
            Machinery { builder: self, scratch: Mutex::default(), registration: Mutex::default() };
        let workplace = Workplace {
            store: self.store,
            cache: self.home.build_cache(),
            caches: self.home.caches(),
            logs: self.home.image_logs(name),
            fetch: self.fetch,
            search_path: self.isolation.search_path.clone(),
            limits: self.limits,
            shows_output: self.shows_output,
            time_limit: self.time_limit,
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
    /// What the build uses, said from its first use until it is over.
    registration: Mutex<Option<Registration>>,
}

/// Folder of downloads and copies, in the scratch folder.
const INPUTS: &str = "inputs";

impl Drop for Machinery<'_> {
    fn drop(&mut self) {
        let held = self.scratch.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(scratch) = held {
            // What can't be removed is swept by a later run.
            drop(remove_all(&scratch.folder().join(INPUTS)));
        }
    }
}

impl Machinery<'_> {
    /// The build's scratch folder, started when it is first needed.
    fn scratch(&self) -> io::Result<PathBuf> {
        let mut held = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = match held.take() {
            Some(scratch) => scratch,
            None => self.builder.home.start_run()?,
        };
        Ok(held.insert(scratch).folder().to_owned())
    }

    fn may_begin(&self) -> Result<(), ServiceError> {
        if self.builder.only_cached {
            let message = "not all of it is in the cache".to_owned();
            return Err(ServiceError { message, hint: None, source: None });
        }
        Ok(())
    }

    fn register(&self, used: &Used, observer: &dyn Observer) -> Result<(), ServiceError> {
        let mut registration = self.registration.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = || uses::say_waiting(observer);
        let registered = match &*registration {
            Some(registration) => registration.add(used, waiting),
            None => uses::register(self.builder.home, used, waiting)
                .map(|registered| *registration = Some(registered)),
        };
        registered.map_err(|error| failed("can't say what this build uses".to_owned(), error))
    }

    /// An image of the store, if it has it, and has it still when that is registered.
    fn stored(
        &self,
        find: impl Fn(&ImageStore) -> Result<Option<Image>, StoreError>,
        name: &str,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ServiceError> {
        let find =
            || find(self.builder.store).map_err(|error| failed(format!("image {name}"), error));
        let Some(image) = find()? else { return Ok(None) };
        self.register(&Used::of_image(&image), observer)?;
        Ok(find()?.filter(|found| found.manifest == image.manifest))
    }

    /// The image of a name: the stored one, or the registry's.
    fn named(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Option<Image>, ServiceError> {
        let reference: ImageRef =
            name.parse().map_err(|error| failed(format!("{name:?} is no image's name"), error))?;
        let find = |store: &ImageStore| store.find(&reference);
        let ImageBuilder { store, registry, limits, .. } = self.builder;
        if let Some(image) = self.stored(find, name, observer)? {
            return Ok(Some(image));
        }
        self.may_begin()?;
        let options = PullOptions { platform: platform.clone(), limits: *limits };
        let pulled = registry.pull(store, &reference, &options, None, observer);
        pulled.map_err(|error| ServiceError {
            hint: error.hint(),
            ..failed(format!("there is no image {name}"), error)
        })?;
        self.stored(find, name, observer)
    }
}

impl Services for Machinery<'_> {
    fn image(
        &self,
        name: &str,
        platform: &Platform,
        observer: &dyn Observer,
    ) -> Result<Image, ServiceError> {
        let image = if name.parse::<ImageId>().is_ok() {
            self.stored(|store| store.find_id(name), name, observer)?
        } else {
            self.named(name, platform, observer)?
        };
        let gone = || StoreError::NotFound(name.to_owned());
        let image = image.ok_or_else(|| failed(format!("image {name}"), gone()))?;
        if !platform.accepts(&image.platform) {
            return Err(ServiceError {
                message: format!("the image {name} is for {}, not for {platform}", image.platform),
                hint: None,
                source: None,
            });
        }
        Ok(image)
    }

    fn using(&self, what: Using<'_>, observer: &dyn Observer) -> Result<(), ServiceError> {
        let mut used = Used::default();
        match what {
            Using::Layer(layer) => {
                used.layers.insert(layer.diff_id.hex().to_owned());
                used.blobs.insert(layer.digest.clone());
            }
            Using::Folder(folder) => {
                let relative = folder.strip_prefix(self.builder.home.root());
                used.folders.extend(relative.map(Path::to_owned));
            }
        }
        self.register(&used, observer)
    }

    fn inputs_folder(&self) -> Result<PathBuf, ServiceError> {
        let no_room = |error| failed("no room for the build's inputs".to_owned(), error);
        let folder = self.scratch().map_err(no_room)?.join(INPUTS);
        fs_err::create_dir_all(&folder).map_err(no_room)?;
        Ok(folder)
    }

    fn may_have_ranges(&self) -> bool {
        isolation::may_have_ranges(self.builder.isolation)
    }

    fn start(&self, observer: &dyn Observer) -> Result<(Arc<Room>, HelperPlace), ServiceError> {
        self.may_begin()?;
        let ImageBuilder { home, isolation: wanted, interrupt, .. } = self.builder;
        if let Err(error) = isolation::sweep_orphans(wanted, home, interrupt) {
            // It harms nobody else's build.
            tracing::warn!(%error, "can't sweep what dead runs have left");
        }
        let no_room = |error| failed("no room for containers".to_owned(), error);
        let mut held = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = match held.take() {
            Some(scratch) => scratch,
            None => home.start_run().map_err(no_room)?,
        };
        let scratch = &*held.insert(scratch);
        let (machine, place) =
            isolation::detect(wanted, scratch, interrupt, observer).map_err(|error| {
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
