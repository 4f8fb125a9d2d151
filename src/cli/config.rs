//! Configuration files: `mkpanda.toml` beside a tree, and the user's `config.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::args::{CompressionArg, IsolationArg, JobserverArg, NetworkArg, ProgressArg};
use super::config_fault;
use super::executor_file::ExecutorFile;
use super::grant::TrustFile;
use super::remote_file::RemoteFile;
use super::settings_error::SettingsError;
use crate::base::confinement;
use crate::package::Problem;
use crate::store::registry::{RegistryHost, RegistryMirror};

/// A configuration file. Each key is also `MKPANDA_<KEY>` in the environment, but for `images`, `registries`, `builders`,
/// `trusted_keys` and `revoked_keys`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Locations of images: name = "host", "oci:DIR", "oci-archive:FILE", "docker-archive:FILE" or
    /// `"docker://REF"`.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
    /// Settings of registries, by their hosts.
    #[serde(default)]
    pub registries: BTreeMap<RegistryHost, RegistryFile>,
    /// Registry for images of `docker/` folders.
    #[serde(default)]
    pub builders: BuildersFile,
    /// The isolation tier to demand.
    pub isolation: Option<IsolationArg>,
    /// The network of builds.
    pub network: Option<NetworkArg>,
    /// Mirrors of sources.
    #[serde(default)]
    pub mirrors: Vec<String>,
    /// True to use no network.
    pub offline: Option<bool>,
    /// True to use the network for mirrors alone.
    pub only_mirrors: Option<bool>,
    /// Repository of prebuilt packages and bootstraps.
    pub repository_url: Option<String>,
    /// Shared caches, in the order in which they are asked: counts in the user's own file alone.
    #[serde(default)]
    pub cache: Vec<CacheFile>,
    /// Number of packages that are built at once.
    pub jobs: Option<NonZeroU16>,
    /// Distribution of the cores among concurrent builds.
    pub jobserver: Option<JobserverArg>,
    /// Level of compression of packages.
    pub compression: Option<CompressionArg>,
    /// Scratch folder of builds.
    pub scratch: Option<PathBuf>,
    /// The latest time that files in packages have, in seconds of the epoch.
    pub source_date_epoch: Option<u64>,
    /// Range of ids that root gives to containers: the first id and the count.
    pub root_range: Option<(u32, u32)>,
    /// True to end when the process that started mkpanda ends; in the user's file alone.
    pub die_with_parent: Option<bool>,
    /// Time for which what failed builds leave is kept: counts in the user's own file alone.
    pub keep_failed: Option<String>,
    /// Display of progress.
    pub progress: Option<ProgressArg>,
    /// Limits.
    #[serde(default)]
    pub limits: LimitsFile,
    /// Builds on other machines: counts in the user's own file alone.
    #[serde(default)]
    pub executor: ExecutorFile,
    /// Builds by an engine of the Remote Execution API: counts in the user's own file alone.
    #[serde(default)]
    pub remote: RemoteFile,
    /// Credentials by servers' names, for downloads over HTTP: counts in the user's own file alone.
    #[serde(default)]
    pub credentials: BTreeMap<String, CredentialsFile>,
    /// Public keys whose signatures count, or the paths of their `.pub` files: counts in the user's own
    /// file alone.
    #[serde(default)]
    pub trusted_keys: Vec<String>,
    /// Keys whose signatures no longer count, or their ids: counts in the user's own file alone.
    #[serde(default)]
    pub revoked_keys: Vec<String>,
    /// Permissions of trees, by their folders: valid in the user's own file only.
    #[serde(default)]
    pub trust: BTreeMap<PathBuf, TrustFile>,
}

/// Keys of a [`ConfigFile`] that are not tables.
const SETTINGS: [&str; 17] = [
    "compression",
    "die_with_parent",
    "isolation",
    "jobs",
    "jobserver",
    "keep_failed",
    "mirrors",
    "network",
    "offline",
    "only_mirrors",
    "progress",
    "repository_url",
    "revoked_keys",
    "root_range",
    "scratch",
    "source_date_epoch",
    "trusted_keys",
];

/// Settings of a registry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistryFile {
    /// Mirrors to try first: `host[:port][/prefix]`.
    #[serde(default)]
    pub mirrors: Vec<RegistryMirror>,
    /// True for plain HTTP.
    #[serde(default)]
    pub insecure: bool,
    /// PEM file with trusted CAs for the registry.
    pub ca: Option<PathBuf>,
}

