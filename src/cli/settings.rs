//! Settings of the program, from the arguments, the environment and the configuration files:
//! options override `MKPANDA_*` variables, those override the tree's `mkpanda.toml`, as far as
//! trusted (see `trust`), and that overrides the user's `config.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{
    CompressionArg, GlobalArgs, IsolationArg, JobserverArg, NetworkArg, ProgressArg,
};
use super::caches::shared_caches;
use super::clouds::cloud_settings;
use super::environment::Environment;
use super::executor::ExecutorSettings;
use super::given::{GivenValues, Mirrors};
use super::settings_error::SettingsError;
use super::user_paths::{credential_sources, home};
use super::value::Text;
use crate::archive::ArchiveLimits;
use crate::artifact::repository::Repository;
use crate::artifact::shared_cache::SharedCaches;
use crate::base::http::{HttpClient, HttpOptions, Proxies};
use crate::build::images::SharedBuilders;
use crate::runner::home::Home;
use crate::runner::session::LOG_LIMIT;
use crate::source::LocalPermission;
use crate::store::StoreAccess;
use crate::store::registry::RegistryOptions;
use crate::store::signature::TrustedKeys;

/// Settings of the program.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Locations of images by name, with the base folder of relative paths.
    pub images: BTreeMap<String, (String, PathBuf)>,
    /// Settings of registries, and sources of credentials.
    pub registry: RegistryOptions,
    /// Registry for images of `docker/` folders.
    pub builders: SharedBuilders,
    /// The isolation tier to demand.
    pub isolation: Option<IsolationArg>,
    /// The network of builds.
    pub network: NetworkArg,
    /// Options of downloads, except those of images and git.
    pub http: HttpClient,
    /// Mirrors of sources and images.
    pub mirrors: Mirrors,
    /// Parameters for opening stores.
    pub stores: StoreAccess,
    /// True to use no network, but for mirrors where `only_mirrors` is set.
    pub offline: bool,
    /// True if mirrors with URLs are asked although `offline` is set.
    pub only_mirrors: bool,
    /// Repository of prebuilt packages and bootstraps.
    pub repository: Option<Repository>,
    /// Shared caches.
    pub shared_caches: SharedCaches,
    /// Sentences about caches that may not be asked.
    pub passed_over: Vec<String>,
    /// Keys of which one has to have signed what comes from a repository, if that is demanded.
    pub required_keys: Option<TrustedKeys>,
    /// Trusted keys of the user's configuration.
    pub trusted_keys: TrustedKeys,
    /// Number of packages that are built at once.
    pub jobs: Option<u16>,
    /// Distribution of the cores among concurrent builds.
    pub jobserver: JobserverArg,
    /// Level of compression of packages.
    pub compression: CompressionArg,
    /// The builder's own folder.
    pub home: PathBuf,
    /// Scratch folder of builds.
    pub scratch: Option<PathBuf>,
    /// The latest time that files in packages have, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// The ids that root gives to containers.
    pub root_range: Option<(u32, u32)>,
    /// True if the program ends together with its parent process.
    pub die_with_parent: bool,
    /// Time for which what failed builds leave is kept; `None` to keep nothing.
    pub keep_failed: Option<Duration>,
    /// Display of progress.
    pub progress: ProgressArg,
    /// Time limit for a build script.
    pub time_limit: Duration,
    /// Memory limit for a build in bytes.
    pub memory_limit: Option<u64>,
    /// Limit of a build's processes and threads.
    pub process_limit: Option<u64>,
    /// Size limit of a build's log in bytes.
    pub log_limit: u64,
    /// Size limit of an unpacked archive in bytes.
    pub unpacked_limit: Option<u64>,
    /// Limit of an archive's entries.
    pub entry_limit: Option<u64>,
    /// Folders in which `git_local` sources may lie.
    pub local_sources: LocalPermission,
    /// Builds on other machines.
    pub executor: ExecutorSettings,
}

/// 1980-01-01, the earliest time that all archive formats know.
const DEFAULT_EPOCH: u64 = 315_532_800;

/// The file of credentials that other programs use, too.
fn netrc(environment: &Environment) -> Option<PathBuf> {
    let named = environment.get("NETRC").map(PathBuf::from);
    named.or_else(|| Some(Path::new(environment.get("HOME")?).join(".netrc")))
}

