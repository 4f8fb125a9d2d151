//! What the program does, from what was typed, the environment and the configuration files:
//! options over `MKPANDA_*` variables over the tree's `mkpanda.toml`, as far as that is trusted
//! (see `trust`), over the user's `config.toml`.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{GlobalArgs, IsolationArg, JobserverArg, NetworkArg, ProgressArg};
use super::config::{ConfigFile, SettingsError, read_file, read_tree_file};
use super::environment::Environment;
use super::grant::Grant;
use super::places::{credential_sources, home, user_file};
use super::trust::{self, Trust};
use super::value::Text;
use crate::archive::Limits as ArchiveLimits;
use crate::artifact::repository::Repository;
use crate::base::http::{HttpClient, HttpOptions, Login};
use crate::build::images::SharedBuilders;
use crate::runner::home::Home;
use crate::runner::session::LOG_LIMIT;
use crate::source::LocalPermission;
use crate::store::registry::{Registries, RegistryConfig, RegistryOptions};
use crate::store::{Store, StoreUrlError};

/// What the program does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where images are found, by name, with the folder that relative paths start from.
    pub images: BTreeMap<String, (String, PathBuf)>,
    /// What there is to know of registries, and where credentials are.
    pub registry: RegistryOptions,
    /// Where images of `docker/` folders are shared.
    pub builders: SharedBuilders,
    /// The isolation tier to demand.
    pub isolation: Option<IsolationArg>,
    /// The network of builds.
    pub network: NetworkArg,
    /// Downloads of all that is neither an image's nor git's.
    pub http: HttpClient,
    /// Mirrors of sources.
    pub mirrors: Vec<Store>,
    /// True to use no network.
    pub offline: bool,
    /// Where packages and bootstraps may be taken from.
    pub repository: Option<Repository>,
    /// Number of packages that are built at once.
    pub jobs: Option<u16>,
    /// How builds that run at once share the cores.
    pub jobserver: JobserverArg,
    /// The builder's own folder.
    pub home: PathBuf,
    /// Where builds write.
    pub scratch: Option<PathBuf>,
    /// The latest time that files in packages have, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// The ids that root gives to containers.
    pub root_range: Option<(u32, u32)>,
    /// True to end when the process that started this one ends.
    pub die_with_parent: bool,
    /// How progress is shown.
    pub progress: ProgressArg,
    /// How long a build script may run.
    pub time_limit: Duration,
    /// How much memory a build may use, in bytes.
    pub memory_limit: Option<u64>,
    /// How many processes and threads a build may have.
    pub process_limit: Option<u64>,
    /// How much of a build's output is kept, in bytes.
    pub log_limit: u64,
    /// How much an archive may unpack to, in bytes.
    pub unpacked_limit: Option<u64>,
    /// How many entries an archive may have.
    pub entry_limit: Option<u64>,
    /// Where `git_local` sources may lie.
    pub local_sources: LocalPermission,
}

/// 1980-01-01, the earliest time that all archive formats know.
const DEFAULT_EPOCH: u64 = 315_532_800;

/// The file of credentials that other programs use, too.
fn netrc(environment: &Environment) -> Option<PathBuf> {
    let named = environment.get("NETRC").map(PathBuf::from);
    named.or_else(|| Some(Path::new(environment.get("HOME")?).join(".netrc")))
}

/// True if plain HTTP goes through a proxy.
fn has_proxy(environment: &Environment) -> bool {
    ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .iter()
        .any(|name| environment.get(name).is_some())
}

const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

