//! What the program does, from what was typed, the environment and the configuration files:
//! options over `MKPANDA_*` variables over the tree's `mkpanda.toml` over the user's `config.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::args::{GlobalArgs, IsolationArg, NetworkArg, ProgressArg};

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

/// A configuration file. Each key is also `MKPANDA_<KEY>` in the environment, but for `images`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Where images are found: name = "host", "oci:DIR", "oci-archive:FILE" or "docker-archive:FILE".
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// The isolation tier to demand.
    pub isolation: Option<IsolationArg>,
    /// The network of builds.
    pub network: Option<NetworkArg>,
    /// Mirrors of sources.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// Whether to use no network.
    pub offline: Option<bool>,
    /// Where packages and bootstraps may be taken from.
    pub repository_url: Option<String>,
    /// How many packages are built at once.
    pub jobs: Option<u16>,
    /// Where builds write.
    pub scratch: Option<PathBuf>,
    /// The latest time that files in packages have, in seconds of the epoch.
    pub source_date_epoch: Option<u64>,
    /// The ids that root gives to containers: the first one and how many.
    pub root_range: Option<(u32, u32)>,
    /// How progress is shown.
    pub progress: Option<ProgressArg>,
    /// Limits.
    #[serde(default)]
    pub limits: LimitsFile,
}

/// Limits of builds and archives.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsFile {
    /// How long a build script may run: `90s`, `30m`, `4h`.
    pub time: Option<String>,
    /// How much memory a build may use: `512M`, `8G`.
    pub memory: Option<String>,
    /// How many processes and threads a build may have.
    pub processes: Option<u64>,
    /// How much an archive may unpack to: `64G`.
    pub unpacked: Option<String>,
    /// How many entries an archive may have.
    pub entries: Option<u64>,
}

/// What the program does.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where images are found, by name, with the folder that relative paths start from.
    pub images: BTreeMap<String, (String, PathBuf)>,
    /// The isolation tier to demand.
    pub isolation: Option<IsolationArg>,
    /// The network of builds.
    pub network: NetworkArg,
    /// Mirrors of sources.
    pub mirrors: Vec<String>,
    /// Whether to use no network.
    pub offline: bool,
    /// Where packages and bootstraps may be taken from.
    pub repository_url: Option<String>,
    /// How many packages are built at once.
    pub jobs: Option<u16>,
    /// The builder's own folder.
    pub home: PathBuf,
    /// Where builds write.
    pub scratch: Option<PathBuf>,
    /// The latest time that files in packages have, in seconds of the epoch.
    pub source_date_epoch: u64,
    /// The ids that root gives to containers.
    pub root_range: Option<(u32, u32)>,
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

