//! What the program does, from what was typed, the environment and the configuration files:
//! options over `MKPANDA_*` variables over the tree's `mkpanda.toml` over the user's `config.toml`.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{GlobalArgs, IsolationArg, JobserverArg, NetworkArg, ProgressArg};
use super::config::{ConfigFile, SettingsError, read_file};
use super::places::{credential_sources, home, user_file};
use super::value::Text;
use crate::archive::Limits as ArchiveLimits;
use crate::base::http::HttpClient;
use crate::build::images::SharedBuilders;
use crate::image::registry::{Registries, RegistryConfig, RegistryOptions};
use crate::source::{Mirror, MirrorError};
use crate::store::repository::Repository;

/// The environment, as far as it counts: read once, in `main`'s name, and passed down.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Takes the process's environment; what isn't UTF-8 counts as not set.
    pub fn from_process() -> Self {
        let pairs = std::env::vars_os();
        let variables = pairs
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { variables }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

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
    /// Mirrors of sources.
    pub mirrors: Vec<Mirror>,
    /// Whether to use no network.
    pub offline: bool,
    /// Where packages and bootstraps may be taken from.
    pub repository: Option<Repository>,
    /// How many packages are built at once.
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
    /// Whether to end when the process that started this one ends.
    pub die_with_parent: bool,
    /// How progress is shown.
    pub progress: ProgressArg,
    /// How long a build script may run.
    pub time_limit: Duration,
    /// How much memory a build may use, in bytes.
    pub memory_limit: Option<u64>,
    /// How many processes and threads a build may have.
    pub process_limit: Option<u64>,
    /// How much an archive may unpack to, in bytes.
    pub unpacked_limit: Option<u64>,
    /// How many entries an archive may have.
    pub entry_limit: Option<u64>,
}

/// 1980-01-01, the earliest time that all archive formats know.
const DEFAULT_EPOCH: u64 = 315_532_800;

const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);

impl Settings {
    /// Works the settings out. `tree` is the packages folder, if the command has one.
    pub fn work_out(
        args: &GlobalArgs,
        jobs: Option<u16>,
        environment: &Environment,
        tree: Option<&Path>,
    ) -> Result<Self, SettingsError> {
        let given = Given::read(environment, tree)?;
        let time = given.text("LIMITS_TIME", |file| file.limits.time.clone());
        let memory = given.text("LIMITS_MEMORY", |file| file.limits.memory.clone());
        let unpacked = given.text("LIMITS_UNPACKED", |file| file.limits.unpacked.clone());
        let offline = args.offline || given.boolean("OFFLINE", |file| file.offline)?;
        Ok(Self {
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
                None => given.choice("ISOLATION", |file| file.isolation)?,
                typed => typed,
            },
            network: match args.network {
                None => given.choice("NETWORK", |file| file.network)?,
                typed => typed,
            }
            .unwrap_or(NetworkArg::None),
            mirrors: given.mirrors(args)?,
            offline,
            repository: given.repository(args)?,
            jobs: match jobs {
                None => given.number("JOBS", |file| file.jobs)?.map(NonZeroU16::get),
                typed => typed,
            },
            jobserver: match args.jobserver {
                None => given.choice("JOBSERVER", |file| file.jobserver)?,
                typed => typed,
            }
            .unwrap_or(JobserverArg::Auto),
            home: home(environment)?,
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
            time_limit: time.map_or(Ok(DEFAULT_TIME_LIMIT), |text| text.duration())?,
            memory_limit: memory.map(|text| text.size()).transpose()?,
            process_limit: given.number("LIMITS_PROCESSES", |file| file.limits.processes)?,
            unpacked_limit: unpacked.map(|text| text.size()).transpose()?,
            entry_limit: given.number("LIMITS_ENTRIES", |file| file.limits.entries)?,
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
}

struct GivenFile {
    path: PathBuf,
    says: ConfigFile,
}

impl GivenFile {
    /// The folder from which its relative paths start.
    fn base(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

impl<'a> Given<'a> {
    fn read(environment: &'a Environment, tree: Option<&Path>) -> Result<Self, SettingsError> {
        let near = tree.into_iter().flat_map(|tree| [Some(tree), tree.parent()]).flatten();
        let near = near.map(|folder| folder.join("mkpanda.toml")).find(|path| path.is_file());
        let user = user_file(environment).filter(|path| path.is_file());
        let mut files = Vec::new();
        if let Some(path) = near {
            let says = read_file(&path)?;
            if says.die_with_parent.is_some() {
                return Err(SettingsError::UsersAlone { path, key: "die_with_parent" });
            }
            files.push(GivenFile { path, says });
        }
        if let Some(path) = user {
            let says = read_file(&path)?;
            files.push(GivenFile { path, says });
        }
        Ok(Self { environment, files })
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
        text.value.parse().map(Some).map_err(|_reason| text.wrong("number that can be meant here"))
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
                };
                (host.clone(), config)
            })
        });
        farthest_first.collect()
    }

    fn mirrors(&self, args: &GlobalArgs) -> Result<Vec<Mirror>, SettingsError> {
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
            text.value.parse().map_err(|_reason: MirrorError| text.wrong(expected))
        };
        texts.iter().map(parse).collect()
    }

    fn repository(&self, args: &GlobalArgs) -> Result<Option<Repository>, SettingsError> {
        let typed = args.repository_url.clone();
        let typed = typed.map(|value| Text { origin: "--repository-url".to_owned(), value });
        let text =
            typed.or_else(|| self.text("REPOSITORY_URL", |file| file.repository_url.clone()));
        let parse = |text: Text| {
            let expected = "repository: that is an http://, https:// or file:///absolute URL";
            Repository::new(&text.value, HttpClient::default())
                .map_err(|_reason| text.wrong(expected))
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
            "jobs = 2\nnetwork = 'host'\nmirrors = ['m']\n",
        )
        .unwrap();
        fs_err::write(path("tree/mkpanda.toml"), "jobs = 3\n[images]\na = 'host'\n").unwrap();
        let config = path("config").to_string_lossy().into_owned();
        let mut variables = BTreeMap::from([
            ("XDG_CONFIG_HOME".to_owned(), config.clone()),
            ("MKPANDA_HOME".to_owned(), "/h".to_owned()),
        ]);
        let args = super::super::args::Cli::parse_from(["mkpanda"]).global;
        let work_out = |variables: &BTreeMap<String, String>, jobs| {
            let environment = Environment { variables: variables.clone() };
            Settings::work_out(&args, jobs, &environment, Some(&path("tree/packages"))).unwrap()
        };
        let settings = work_out(&variables, None);
        assert_eq!((settings.jobs, settings.network), (Some(3), NetworkArg::Host));
        assert_eq!(settings.mirrors, [Mirror::Dir(format!("{config}/mkpanda/m").into())]);
        assert_eq!(settings.images["a"].1, path("tree"));
        assert_eq!(work_out(&variables, Some(5)).jobs, Some(5));
        variables.insert("MKPANDA_JOBS".to_owned(), "4".to_owned());
        assert_eq!(work_out(&variables, None).jobs, Some(4));
        let environment = Environment { variables };
        for (text, expected) in [
            ("job = 3\n", "unknown field `job`"),
            (
                "die_with_parent = false\n",
                "`die_with_parent` belongs into the user's configuration",
            ),
        ] {
            fs_err::write(path("tree/mkpanda.toml"), text).unwrap();
            let tree = path("tree/packages");
            let error = Settings::work_out(&args, None, &environment, Some(&tree)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