impl Settings {
    /// Works the settings out. `tree` is the packages folder, if the command has one.
    pub fn work_out(
        args: &GlobalArgs,
        jobs: Option<u16>,
        environment: &Environment,
        tree: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let mut given = Given::read(environment, tree)?;
        given.ask(args, tree);
        let archives = ArchiveLimits::default();
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
        let unpacked = given.limit(
            "LIMITS_UNPACKED",
            |file| file.limits.unpacked.clone(),
            Text::size,
            Some(archives.max_bytes),
        )?;
        let entries = given.limit(
            "LIMITS_ENTRIES",
            |file| file.limits.entries.map(|count| count.to_string()),
            Text::number,
            Some(archives.max_entries),
        )?;
        given.refuse()?;
        let http = HttpClient::new(HttpOptions {
            logins: given.logins(environment)?,
            netrc: netrc(environment),
            has_proxy: has_proxy(environment),
            ..HttpOptions::default()
        });
        let offline = args.offline || given.offline()?;
        Ok(Self {
            local_sources: given.local_sources(),
            images: given.images(),
            registry: RegistryOptions {
                registries: given.registries(),
                credentials: credential_sources(environment),
                offline,
                ..RegistryOptions::default()
            },
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
            mirrors: given.mirrors(args, &http)?,
            http: http.clone(),
            offline,
            repository: given.repository(args, &http)?,
            jobs: match jobs {
                None => given.jobs()?,
                typed => typed,
            },
            jobserver: match args.jobserver {
                None => given.choice("JOBSERVER", |file| file.jobserver)?,
                typed => typed,
            }
            .unwrap_or(JobserverArg::Auto),
            home: own_home(environment)?,
            scratch: given.scratch(args)?,
            source_date_epoch: given.file(|file| file.source_date_epoch).unwrap_or(DEFAULT_EPOCH),
            root_range: given.file(|file| file.root_range),
            die_with_parent: args.die_with_parent
                || given.boolean("DIE_WITH_PARENT", |file| file.die_with_parent)?,
            progress: match args.progress {
                None => given.choice("PROGRESS", |file| file.progress)?,
                typed => typed,
            }
            .unwrap_or(ProgressArg::Auto),
            time_limit: time.unwrap_or(DEFAULT_TIME_LIMIT),
            memory_limit: memory,
            process_limit: processes,
            log_limit: log.unwrap_or(LOG_LIMIT),
            unpacked_limit: unpacked,
            entry_limit: entries,
        })
    }
}

impl Settings {
    /// What archives may hold.
    pub fn archive_limits(&self) -> ArchiveLimits {
        let mut limits = ArchiveLimits::default();
        limits.max_bytes = self.unpacked_limit.unwrap_or(limits.max_bytes);
        limits.max_entries = self.entry_limit.unwrap_or(limits.max_entries);
        limits
    }
}

/// What the environment and the files say.
struct Given<'a> {
    environment: &'a Environment,
    /// The nearest one first.
    files: Vec<GivenFile>,
    trust: Option<Trust>,
    /// Keys that a tree's file sets and may not set.
    refused: Vec<(Grant, String)>,
}

struct GivenFile {
    path: PathBuf,
    says: ConfigFile,
    /// True for a tree's file, false for the user's.
    is_trees: bool,
}