/// A configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file can't be read.
    #[error("can't read the configuration")]
    Read {
        /// What went wrong, with the path.
        #[source]
        source: std::io::Error,
    },
    /// A file isn't a configuration.
    #[error("{}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A value can't be understood.
    #[error("{origin}: {value:?} is no {expected}")]
    Value {
        /// Where it was given.
        origin: String,
        /// The value.
        value: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// There is no folder for the builder's own files.
    #[error(
        "there is no folder for mkpanda's own files: neither MKPANDA_HOME, XDG_DATA_HOME nor HOME is set"
    )]
    NoHome,
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
        let user = user_file(environment);
        let near = tree.into_iter().flat_map(|tree| [Some(tree), tree.parent()]).flatten();
        let near = near.map(|folder| folder.join("mkpanda.toml")).find(|path| path.is_file());
        let mut images = BTreeMap::new();
        let mut files = Vec::new();
        for path in user.into_iter().filter(|path| path.is_file()).chain(near) {
            let file = read_file(&path)?;
            let base = path.parent().unwrap_or(Path::new("/")).to_owned();
            images.extend(
                file.images
                    .iter()
                    .map(|(name, value)| (name.clone(), (value.clone(), base.clone()))),
            );
            files.push((file, base));
        }
        // The last file is the nearest one.
        let last = |pick: fn(&ConfigFile) -> bool| {
            files.iter().rev().map(|(file, _)| file).find(|file| pick(file))
        };
        let variables = Variables { environment };
        let scratch =
            files.iter().rev().find_map(|(file, base)| Some(base.join(file.scratch.as_ref()?)));
        let mirrors = files.iter().rev().find(|(file, _)| !file.mirrors.is_empty());
        let limits = |pick: fn(&LimitsFile) -> Option<String>| {
            files.iter().rev().find_map(|(file, _)| pick(&file.limits))
        };
        let time = variables.text("LIMITS_TIME").or_else(|| limits(|file| file.time.clone()));
        let memory = variables.text("LIMITS_MEMORY").or_else(|| limits(|file| file.memory.clone()));
        let unpacked =
            variables.text("LIMITS_UNPACKED").or_else(|| limits(|file| file.unpacked.clone()));
        Ok(Self {
            images,
            isolation: args
                .isolation
                .or(variables.choice("ISOLATION")?)
                .or(last(|file| file.isolation.is_some()).and_then(|file| file.isolation)),
            network: args
                .network
                .or(variables.choice("NETWORK")?)
                .or(last(|file| file.network.is_some()).and_then(|file| file.network))
                .unwrap_or(NetworkArg::None),
            mirrors: if !args.mirror.is_empty() {
                args.mirror.clone()
            } else if let Some(mirror) = variables.text("MIRROR") {
                vec![mirror]
            } else {
                mirrors
                    .map(|(file, base)| {
                        file.mirrors.iter().map(|mirror| below(base, mirror)).collect()
                    })
                    .unwrap_or_default()
            },
            offline: args.offline
                || variables
                    .boolean("OFFLINE")?
                    .or(last(|file| file.offline.is_some()).and_then(|file| file.offline))
                    .unwrap_or(false),
            repository_url: args
                .repository_url
                .clone()
                .or_else(|| variables.text("REPOSITORY_URL"))
                .or_else(|| {
                    last(|file| file.repository_url.is_some())
                        .and_then(|file| file.repository_url.clone())
                }),
            jobs: jobs
                .or(variables.number("JOBS")?)
                .or(last(|file| file.jobs.is_some()).and_then(|file| file.jobs)),
            home: home(environment)?,
            scratch: args
                .scratch
                .clone()
                .or_else(|| variables.text("SCRATCH").map(PathBuf::from))
                .or(scratch),
            source_date_epoch: last(|file| file.source_date_epoch.is_some())
                .and_then(|file| file.source_date_epoch)
                .unwrap_or(DEFAULT_EPOCH),
            root_range: last(|file| file.root_range.is_some()).and_then(|file| file.root_range),
            progress: args
                .progress
                .or(variables.choice("PROGRESS")?)
                .or(last(|file| file.progress.is_some()).and_then(|file| file.progress))
                .unwrap_or(ProgressArg::Auto),
            time_limit: time
                .map_or(Ok(DEFAULT_TIME_LIMIT), |text| duration("limits.time", &text))?,
            memory_limit: memory.map(|text| size("limits.memory", &text)).transpose()?,
            process_limit: variables
                .number("LIMITS_PROCESSES")?
                .or(last(|file| file.limits.processes.is_some())
                    .and_then(|file| file.limits.processes)),
            unpacked_limit: unpacked.map(|text| size("limits.unpacked", &text)).transpose()?,
            entry_limit:
                variables
                    .number("LIMITS_ENTRIES")?
                    .or(last(|file| file.limits.entries.is_some())
                        .and_then(|file| file.limits.entries)),
        })
    }
}

struct Variables<'a> {
    environment: &'a Environment,
}

impl Variables<'_> {
    fn text(&self, key: &str) -> Option<String> {
        self.environment.get(&format!("MKPANDA_{key}")).map(str::to_owned)
    }

    fn choice<T: clap::ValueEnum>(&self, key: &str) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.text(key) else { return Ok(None) };
        T::from_str(&value, true).map(Some).map_err(|_reason| wrong(key, value, "known choice"))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.text(key) else { return Ok(None) };
        value.parse().map(Some).map_err(|_reason| wrong(key, value, "number"))
    }

    fn boolean(&self, key: &str) -> Result<Option<bool>, SettingsError> {
        match self.text(key).as_deref() {
            None => Ok(None),
            Some("1" | "true") => Ok(Some(true)),
            Some("0" | "false") => Ok(Some(false)),
            Some(other) => Err(wrong(key, other.to_owned(), "boolean (1, 0, true or false)")),
        }
    }
}

