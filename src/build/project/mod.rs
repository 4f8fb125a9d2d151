//! A packages directory with all inputs for building: its tree, its cache, its images.
//!
//! [`Project::open`] reads, [`Project::identify`] computes ids, [`Project::plan`] plans;
//! [`Project::build`] executes the plan. Only the last one starts a process or enters a namespace, and only if a
//! package has to be built.

mod at_hand;
mod builder;
mod error;
mod identify;
mod inputs;
mod lock;
mod needs;
mod offline;
mod order;
mod planned;
mod register;
mod relock;
mod shared_caches;
mod supplies;

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::archive::{ArchiveLimits, CompressionLevel};
use crate::artifact::repository::Repository;
use crate::artifact::shared_cache::SharedCaches;
use crate::base::event::{Event, Observer};
use crate::base::parallel;
use crate::base::remedy::with_hint;
use crate::build::cache::Cache;
use crate::build::elsewhere::Elsewhere;
use crate::build::execute::{self, Pace, Requests};
use crate::build::id::Identities;
use crate::build::images::{FoundImage, ImageLocations, SharedBuilders};
use crate::build::jobserver;
use crate::build::plan::{Action, BuildPlan, CacheState, PlanEntry, plan};
use crate::build::record::{self, Record};
use crate::build::upstream;
use crate::container::namespace::Network;
use crate::dockerfile::step::RunNetwork;
use crate::image::pins::ImagePins;
use crate::image::registry::Client;
use crate::package::{CommitId, PackageSource, Report, SourceName, SourceSpec};
use crate::runner::home::Home;
use crate::runner::session::{self, RunnerSettings};
use crate::source::{
    self, FetchOptions, LocalPermission, LocalScope, SourceError, SourceId, SourceRequest,
};
use crate::store::signature::TrustedKeys;
use crate::tree::lock::TreeLock;
use crate::tree::{Package, PackageKey, PackageTree};

pub use at_hand::{AtHand, WithoutId};
pub use error::{OutsideError, ProjectError};
pub use inputs::PackageInputs;
pub use needs::needs;
pub use relock::{LockOptions, Relocked, UnknownInput};
pub use supplies::{Supplies, SupplyFailure};

/// Options for opening a project.
#[derive(Debug, Clone)]
pub struct ProjectOptions {
    /// The packages directory, absolute.
    pub packages: PathBuf,
    /// Settings of everything that runs in containers.
    pub runner: RunnerSettings,
    /// Configured locations of images.
    pub image_locations: ImageLocations,
    /// The registries, from which images may be pulled.
    pub registry: Client,
    /// Options for fetching sources.
    pub fetch: FetchOptions,
    /// Latest time of files in packages and images, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// Registry for images of `docker/` folders.
    pub builders: SharedBuilders,
    /// Shared caches that can be asked for builder images.
    pub shared_caches: SharedCaches,
    /// Folders in which `git_local` sources may lie.
    pub local_sources: LocalPermission,
    /// True if the output of build scripts, and of commands of `docker/` folders, is shown while they run.
    pub shows_output: bool,
    /// Network of the commands of `docker/` folders.
    pub image_network: RunNetwork,
    /// Lock of the tree, with which everything has to agree.
    pub lock: Option<Arc<TreeLock>>,
}

/// Options for building packages.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Degree of parallelism.
    pub pace: Pace,
    /// Level of compression of packages that are built on this machine.
    pub compression: CompressionLevel,
    /// The network of builds.
    pub network: Network,
    /// Repository of prebuilt packages.
    pub repository: Option<Repository>,
    /// Shared caches to look up packages in, and to upload built ones to.
    pub shared_caches: SharedCaches,
    /// Keys whose signatures let archives of others be uploaded.
    pub trusted_keys: TrustedKeys,
    /// True if `src` and `result` are left in the cache.
    pub keep: bool,
    /// Time for which what failed builds leave is kept; `None` to keep nothing.
    pub keep_failed: Option<Duration>,
    /// Way of announcing the jobserver by which builds share the cores; `None` for fixed shares.
    pub jobserver: Option<jobserver::Style>,
    /// Engine that builds packages on other machines.
    pub elsewhere: Option<Elsewhere>,
}

/// Opened packages directory: its tree, cache, settings and image pins.
#[derive(Debug)]
pub struct Project {
    /// Tree of the directory, with its upstreams.
    pub tree: PackageTree,
    /// Cache of the project.
    pub cache: Cache,
    options: ProjectOptions,
    /// Images pinned to names.
    pins: ImagePins,
    /// Scope of the tree's own `git_local` sources, once one is asked for.
    local: OnceLock<LocalScope>,
}

