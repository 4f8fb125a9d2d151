//! Writing a lock: existing pins stay, new inputs are pinned in their current state, and named
//! inputs are pinned anew.

use std::collections::BTreeSet;

use super::lock::{AddedSource, Foreign, ForeignImages, ForeignSource, NamedImage};
use super::{Project, ProjectError, SupplyFailure};
use crate::base::digest::{Tee, Until};
use crate::base::event::Observer;
use crate::base::parallel;
use crate::base::regular::open_regular;
use crate::base::suggestion::nearest;
use crate::build::images::{Building, ImageError, ImageFinder};
use crate::dockerfile::execute::current;
use crate::image::pins::{ImagePins, PinError};
use crate::image::registry::Client;
use crate::image::store::ImageStore;
use crate::source::{AddedKey, FilePin, SourceProblem};
use crate::tree::PackageKey;
use crate::tree::lock::{LockFault, LockFaults, SourceKey, Sources, TreeLock};

/// Options of writing a lock.
#[derive(Debug, Clone, Default)]
pub struct LockOptions {
    /// Names to be pinned anew; if any, other pins do not change.
    pub update: Vec<String>,
    /// True if only some packages were asked for, so that nothing is dropped.
    pub is_partial: bool,
    /// Number of sources that are fetched at once.
    pub jobs: usize,
}

/// New lock, and the inputs that could not be fetched.
#[derive(Debug, Default)]
pub struct Relocked {
    /// The lock.
    pub lock: TreeLock,
    /// Failures; the lock is not to be written if there are some.
    pub failures: Vec<SupplyFailure>,
    /// Names to be updated that nothing has.
    pub unknown: Vec<UnknownInput>,
}

/// Name to be updated that nothing has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownInput {
    /// Name, as typed.
    pub name: String,
    /// Name that is like it.
    pub near: Option<String>,
}

/// True if a name for `--update` means a source.
fn means_source(name: &str, source: &ForeignSource) -> bool {
    let package = |user: &String| user.split_once('/').is_some_and(|(package, _)| package == name);
    let users = &source.wanted.users;
    users.contains(name) || users.iter().any(package) || source.wanted.key.place().1 == name
}

fn means_added(name: &str, key: &AddedKey) -> bool {
    name == key.url() || name == key.to_string()
}

fn means_image(name: &str, image: &NamedImage) -> bool {
    name.parse().is_ok_and(|name| image.image.key.name == name)
}

impl LockOptions {
    fn updates_source(&self, source: &ForeignSource) -> bool {
        self.update.iter().any(|name| means_source(name, source))
    }

    fn updates_image(&self, image: &NamedImage) -> bool {
        self.update.iter().any(|name| means_image(name, image))
    }

    /// True if something that is or is not in the lock is pinned now.
    fn pins(&self, is_locked: bool, is_update: bool) -> bool {
        if self.update.is_empty() { !is_locked } else { is_update }
    }

    fn updates_added(&self, key: &AddedKey) -> bool {
        self.update.iter().any(|name| means_added(name, key))
    }

    fn unknown(&self, foreign: &Foreign) -> Vec<UnknownInput> {
        let sources = || foreign.upstreams.iter().chain(&foreign.sources);
        let is_known = |name: &String| {
            sources().any(|source| means_source(name, source))
                || foreign.images.images.iter().any(|image| means_image(name, image))
                || foreign.images.added.keys().any(|key| means_added(name, key))
        };
        let unknown: BTreeSet<&String> =
            self.update.iter().filter(|name| !is_known(name)).collect();
        if unknown.is_empty() {
            return Vec::new();
        }
        let known = foreign.names();
        let unknown = unknown.into_iter().map(|name| {
            let near = nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
            UnknownInput { name: name.clone(), near }
        });
        unknown.collect()
    }
}