/// A shared cache.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheFile {
    /// Folder or URL.
    pub url: String,
    /// True if packages and sources are looked up there.
    #[serde(default = "is_true")]
    pub read: bool,
    /// True if packages and sources are uploaded.
    #[serde(default = "is_true")]
    pub write: bool,
}

fn is_true() -> bool {
    true
}

/// Credentials for a server. `$NAME` is the value of a variable of the environment.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialsFile {
    /// User's name.
    #[serde(default)]
    pub username: String,
    /// Password or token.
    #[serde(default)]
    pub password: String,
}

impl fmt::Debug for CredentialsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialsFile")
    }
}

/// Registry for images of `docker/` folders.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildersFile {
    /// Registry to pull from and to push to: `host[:port][/prefix]`; by default the one in the
    /// images' names.
    pub registry: Option<RegistryMirror>,
    /// True if built images are pushed.
    pub push: Option<bool>,
}

/// Limits of builds and archives.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsFile {
    /// Time limit for a build script: `90s`, `30m`, `4h`.
    pub time: Option<String>,
    /// Memory limit for a build: `512M`, `8G`.
    pub memory: Option<String>,
    /// Limit of a build's processes and threads.
    pub processes: Option<u64>,
    /// Size limit of a build's log: `64M`.
    pub log: Option<String>,
    /// Size limit of an unpacked archive: `64G`.
    pub unpacked: Option<String>,
    /// Limit of an archive's entries.
    pub entries: Option<u64>,
}

/// Upper limit of a tree's file in bytes.
const LONGEST: u64 = 4 << 20;

/// Path of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigPath {
    pub(super) path: PathBuf,
    /// True for a tree's file, false for the user's.
    pub(super) is_trees: bool,
}

/// Reads the text of a configuration file, if there is one. A tree's is never read through a symlink that leads out
/// of its folder, as messages quote what stands in it.
pub(super) fn read_text(file: &ConfigPath) -> Result<Option<String>, SettingsError> {
    let ConfigPath { path, is_trees } = file;
    // The user's own file may be a link to anywhere, such as into a repository of settings.
    if !is_trees {
        let text = fs_err::read_to_string(path).map_err(|source| SettingsError::Read { source })?;
        return Ok(Some(text));
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    match confinement::read_text(folder, Path::new(name), LONGEST) {
        Ok(text) => Ok(Some(text)),
        Err(error) if confinement::leads_out(&error) => Err(SettingsError::LeadsOut(path.clone())),
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => Ok(None),
            _ => Err(SettingsError::Read { source: error }),
        },
    }
}

/// Reads a tree's configuration file, if there is one.
pub(super) fn read_tree_file(path: &Path) -> Result<Option<ConfigFile>, SettingsError> {
    let text = read_text(&ConfigPath { path: path.to_owned(), is_trees: true })?;
    text.map(|text| parse(path, &text)).transpose()
}

/// Reads the user's configuration file. Keys that aren't known are errors: they are mistyped.
pub(super) fn read_file(path: &Path) -> Result<ConfigFile, SettingsError> {
    let text = read_text(&ConfigPath { path: path.to_owned(), is_trees: false })?;
    parse(path, &text.unwrap_or_default())
}

/// Reads the text of a configuration file; the path is for messages.
pub(crate) fn parse(path: &Path, text: &str) -> Result<ConfigFile, SettingsError> {
    let file: ConfigFile = toml::from_str(text)
        .map_err(|error| SettingsError::Parse(config_fault::fault(path, text, &error)))?;
    // A line appended at the end belongs to the last table.
    if let Some(key) = file.images.keys().find(|name| SETTINGS.contains(&name.as_str())) {
        let offset = offset_of_image(text, key);
        let message =
            format!("{key} is a setting, and stands below [images], where names of images stand");
        let hint = Some(format!("move the line with {key} above the first line in brackets"));
        return Err(SettingsError::Parse(Problem { offset, message, hint }.in_file(path, text)));
    }
    Ok(file)
}

/// Offset of the line that gives an image a place.
fn offset_of_image(text: &str, name: &str) -> Option<usize> {
    #[derive(Deserialize)]
    struct ImageTable {
        images: BTreeMap<String, toml::Spanned<String>>,
    }
    let places: ImageTable = toml::from_str(text).ok()?;
    let value = places.images.get(name)?.span().start;
    Some(text.get(..value)?.rfind('\n').map_or(0, |line| line + 1))
}

#[cfg(test)]
mod tests;
