//! Configuration files: `mkpanda.toml` beside a tree, and the user's `config.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::args::{IsolationArg, JobserverArg, NetworkArg, ProgressArg};
use super::config_fault;
use super::grant::TrustFile;
use crate::base::confinement;
use crate::base::escape::path_argument;
use crate::base::http::redact;
use crate::package::{Problem, Report};
use crate::store::StoreUrlError;
use crate::store::registry::{RegistryHost, RegistryMirror};
use crate::store::signature::KeyError;

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
const SETTINGS: [&str; 16] = [
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

/// A configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file can't be read.
    #[error("can't read the configuration")]
    Read {
        /// Cause, with the path.
        #[source]
        source: std::io::Error,
    },
    /// A file isn't a configuration.
    #[error(transparent)]
    Parse(#[from] Report),
    /// A value can't be understood.
    #[error("{origin}: {:?} is not a {expected}", redact(value))]
    Value {
        /// Origin of the value.
        origin: String,
        /// The value.
        value: String,
        /// Description of valid values.
        expected: &'static str,
    },
    /// A tree's file sets keys that only the user may set.
    #[error("{} sets what only you may set: {}", path.display(), asked.join(", "))]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The keys.
        asked: Vec<String>,
        /// Lines to write, if the tree is trusted.
        hint: String,
    },
    /// A tree's file has a table or a key that is the user's.
    #[error("{path}: {key} counts in your own configuration alone", path = .0.display(), key = .1)]
    UsersAlone(PathBuf, &'static str),
    /// A key cannot be used.
    #[error("{origin}")]
    Key {
        /// The option, or the file and its key.
        origin: String,
        /// Fault.
        #[source]
        source: KeyError,
    },
    /// Signatures are required, and no key is trusted.
    #[error("--require-signature: no key is trusted ({revoked} are revoked)")]
    NoTrustedKey {
        /// Number of revoked keys.
        revoked: usize,
    },
    /// A place of a store is not valid.
    #[error("{origin}: {source}")]
    Store {
        /// The option, or the file and its key.
        origin: String,
        /// Fault.
        source: StoreUrlError,
    },
    /// The key that signs cannot be used.
    #[error("--sign: {reason}")]
    Signing {
        /// Fault.
        reason: String,
        /// Remedy, if one is known.
        hint: Option<String>,
    },
    /// A mirror needs the network that may not be used.
    #[error("the mirror {0} needs a network, and --offline forbids any connection")]
    RemoteMirror(String),
    /// A variable is named that is not set.
    #[error("{origin}: {variable:?} is not an environment variable that is set")]
    NoVariable {
        /// Origin of the name.
        origin: String,
        /// Name of the variable.
        variable: String,
    },
    /// The configuration of a tree is a link that leads out of its folder.
    #[error("{} is a symlink that leads out of its folder", .0.display())]
    LeadsOut(PathBuf),
    /// The folder for the builder's own files has other files in it.
    #[error("{} is not mkpanda's own folder: it has {}", path.display(), entry.display())]
    ForeignHome {
        /// The folder.
        path: PathBuf,
        /// Name of an entry.
        entry: PathBuf,
    },
    /// Another user could replace the builder's own files.
    #[error("{} belongs to another user, with the id {owner}, who could replace what mkpanda keeps there", path.display())]
    OthersHome {
        /// The folder.
        path: PathBuf,
        /// Owner's id.
        owner: u32,
    },
    /// A symlink of another user's leads out of the builder's own folder.
    #[error("{} is a symlink of another user, who owns mkpanda's own folder", .0.display())]
    OthersLink(PathBuf),
    /// The value of a variable is not text.
    #[error("the variable {0} is set to something that is not UTF-8")]
    NotText(String),
    /// A cache needs the network that may not be used.
    #[error("the cache {0} needs a network, and --offline forbids any connection")]
    RemoteCache(String),
    /// There is no folder for the builder's own files.
    #[error(
        "there is no folder for mkpanda's own files: neither MKPANDA_HOME, XDG_DATA_HOME nor HOME is set"
    )]
    NoHome,
}

impl SettingsError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Parse(report) => report.hint().map(str::to_owned),
            Self::Untrusted { hint, .. } => Some(hint.clone()),
            Self::Key { origin, .. } if origin.starts_with("--") => Some(format!(
                "to require a signature by any of your trusted_keys, write {origin}= or put the option last"
            )),
            Self::NoTrustedKey { .. } => Some(
                "name one: --require-signature=PUBKEY\nor in your config.toml: trusted_keys = [\"PUBKEY\"]"
                    .to_owned(),
            ),
            Self::Signing { hint, .. } => hint.clone(),
            Self::UsersAlone(..) => Some("take it out of this file".to_owned()),
            Self::ForeignHome { path, .. } => Some(format!(
                "name a folder of its own: MKPANDA_HOME={}",
                path_argument(&path.join("mkpanda"))
            )),
            Self::OthersHome { .. } | Self::OthersLink(_) => Some(
                "name a folder of your own, such as MKPANDA_HOME=\"$HOME/.local/share/mkpanda\"".to_owned(),
            ),
            Self::NotText(name) => Some(format!("set {name} to UTF-8 text, or unset it")),
            Self::RemoteCache(_) => Some(
                "name a cache on this machine, or leave --cache or --offline out".to_owned(),
            ),
            Self::RemoteMirror(_) => Some(
                "to ask the mirrors and nothing else, use --only-mirrors instead of --offline"
                    .to_owned(),
            ),
            Self::LeadsOut(_) => Some("put the file itself there".to_owned()),
            _ => None,
        }
    }
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