impl Project {
    /// Works out a new lock for packages; `all` are those of the whole tree.
    pub fn relock(
        &self,
        old: &TreeLock,
        keys: &[PackageKey],
        all: &[PackageKey],
        options: &LockOptions,
        observer: &dyn Observer,
    ) -> Result<Relocked, ProjectError> {
        let pins = old.image_pins(false);
        let (foreign, whole) = (self.foreign(keys, &pins)?, self.foreign(all, &pins)?);
        let unknown = options.unknown(&foreign);
        if !unknown.is_empty() {
            return Ok(Relocked { lock: old.clone(), failures: Vec::new(), unknown });
        }
        if options.update.is_empty() {
            // A changed digest may be an attack, so it is pinned only on demand (`--update`).
            let changed = |fault: &LockFault| matches!(fault, LockFault::Changed { .. });
            let items: Vec<_> = foreign.faults(old).into_iter().filter(changed).collect();
            if !items.is_empty() {
                let path = old.path.clone();
                return Err(ProjectError::Lock(Box::new(LockFaults { path, items })));
            }
        }
        let mut lock = old.clone();
        let mut failures = Vec::new();
        let lists = [
            (&mut lock.upstreams, &foreign.upstreams, &whole.upstreams),
            (&mut lock.sources, &foreign.sources, &whole.sources),
        ];
        for (sources, wanted, needed) in lists {
            failures.extend(self.relock_sources(sources, wanted, options, observer)?);
            drop_sources(sources, wanted, needed, options);
        }
        failures.extend(self.relock_images(&mut lock, keys, options, observer)?);
        // With names or packages given, the rest of the tree was not looked at.
        if options.update.is_empty() && !options.is_partial {
            let store =
                ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
            let pins = lock.image_pins(false);
            let finder = self.pinned_finder(&store, &pins, &self.options.registry);
            drop_images(&mut lock, &self.foreign_images(&finder, all));
        }
        Ok(Relocked { lock, failures, unknown: Vec::new() })
    }

    /// Pins the current state of sources.
    fn relock_sources(
        &self,
        sources: &mut Sources,
        wanted: &[ForeignSource],
        options: &LockOptions,
        observer: &dyn Observer,
    ) -> Result<Vec<SupplyFailure>, ProjectError> {
        let is_new = |found: &&ForeignSource| {
            options.pins(sources.contains_key(&found.wanted.key), options.updates_source(found))
        };
        let new: Vec<&ForeignSource> = wanted.iter().filter(is_new).collect();
        let (files, others): (Vec<_>, Vec<_>) =
            new.into_iter().partition(|found| matches!(found.wanted.key, SourceKey::File { .. }));
        sources.extend(others.into_iter().map(|found| (found.wanted.key.clone(), None)));
        let requests = files.into_iter().map(|found| found.request.clone()).collect();
        let supplies = self.fetch_all(requests, &[], options.jobs, observer)?;
        let mut failures = supplies.failures;
        for (request, fetched) in supplies.sources {
            let Some(key) = SourceKey::of(&request.source.spec, None) else { continue };
            match file_pin(fetched.path(), observer) {
                Ok(pin) => drop(sources.insert(key, Some(pin))),
                Err(_) if observer.is_interrupted() => return Err(ProjectError::Interrupted),
                Err(error) => failures.push(SupplyFailure::Source(
                    request.problem(SourceProblem::Io { doing: "read a source", error }),
                )),
            }
        }
        Ok(failures)
    }