/// Packages with their ids and images.
#[derive(Debug)]
pub struct IdentifiedPackages {
    /// The ids.
    pub identities: Identities,
    images: BTreeMap<PackageKey, FoundImage>,
}

impl Project {
    /// Expands the upstream, if there is one, and reads the tree.
    pub fn open(
        mut options: ProjectOptions,
        observer: &dyn Observer,
    ) -> Result<Self, ProjectError> {
        let (cache, pins) = Self::prepare(&mut options)?;
        // Before the expansion, whose error would name the upstream alone.
        if let Some(upstream) = Self::missing_upstream(&options, observer)? {
            return Err(Self::without_upstream(options, cache, upstream, observer)?);
        }
        let upstreams = upstream::expand(
            &options.packages,
            &options.runner.home,
            &options.fetch,
            &options.runner.archives,
            &options.local_sources,
            options.lock.as_deref(),
            observer,
        )?;
        Self::read(options, cache, pins, &upstreams)
    }

    /// Puts the lock's pins into the options, and gives the tree's cache and the pins of images.
    fn prepare(options: &mut ProjectOptions) -> Result<(Cache, ImagePins), ProjectError> {
        let lock = options.lock.as_deref();
        let pins = lock.map(|lock| lock.image_pins(true)).unwrap_or_default();
        options.fetch.pins = Arc::new(lock.map(TreeLock::file_pins).unwrap_or_default());
        let added = lock.map(|lock| lock.added_pins(true)).unwrap_or_default();
        options.fetch.added = Arc::new(added);
        let cache = Cache::of(&options.packages);
        match cache.linked() {
            Some(link) => Err(ProjectError::CacheLink(link)),
            None => Ok((cache, pins)),
        }
    }

    fn read(
        options: ProjectOptions,
        cache: Cache,
        pins: ImagePins,
        upstreams: &[PathBuf],
    ) -> Result<Self, ProjectError> {
        let tree = PackageTree::read(&options.packages, upstreams)?;
        Self::with_tree(options, cache, pins, tree)
    }

    /// Makes a project of a tree, unless folders of its cache are links.
    fn with_tree(
        options: ProjectOptions,
        cache: Cache,
        pins: ImagePins,
        tree: PackageTree,
    ) -> Result<Self, ProjectError> {
        let keys: Vec<PackageKey> = tree.keys().collect();
        // A tree from elsewhere may bring a `cache/` with it, and links there to folders of the
        // user's.
        let links = parallel::each_short(&keys, |key| {
            let sources = tree.package(key).into_iter().flat_map(|package| &package.info.sources);
            cache.linked_folder(&key.name, sources.map(|(name, _)| name))
        });
        if let Some(link) = links.into_iter().flatten().next() {
            return Err(ProjectError::CacheLink(link));
        }
        Ok(Self { tree, cache, options, pins, local: OnceLock::new() })
    }

    /// Reads the packages folder again.
    pub fn reread(&self, observer: &dyn Observer) -> Result<Self, ProjectError> {
        Self::open(self.options.clone(), observer)
    }

    /// The builder's own folder.
    pub fn home(&self) -> &Home {
        &self.options.runner.home
    }

    /// Limits for archives.
    pub fn archive_limits(&self) -> ArchiveLimits {
        self.options.runner.archives
    }

    /// Latest time of files in packages, in seconds of the epoch.
    pub fn source_date_epoch(&self) -> u64 {
        self.options.source_date_epoch
    }