impl GivenFile {
    /// The folder from which its relative paths start.
    fn base(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

impl<'a> Given<'a> {
    fn read(environment: &'a Environment, tree: Option<&Path>) -> Result<Self, SettingsError> {
        let user_path = user_file(environment);
        let user = match user_path.clone().filter(|path| path.is_file()) {
            Some(path) => Some(GivenFile { says: read_file(&path)?, path, is_trees: false }),
            None => None,
        };
        if let Some(user) = &user
            && let Some(path) = user.says.trust.keys().find(|path| !path.is_absolute())
        {
            return Err(SettingsError::Value {
                origin: format!("{}: trust", user.path.display()),
                value: path.display().to_string(),
                expected: "absolute path of a tree",
            });
        }
        let mut near = None;
        for folder in tree.into_iter().flat_map(|tree| [Some(tree), tree.parent()]).flatten() {
            let path = folder.join("mkpanda.toml");
            if let Some(says) = read_tree_file(&path)? {
                near = Some(GivenFile { path, says, is_trees: true });
                break;
            }
        }
        if let Some(near) = &near {
            let alone = |key| SettingsError::UsersAlone(near.path.clone(), key);
            if !near.says.trust.is_empty() {
                return Err(alone("trust"));
            }
            if !near.says.credentials.is_empty() {
                return Err(alone("credentials"));
            }
        }
        let trust = tree.map(|tree| {
            let file = near.as_ref().map(|near| near.path.as_path());
            let says = user.as_ref().map(|user| &user.says.trust);
            Trust::of(tree, file, user_path.clone(), says)
        });
        let files = near.into_iter().chain(user).collect();
        Ok(Self { environment, files, trust, refused: Vec::new() })
    }

    /// Notes the keys of a tree's file that only the user may set, unless the user's word is there.
    fn ask(&mut self, args: &GlobalArgs, packages: Option<&Path>) {
        let Some(tree) = self.files.iter().find(|file| file.is_trees) else { return };
        let asked = trust::asked(&tree.says, tree.base(), packages.unwrap_or(tree.base()));
        let is_said = |grant: Grant| match grant {
            Grant::Network => args.network.is_some() || self.variable("NETWORK").is_some(),
            Grant::Scratch => args.scratch.is_some() || self.variable("SCRATCH").is_some(),
            Grant::RepositoryUrl => {
                args.repository_url.is_some() || self.variable("REPOSITORY_URL").is_some()
            }
            _ => false,
        };
        let refused =
            asked.into_iter().filter(|(grant, _)| !is_said(*grant) && !self.allows(*grant));
        self.refused = refused.collect();
    }

    fn allows(&self, grant: Grant) -> bool {
        self.trust.as_ref().is_some_and(|trust| trust.allows(grant))
    }

    /// Refuses a tree whose file sets what it may not set.
    fn refuse(&self) -> Result<(), SettingsError> {
        let tree = self.files.iter().find(|file| file.is_trees);
        let (Some(tree), Some(trust)) = (tree, &self.trust) else { return Ok(()) };
        if self.refused.is_empty() {
            return Ok(());
        }
        let grants = self.refused.iter().map(|(grant, _)| *grant).collect();
        Err(SettingsError::Untrusted {
            path: tree.path.clone(),
            asked: self.refused.iter().map(|(_, key)| key.clone()).collect(),
            hint: trust.hint(&grants),
        })
    }

    /// A limit: the environment's, else the lower one of the user's, or the default, and the tree's. A
    /// tree's that is higher is refused unless the user allows it.
    fn limit<T: PartialOrd + Copy>(
        &mut self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<String>,
        read: impl Fn(&Text) -> Result<T, SettingsError>,
        default: Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        if let Some(text) = self.variable(key) {
            return read(&text).map(Some);
        }
        let name = key.to_lowercase().replacen("limits_", "limits.", 1);
        let of = |is_trees: bool| {
            let file = self.files.iter().find(|file| file.is_trees == is_trees)?;
            let origin = format!("{}: {name}", file.path.display());
            Some(Text { origin, value: pick(&file.says)? })
        };
        let (trees, users) = (of(true), of(false));
        let most = users.map(|text| read(&text)).transpose()?.or(default);
        let Some(trees) = trees else { return Ok(most) };
        let value = read(&trees)?;
        if most.is_some_and(|most| value > most) && !self.allows(Grant::Limits) {
            let asked = format!("{name} = \"{}\", which is higher than yours", trees.value);
            self.refused.push((Grant::Limits, asked));
        }
        Ok(Some(value))
    }

    /// A choice in which the user's file counts before the tree's.
    fn users_choice<T: clap::ValueEnum>(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        self.choice(key, |file| {
            let users = self.files.iter().find(|file| !file.is_trees);
            users.and_then(|users| pick(&users.says)).or_else(|| pick(file))
        })
    }

    /// A tree may only say that fewer packages are built at once than there are cores, or than the user
    /// says.
    fn jobs(&self) -> Result<Option<u16>, SettingsError> {
        if self.variable("JOBS").is_some() {
            return Ok(self.number("JOBS", |_file| None::<NonZeroU16>)?.map(NonZeroU16::get));
        }
        let of = |is_trees: bool| {
            let file = self.files.iter().find(|file| file.is_trees == is_trees);
            file.and_then(|file| file.says.jobs).map(NonZeroU16::get)
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = of(false).unwrap_or_else(|| u16::try_from(cores).unwrap_or(u16::MAX));
        Ok(of(true).map(|trees| trees.min(most)).or_else(|| of(false)))
    }

    /// True if the environment says so, else if any file does: a tree cannot have what the user forbids.
    fn offline(&self) -> Result<bool, SettingsError> {
        let any = self.files.iter().any(|file| file.says.offline == Some(true));
        self.boolean("OFFLINE", |_file| Some(any))
    }

    fn local_sources(&self) -> LocalPermission {
        match &self.trust {
            Some(trust) if !trust.allows(Grant::GitLocal) => {
                LocalPermission::Tree { hint: trust.hint(&[Grant::GitLocal].into()) }
            }
            _ => LocalPermission::Anywhere,
        }
    }

    fn file<T>(&self, pick: impl Fn(&ConfigFile) -> Option<T>) -> Option<T> {
        self.files.iter().find_map(|file| pick(&file.says))
    }

    fn variable(&self, key: &str) -> Option<Text> {
        let origin = format!("MKPANDA_{key}");
        let value = self.environment.get(&origin)?.to_owned();
        Some(Text { origin, value })
    }

    fn text(&self, key: &str, pick: impl Fn(&ConfigFile) -> Option<String>) -> Option<Text> {
        let in_file = |file: &GivenFile| {
            let name = key.to_lowercase().replacen("limits_", "limits.", 1);
            let origin = format!("{}: {name}", file.path.display());
            Some(Text { origin, value: pick(&file.says)? })
        };
        self.variable(key).or_else(|| self.files.iter().find_map(in_file))
    }

    fn choice<T: clap::ValueEnum>(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.variable(key) else { return Ok(self.file(pick)) };
        T::from_str(&text.value, true).map(Some).map_err(|_reason| text.wrong("known choice"))
    }

    fn number<T: std::str::FromStr>(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(text) = self.variable(key) else { return Ok(self.file(pick)) };
        text.number().map(Some)
    }

    fn boolean(
        &self,
        key: &str,
        pick: impl Fn(&ConfigFile) -> Option<bool>,
    ) -> Result<bool, SettingsError> {
        let Some(text) = self.variable(key) else { return Ok(self.file(pick).unwrap_or(false)) };
        match text.value.as_str() {
            "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(text.wrong("boolean (1, 0, true or false)")),
        }
    }

    fn images(&self) -> BTreeMap<String, (String, PathBuf)> {
        let farthest_first = self.files.iter().rev().flat_map(|file| {
            let images = file.says.images.iter();
            images.map(|(name, place)| (name.clone(), (place.clone(), file.base().to_owned())))
        });
        farthest_first.collect()
    }

    fn registries(&self) -> Registries {
        let farthest_first = self.files.iter().rev().flat_map(|file| {
            file.says.registries.iter().map(|(host, says)| {
                let config = RegistryConfig {
                    mirrors: says.mirrors.clone(),
                    insecure: says.insecure,
                    ca: says.ca.as_ref().map(|ca| file.base().join(ca)),
                    of_tree: file.is_trees,
                };
                (host.clone(), config)
            })
        });
        farthest_first.collect()
    }

    /// Credentials for downloads.
    fn logins(&self, environment: &Environment) -> Result<BTreeMap<String, Login>, SettingsError> {
        let mut logins = BTreeMap::new();
        for file in self.files.iter().filter(|file| !file.is_trees) {
            for (host, says) in &file.says.credentials {
                let value = |key: &str, text: &str| match text.strip_prefix('$') {
                    None => Ok(text.to_owned()),
                    Some(name) => environment.get(name).map(str::to_owned).ok_or_else(|| {
                        let origin = format!("{}: credentials.{host:?}.{key}", file.path.display());
                        SettingsError::NoVariable { origin, variable: name.to_owned() }
                    }),
                };
                let name = value("username", &says.username)?;
                let password = value("password", &says.password)?;
                logins.insert(host.to_ascii_lowercase(), Login { name, password });
            }
        }
        Ok(logins)
    }

    fn mirrors(&self, args: &GlobalArgs, http: &HttpClient) -> Result<Vec<Store>, SettingsError> {
        let texts: Vec<Text> = if !args.mirror.is_empty() {
            let text =
                |value: &String| Text { origin: "--mirror".to_owned(), value: value.clone() };
            args.mirror.iter().map(text).collect()
        } else if let Some(mirror) = self.variable("MIRROR") {
            vec![mirror]
        } else {
            let file = self.files.iter().find(|file| !file.says.mirrors.is_empty());
            let texts = file.into_iter().flat_map(|file| {
                file.says.mirrors.iter().map(|mirror| Text {
                    origin: format!("{}: mirrors", file.path.display()),
                    value: below(file.base(), mirror),
                })
            });
            texts.collect()
        };
        let parse = |text: &Text| {
            let expected = "mirror: that is a folder, or a URL with http://, https:// or file:///";
            Store::mirror(&text.value, http).map_err(|_reason: StoreUrlError| text.wrong(expected))
        };
        texts.iter().map(parse).collect()
    }

    fn repository(
        &self,
        args: &GlobalArgs,
        http: &HttpClient,
    ) -> Result<Option<Repository>, SettingsError> {
        let typed = args.repository_url.clone();
        let typed = typed.map(|value| Text { origin: "--repository-url".to_owned(), value });
        let text =
            typed.or_else(|| self.text("REPOSITORY_URL", |file| file.repository_url.clone()));
        let parse = |text: Text| {
            let expected = "repository: that is an http://, https:// or file:///absolute URL";
            Store::repository(&text.value, None, http)
                .map(Repository::new)
                .map_err(|_reason: StoreUrlError| text.wrong(expected))
        };
        text.map(parse).transpose()
    }

    fn scratch(&self, args: &GlobalArgs) -> Result<Option<PathBuf>, SettingsError> {
        let typed = args.scratch.clone();
        let said = typed.or_else(|| Some(self.variable("SCRATCH")?.value.into()));
        let in_file = |file: &GivenFile| Some(file.base().join(file.says.scratch.as_ref()?));
        let found = said.or_else(|| self.files.iter().find_map(in_file));
        found.map(std::path::absolute).transpose().map_err(|source| SettingsError::Read { source })
    }
}

/// Folder of the builder's own, unless somebody else's files are in it.
fn own_home(environment: &Environment) -> Result<PathBuf, SettingsError> {
    let path = home(environment)?;
    match Home::foreign_entry(&path).map_err(|source| SettingsError::Read { source })? {
        Some(entry) => Err(SettingsError::ForeignHome { path, entry: entry.into() }),
        None => Ok(path),
    }
}

/// A mirror's folder relative to its configuration file; a URL as it is.
fn below(base: &Path, mirror: &str) -> String {
    if mirror.contains("://") {
        mirror.to_owned()
    } else {
        base.join(mirror).to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let folders: Vec<_> = settings.mirrors.iter().map(Store::local_folder).collect();
        assert_eq!(folders, [Some(Path::new(&format!("{config}/mkpanda/m")))]);
        assert_eq!(settings.images["a"].1, path("tree"));
        assert_eq!(work_out(&variables, Some(5)).jobs, Some(5));
        variables.insert("MKPANDA_JOBS".to_owned(), "4".to_owned());
        assert_eq!(work_out(&variables, None).jobs, Some(4));
        fs_err::write(path("tree/mkpanda.toml"), "job = 3\n").unwrap();
        let environment = Environment::of(variables);
        let error = Settings::work_out(&args, None, &environment, Some(&path("tree/packages")))
            .unwrap_err();
        assert!(error.to_string().contains("unknown field `job`"), "{error}");
    }
}