    /// Pins the current state of images, and of what their Dockerfiles add.
    fn relock_images(
        &self,
        lock: &mut TreeLock,
        keys: &[PackageKey],
        options: &LockOptions,
        observer: &dyn Observer,
    ) -> Result<Vec<SupplyFailure>, ProjectError> {
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        let mut failures = Vec::new();
        // Of an image that is here, triggers may name others.
        let mut done = BTreeSet::new();
        loop {
            let mut pins = lock.image_pins(false);
            let finder = self.pinned_finder(&store, &pins, &self.options.registry);
            let foreign = self.foreign_images(&finder, keys);
            let is_new = |named: &&NamedImage| {
                let images = if named.image.is_base { &lock.base_images } else { &lock.images };
                let is_locked = images.contains_key(&named.image.key);
                options.pins(is_locked, options.updates_image(named))
                    && !done.contains(&(named.image.is_base, named.image.key.clone()))
            };
            let new: Vec<&NamedImage> = foreign.images.iter().filter(is_new).collect();
            if new.is_empty() {
                failures.extend(self.relock_added(lock, &foreign, options, observer)?);
                return Ok(failures);
            }
            for named in &new {
                let images = if named.image.is_base { &mut pins.bases } else { &mut pins.images };
                // Otherwise the old pin would be what is found.
                images.remove(&named.image.key);
            }
            let mut finder = self.pinned_finder(&store, &pins, &self.options.registry);
            for NamedImage { image, name, .. } in new {
                let is_update = !options.update.is_empty();
                done.insert((image.is_base, image.key.clone()));
                match finder.resolve(name, image, &self.tree, is_update, observer) {
                    Ok(pin) => {
                        let is_base = image.is_base;
                        let images = if is_base { &mut lock.base_images } else { &mut lock.images };
                        images.insert(image.key.clone(), pin);
                    }
                    Err(error) if error.is_interruption() => return Err(ProjectError::Interrupted),
                    Err(error) => failures.push(error.into()),
                }
            }
        }
    }

    /// Pins the current contents of what Dockerfiles add.
    fn relock_added(
        &self,
        lock: &mut TreeLock,
        foreign: &ForeignImages,
        options: &LockOptions,
        observer: &dyn Observer,
    ) -> Result<Vec<SupplyFailure>, ProjectError> {
        let is_new = |(key, _): &(&AddedKey, &AddedSource)| {
            options.pins(lock.added.contains_key(key), options.updates_added(key))
        };
        let new: Vec<_> = foreign.added.iter().filter(is_new).collect();
        let (home, fetch) = (&self.options.runner.home, &self.options.fetch);
        let found = parallel::each(&new, options.jobs, observer, |(key, source)| {
            current(key, &source.place, home, fetch, observer)
        });
        if observer.is_interrupted() {
            return Err(ProjectError::Interrupted);
        }
        let mut failures = Vec::new();
        for ((key, _), pin) in new.into_iter().zip(found) {
            match pin {
                Some(Ok(pin)) => drop(lock.added.insert(key.clone(), pin)),
                Some(Err(error)) => failures.push(error.into()),
                None => {}
            }
        }
        Ok(failures)
    }