/// The client of downloads.
fn http_client(
    given: &GivenValues<'_>,
    environment: &Environment,
) -> Result<HttpClient, SettingsError> {
    Ok(HttpClient::new(HttpOptions {
        logins: given.logins(environment)?,
        netrc: netrc(environment),
        proxies: Proxies::from_variables(|name| environment.raw(name)),
        ..HttpOptions::default()
    }))
}

/// Limits of archives: unpacked bytes, and entries.
fn archive_limits(
    given: &mut GivenValues<'_>,
) -> Result<(Option<u64>, Option<u64>), SettingsError> {
    let defaults = ArchiveLimits::default();
    let unpacked = given.limit(
        "LIMITS_UNPACKED",
        |file| file.limits.unpacked.clone(),
        Text::size,
        Some(defaults.max_bytes),
    )?;
    let entries = given.limit(
        "LIMITS_ENTRIES",
        |file| file.limits.entries.map(|count| count.to_string()),
        Text::number,
        Some(defaults.max_entries),
    )?;
    Ok((unpacked, entries))
}

fn registry_options(
    given: &GivenValues<'_>,
    environment: &Environment,
    offline: bool,
) -> RegistryOptions {
    RegistryOptions {
        registries: given.registries(),
        credentials: credential_sources(environment),
        offline,
        ..RegistryOptions::default()
    }
}

/// Longest run time of a build script by default.
pub(super) const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

impl Settings {
    /// Works the settings out. `tree` is the packages folder, if the command has one.
    pub fn work_out(
        args: &GlobalArgs,
        jobs: Option<u16>,
        environment: &Environment,
        tree: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let mut given = GivenValues::read(environment, tree)?;
        given.note_refused(args, tree);
        let time = given.limit(
            "LIMITS_TIME",
            |file| file.limits.time.clone(),
            Text::duration,
            Some(DEFAULT_TIME_LIMIT),
        )?;
        let memory =
            given.limit("LIMITS_MEMORY", |file| file.limits.memory.clone(), Text::size, None)?;
        let processes = given.limit(
            "LIMITS_PROCESSES",
            |file| file.limits.processes.map(|count| count.to_string()),
            Text::number,
            None,
        )?;
        let log = given.limit(
            "LIMITS_LOG",
            |file| file.limits.log.clone(),
            Text::size,
            Some(LOG_LIMIT),
        )?;
        let (unpacked, entries) = archive_limits(&mut given)?;
        // After all limits were read, so that one message has everything that the tree asks for.
        given.refuse()?;
        let http = http_client(&given, environment)?;
        let offline = args.offline || given.offline()?;
        let keys = given.keys()?;
        let required_keys = keys.required(&args.require_signature)?;
        let only_mirrors = !offline && (args.only_mirrors || given.only_mirrors()?);
        let mirrors = given.mirrors(args, &http)?;
        // A typed remote mirror beside `--offline` is a contradiction, and better refused than
        // passed over.
        if offline {
            mirrors.refuse_remote()?;
        }
        let offline = offline || only_mirrors;
        let registry = registry_options(&given, environment, offline);
        let stores = StoreAccess {
            http: http.clone(),
            clouds: cloud_settings(environment),
            registries: registry.clone(),
        };
        let forbidden = (offline && !only_mirrors, only_mirrors);
        let keys_of_caches = required_keys.as_ref();
        let (shared_caches, passed_over) =
            shared_caches(args, &given, environment, &stores, keys_of_caches, forbidden, tree)?;
        Ok(Self {
            local_sources: given.local_sources(),
            images: given.images(),
            registry,
            builders: SharedBuilders {
                registry: given.file(|file| file.builders.registry.clone()),
                push: given.file(|file| file.builders.push).unwrap_or(false),
            },
            isolation: match args.isolation {
                None => given.users_choice("ISOLATION", |file| file.isolation)?,
                typed => typed,
            },
            network: match args.network {
                None => given.choice("NETWORK", |file| file.network)?,
                typed => typed,
            }
            .unwrap_or(NetworkArg::None),
            mirrors,
            shared_caches,
            passed_over,
            stores,
            http: http.clone(),
            offline,
            repository: given.repository(args, &http, required_keys.as_ref())?,
            required_keys,
            trusted_keys: keys.trusted(),
            only_mirrors,
            jobs: match jobs {
                None => given.jobs()?,
                typed => typed,
            },
            jobserver: given
                .typed_or_choice("JOBSERVER", args.jobserver, |file| file.jobserver)?
                .unwrap_or(JobserverArg::Auto),
            compression: given
                .typed_or_choice("COMPRESSION", args.compression, |file| file.compression)?
                .unwrap_or(CompressionArg::Default),
            home: own_home(environment)?,
            scratch: given.scratch(args)?,
            source_date_epoch: given.file(|file| file.source_date_epoch).unwrap_or(DEFAULT_EPOCH),
            root_range: given.file(|file| file.root_range),
            die_with_parent: args.die_with_parent
                || given.boolean("DIE_WITH_PARENT", |file| file.die_with_parent)?,
            keep_failed: given.keep_failed()?,
            progress: given
                .typed_or_choice("PROGRESS", args.progress, |file| file.progress)?
                .unwrap_or(ProgressArg::Auto),
            time_limit: time.unwrap_or(DEFAULT_TIME_LIMIT),
            memory_limit: memory,
            process_limit: processes,
            log_limit: log.unwrap_or(LOG_LIMIT),
            unpacked_limit: unpacked,
            entry_limit: entries,
            executor: given.executor(environment)?,
        })
    }
}