    /// Returns the repository, unless its access needs a network and `--offline` is set.
    pub fn reachable<'r>(&self, repository: Option<&'r Repository>) -> Option<&'r Repository> {
        repository.filter(|repository| !(self.options.fetch.offline && repository.is_remote()))
    }

    /// Returns the usable shared caches: with `--offline`, only those on this machine.
    pub fn reachable_caches(&self, caches: &SharedCaches) -> SharedCaches {
        if self.options.fetch.offline { caches.local() } else { caches.clone() }
    }

    /// Reports the warnings of packages and trees.
    pub fn warn(&self, warnings: &[Report], observer: &dyn Observer) {
        for report in warnings {
            let message = with_hint(report, report.hint());
            observer.event(Event::Warning { subject: String::new(), message });
        }
    }

    /// The commit of a `git_local` source.
    fn head(
        &self,
        package: &Package,
        name: &SourceName,
        observer: &dyn Observer,
    ) -> Result<CommitId, SourceError> {
        let declared = package.info.sources.iter().find(|(known, _)| known == name);
        let Some((_, declared)) = declared else {
            unreachable!("a package is asked for its own sources")
        };
        let request = self.request(package, name, declared);
        match source::identify(&request, &self.options.fetch, observer)? {
            SourceId::Commit(commit) => Ok(commit),
            SourceId::DownloadedSha1(_) => unreachable!("only git_local sources are asked for"),
        }
    }

    fn request(
        &self,
        package: &Package,
        name: &SourceName,
        declared: &PackageSource,
    ) -> SourceRequest {
        SourceRequest {
            package: package.key.name.clone(),
            package_dir: package.folder.clone(),
            cache_dir: self.cache.source(&package.key.name, name),
            name: name.clone(),
            source: declared.clone(),
            local: self.local_scope(package),
            original_mirror: None,
        }
    }

    /// Scope for `git_local` sources of a package: for an upstream's package, the checkout.
    fn local_scope(&self, package: &Package) -> LocalScope {
        let is_local =
            |(_, source): &(_, PackageSource)| matches!(source.spec, SourceSpec::GitLocal { .. });
        if !package.info.sources.iter().any(is_local) {
            return LocalScope::anywhere();
        }
        let permission = &self.options.local_sources;
        match package.folder.parent() {
            Some(folder) if folder != self.options.packages => {
                LocalScope::checkout(permission, folder.parent().unwrap_or(folder))
            }
            _ => self
                .local
                .get_or_init(|| LocalScope::under(permission, &self.options.packages))
                .clone(),
        }
    }

    /// Plans the actions for packages.
    pub fn plan(&self, identified: &IdentifiedPackages) -> BuildPlan {
        let all: Vec<_> = identified.identities.iter().map(|identity| &identity.id).collect();
        // All at once: a plan asks for one after another, and a look may wait for a disk.
        let there = parallel::each_short(&all, |id| self.cache.has(id));
        let there: HashSet<_> =
            all.into_iter().zip(there).filter_map(|(id, there)| there.then_some(id)).collect();
        plan(&self.tree, &identified.identities, |key, id| {
            let archive = there.contains(id);
            // `latest` gives a reason only, so it isn't read where nothing is to be done.
            let latest = if archive { None } else { self.last_build(key) };
            let record = latest.as_ref().and_then(|id| {
                let record: Record = record::read(&self.options.runner.home.build(id))?;
                record.buildinfo.get("build_ids").cloned()
            });
            CacheState { archive, latest, latest_build_ids: record }
        })
    }

    /// Id of the last build of a package, as the tree's cache has it.
    pub fn last_build(&self, key: &PackageKey) -> Option<crate::package::PackageId> {
        self.cache.last_build(&key.name, &key.variant)
    }

    /// Brings all planned packages into the cache, and records the id of each.
    pub fn build(
        &self,
        identified: &IdentifiedPackages,
        plan: &BuildPlan,
        options: &BuildOptions,
        observer: &dyn Observer,
    ) -> Result<(), ProjectError> {
        let interrupt = &self.options.runner.interrupt;
        let cached: Vec<&PlanEntry> =
            plan.entries.iter().filter(|entry| entry.action == Action::Cached).collect();
        let written = parallel::each_short(&cached, |entry| {
            self.cache.write_latest(&entry.id, &entry.key.variant).map_err(ProjectError::Cache)
        });
        written.into_iter().collect::<Result<(), _>>()?;
        let caches = self.reachable_caches(&options.shared_caches);
        let fetched = self.fetch_cached(plan, &caches, observer)?;
        let plan = &plan.without(&fetched);
        let keys: Vec<&PackageKey> = plan.to_build().map(|entry| &entry.key).collect();
        if keys.is_empty() {
            session::sweep(&self.options.runner, observer);
            return Ok(());
        }
        // Before the first helper: from here on, a collection spares the images.
        let registration = self.register(identified, &keys, observer)?;
        let (builder, first, inputs) = self.builder(registration, caches, options, observer)?;
        let requests = Requests {
            ids: plan.to_build().map(|entry| &entry.id).collect(),
            make: &|place| self.request_of(identified, keys[place], options),
        };
        let indices: BTreeMap<&PackageKey, usize> =
            keys.iter().enumerate().map(|(place, key)| (*key, place)).collect();
        let needs = needs(&keys, &indices, |key| self.tree.requires(key));
        let planned = self.planned(plan, &indices, &options.pace);
        let took: Vec<_> = planned.packages.iter().map(|package| package.expected).collect();
        observer.event(Event::Planned(Arc::new(planned)));
        let result =
            execute::execute(&builder, &requests, needs, &took, options.pace, first, observer);
        // Their folders go before the empty ones of the cache are looked for.
        drop((builder, inputs));
        if result.is_err() {
            self.cache.remove_empty_folders(keys.iter().map(|key| &key.name));
        }
        match result {
            Err(_) if interrupt.is_raised() => Err(ProjectError::Interrupted),
            other => other.map_err(ProjectError::Failed),
        }
    }
}