    pub(super) fn pinned_finder<'a>(
        &'a self,
        store: &'a ImageStore,
        pins: &'a ImagePins,
        registry: &'a Client,
    ) -> ImageFinder<'a> {
        let building = Building { pins, may_pull_builders: true, ..self.building(false) };
        ImageFinder::new(&self.options.image_locations, store, registry, building)
    }

    /// Lists the differences between a lock and packages, without a network: missing inputs,
    /// superfluous pins, and those files of the cache and images of this machine that differ from
    /// their pins.
    pub fn lock_differences(
        &self,
        lock: &TreeLock,
        keys: &[PackageKey],
        is_partial: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<LockFault>, ProjectError> {
        let foreign = self.foreign(keys, &lock.image_pins(false))?;
        let mut faults = foreign.faults(lock);
        if !is_partial {
            let options = LockOptions::default();
            let mut rest = lock.clone();
            drop_sources(&mut rest.upstreams, &[], &foreign.upstreams, &options);
            drop_sources(&mut rest.sources, &[], &foreign.sources, &options);
            drop_images(&mut rest, &foreign.images);
            faults.extend(lock.lines_not_in(&rest).into_iter().map(LockFault::Unneeded));
        }
        let lists = [(&lock.upstreams, &foreign.upstreams), (&lock.sources, &foreign.sources)];
        for (sources, wanted) in lists {
            let fault = |found: &ForeignSource| file_fault(sources, found, observer);
            faults.extend(wanted.iter().filter_map(fault));
        }
        if observer.is_interrupted() {
            return Err(ProjectError::Interrupted);
        }
        faults.extend(self.image_faults(lock, &foreign, observer)?);
        Ok(faults)
    }

    /// Images at a configured location that differ from their pins.
    fn image_faults(
        &self,
        lock: &TreeLock,
        foreign: &Foreign,
        observer: &dyn Observer,
    ) -> Result<Vec<LockFault>, ProjectError> {
        let store =
            ImageStore::open(self.options.runner.home.root()).map_err(ProjectError::Store)?;
        let (pins, registry) = (lock.image_pins(false), self.options.registry.without_network());
        let mut finder = self.pinned_finder(&store, &pins, &registry);
        let mut faults = Vec::new();
        for NamedImage { image, name, users } in
            foreign.images.images.iter().filter(|it| !it.image.is_base)
        {
            match finder.find(name, &self.tree, observer) {
                Err(error) if error.is_interruption() => return Err(ProjectError::Interrupted),
                Err(ImageError::Pin { source, .. })
                    if matches!(
                        *source,
                        PinError::Other { .. } | PinError::Inconsistent { .. }
                    ) =>
                {
                    let (name, message) = (image.key.name.familiar(), source.to_string());
                    faults.push(LockFault::Image { name, message, users: users.clone() });
                }
                // Missing images cannot be compared.
                _ => {}
            }
        }
        Ok(faults)
    }
}

/// Drops superfluous pins of images, and of what Dockerfiles add. Pins for other platforms stay:
/// their sources are the same.
fn drop_images(lock: &mut TreeLock, needed: &ForeignImages) {
    let names = |is_base: bool| -> BTreeSet<_> {
        let images = needed.images.iter().filter(|image| image.image.is_base == is_base);
        images.map(|image| &image.image.key.name).collect()
    };
    let (images, bases) = (names(false), names(true));
    lock.images.retain(|key, _| images.contains(&key.name));
    if !needed.is_partial {
        lock.base_images.retain(|key, _| bases.contains(&key.name));
        lock.added.retain(|key, _| needed.added.contains_key(key));
    }
}

/// Drops superfluous pins: all of them, or only the older digests of inputs that are pinned anew.
fn drop_sources(
    sources: &mut Sources,
    wanted: &[ForeignSource],
    needed: &[ForeignSource],
    options: &LockOptions,
) {
    let needed: BTreeSet<&SourceKey> = needed.iter().map(|found| &found.wanted.key).collect();
    if options.update.is_empty() {
        if !options.is_partial {
            sources.retain(|key, _| needed.contains(key));
        }
        return;
    }
    let updated: BTreeSet<_> = wanted
        .iter()
        .filter(|found| options.updates_source(found))
        .map(|found| found.wanted.key.place())
        .collect();
    sources.retain(|key, _| needed.contains(key) || !updated.contains(&key.place()));
}

fn file_pin(path: &std::path::Path, observer: &dyn Observer) -> std::io::Result<FilePin> {
    let mut tee = Tee::new(Until::new(open_regular(path)?, || observer.is_interrupted()));
    std::io::copy(&mut tee, &mut std::io::sink())?;
    let sums = tee.finish().1;
    Ok(FilePin { sha256: sums.sha256, size: sums.bytes })
}

/// Difference between the lock and a file of the cache that has the declared SHA-1.
fn file_fault(
    sources: &Sources,
    found: &ForeignSource,
    observer: &dyn Observer,
) -> Option<LockFault> {
    let locked = sources.get(&found.wanted.key)?.clone()?;
    let file = crate::source::cached_file(&found.request, observer)?;
    let pin = file_pin(&file, observer).ok()?;
    let differs = pin != locked;
    differs.then(|| LockFault::File { wanted: found.wanted.clone(), locked, found: pin })
}