impl Settings {
    /// Limits for archives.
    pub fn archive_limits(&self) -> ArchiveLimits {
        let mut limits = ArchiveLimits::default();
        limits.max_bytes = self.unpacked_limit.unwrap_or(limits.max_bytes);
        limits.max_entries = self.entry_limit.unwrap_or(limits.max_entries);
        limits
    }
}

/// Returns the builder's own folder, unless files of other programs are inside.
fn own_home(environment: &Environment) -> Result<PathBuf, SettingsError> {
    let path = home(environment)?;
    let read = |source| SettingsError::Read { source };
    if let Some(owner) = Home::other_owner(&path).map_err(read)? {
        return Err(SettingsError::OthersHome { path, owner });
    }
    // Whoever owns a link on the way could lead the folder elsewhere at any time.
    if let Some(link) = Home::others_link(&path).map_err(read)? {
        return Err(SettingsError::OthersLink(link));
    }
    match Home::foreign_entry(&path).map_err(read)? {
        Some(entry) => Err(SettingsError::ForeignHome { path, entry: entry.into() }),
        None => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn the_nearest_word_counts() {
        use clap::Parser;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs_err::create_dir_all(path("config/mkpanda")).unwrap();
        fs_err::create_dir_all(path("tree/packages")).unwrap();
        fs_err::write(
            path("config/mkpanda/config.toml"),
            "jobs = 2\nnetwork = 'host'\nmirrors = ['m']\nisolation = 'ranges'\noffline = true\nlimits.time = '2h'\n",
        )
        .unwrap();
        fs_err::write(
            path("tree/mkpanda.toml"),
            "jobs = 3\nisolation = 'single'\noffline = false\nlimits.time = '1h'\n[images]\na = 'host'\n",
        )
        .unwrap();
        let config = path("config").to_string_lossy().into_owned();
        let mut variables = BTreeMap::from([
            ("XDG_CONFIG_HOME".to_owned(), config.clone()),
            ("MKPANDA_HOME".to_owned(), "/h".to_owned()),
        ]);
        let args = super::super::args::Cli::parse_from(["mkpanda"]).global;
        let work_out = |variables: &BTreeMap<String, String>, jobs| {
            let environment = Environment::of(variables.clone());
            Settings::work_out(&args, jobs, &environment, Some(&path("tree/packages"))).unwrap()
        };
        let settings = work_out(&variables, None);
        // A tree may ask for less than the user, and for nothing that the user forbids.
        assert_eq!((settings.jobs, settings.network), (Some(2), NetworkArg::Host));
        assert_eq!((settings.isolation, settings.offline), (Some(IsolationArg::Ranges), true));
        assert_eq!(settings.time_limit, Duration::from_secs(3600));
        let folders: Vec<_> = settings.mirrors.stores.iter().map(Store::local_folder).collect();
        assert_eq!(folders, [Some(Path::new(&format!("{config}/mkpanda/m")))]);
        assert_eq!(settings.images["a"].1, path("tree"));
        assert_eq!(work_out(&variables, Some(5)).jobs, Some(5));
        variables.insert("MKPANDA_JOBS".to_owned(), "4".to_owned());
        assert_eq!(work_out(&variables, None).jobs, Some(4));
        fs_err::write(path("tree/mkpanda.toml"), "job = 3\n").unwrap();
        let environment = Environment::of(variables);
        let error = Settings::work_out(&args, None, &environment, Some(&path("tree/packages")))
            .unwrap_err();
        assert!(error.to_string().contains("there is no key \"job\""), "{error}");
    }
}