fn wrong(key: &str, value: String, expected: &'static str) -> SettingsError {
    SettingsError::Value { origin: format!("MKPANDA_{key}"), value, expected }
}

/// A mirror's folder relative to its configuration file; a URL as it is.
fn below(base: &Path, mirror: &str) -> String {
    if mirror.contains("://") {
        mirror.to_owned()
    } else {
        base.join(mirror).to_string_lossy().into_owned()
    }
}

fn read_file(path: &Path) -> Result<ConfigFile, SettingsError> {
    let text = fs_err::read_to_string(path).map_err(|source| SettingsError::Read { source })?;
    toml::from_str(&text)
        .map_err(|error| SettingsError::Parse { path: path.to_owned(), reason: error.to_string() })
}

fn user_file(environment: &Environment) -> Option<PathBuf> {
    let folder = match environment.get("XDG_CONFIG_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(environment.get("HOME")?).join(".config"),
    };
    Some(folder.join("mkpanda/config.toml"))
}

fn home(environment: &Environment) -> Result<PathBuf, SettingsError> {
    if let Some(home) = environment.get("MKPANDA_HOME") {
        return std::path::absolute(home).map_err(|source| SettingsError::Read { source });
    }
    let data = match environment.get("XDG_DATA_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => {
            Path::new(environment.get("HOME").ok_or(SettingsError::NoHome)?).join(".local/share")
        }
    };
    Ok(data.join("mkpanda"))
}

fn duration(origin: &str, text: &str) -> Result<Duration, SettingsError> {
    let units = [("ms", 0), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
    let number = text.trim_end_matches(char::is_alphabetic);
    let unit = &text[number.len()..];
    let seconds = units.iter().find(|(name, _)| *name == unit).map(|(_, seconds)| *seconds);
    match (number.parse::<u64>(), seconds) {
        (Ok(number), Some(0)) if number > 0 => Ok(Duration::from_millis(number)),
        (Ok(number), Some(seconds)) if number > 0 => {
            Ok(Duration::from_secs(number.saturating_mul(seconds)))
        }
        _ => Err(SettingsError::Value {
            origin: origin.to_owned(),
            value: text.to_owned(),
            expected: "time, such as 90s, 30m or 4h",
        }),
    }
}

fn size(origin: &str, text: &str) -> Result<u64, SettingsError> {
    let number = text.trim_end_matches(char::is_alphabetic);
    let factor = match &text[number.len()..] {
        "" => Some(1),
        "K" | "k" => Some(1 << 10),
        "M" => Some(1 << 20),
        "G" => Some(1 << 30),
        "T" => Some(1_u64 << 40),
        _ => None,
    };
    number
        .parse::<u64>()
        .ok()
        .zip(factor)
        .and_then(|(number, factor)| number.checked_mul(factor))
        .filter(|size| *size > 0)
        .ok_or_else(|| SettingsError::Value {
            origin: origin.to_owned(),
            value: text.to_owned(),
            expected: "size in bytes, such as 512M or 8G",
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(duration("x", "90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("x", "200ms").unwrap(), Duration::from_millis(200));
        assert_eq!(duration("x", "4h").unwrap(), Duration::from_secs(14_400));
        assert_eq!(size("x", "8G").unwrap(), 8 << 30);
        for bad in ["", "4", "h", "0s", "-1s", "1.5h"] {
            assert!(duration("x", bad).is_err(), "{bad}");
        }
        for bad in ["", "G", "0", "1X", "99999999999T"] {
            assert!(size("x", bad).is_err(), "{bad}");
        }
    }

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
        assert_eq!(settings.mirrors, [format!("{config}/mkpanda/m")]);
        assert_eq!(settings.images["a"].1, path("tree"));
        assert_eq!(work_out(&variables, Some(5)).jobs, Some(5));
        variables.insert("MKPANDA_JOBS".to_owned(), "4".to_owned());
        assert_eq!(work_out(&variables, None).jobs, Some(4));
        fs_err::write(path("tree/mkpanda.toml"), "job = 3\n").unwrap();
        let environment = Environment { variables };
        let error = Settings::work_out(&args, None, &environment, Some(&path("tree/packages")))
            .unwrap_err();
        assert!(error.to_string().contains("unknown field `job`"), "{error}");
    }
}
