//! Errors of settings.

use std::path::PathBuf;

use crate::base::escape::path_argument;
use crate::base::http::redact;
use crate::package::Report;
use crate::store::StoreUrlError;
use crate::store::signature::SigningKeyError;

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
    #[error("{origin}: {:?} is not {} {expected}", redact(value), article(expected))]
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
    /// There is no folder for the jobs of other machines.
    #[error(
        "packages cannot be built on other machines: no folder is named that all of them share"
    )]
    NoExecutorFolder,
    /// No engine is named.
    #[error("packages are to be built by an engine of the Remote Execution API, and none is named")]
    NoRemoteExecutor,
    /// A secret would go over the network in the clear.
    #[error("the token, or the header \"authorization\", would go to {0} without encryption")]
    RemoteSecret(String),
    /// The program was built without Remote Execution.
    #[cfg(not(feature = "remote-execution"))]
    #[error("this mkpanda was built without the feature remote-execution")]
    WithoutRemote,
    /// Builds on other machines have no network.
    #[error("packages that are built on other machines cannot use a machine's network")]
    ExecutorNetwork,
    /// Builds on other machines leave nothing here.
    #[error(
        "--dont-clean-after-build keeps folders of this machine, but packages are to be built on others"
    )]
    ExecutorKeep,
    /// Packages of an engine have no signatures.
    #[error(
        "packages have to be signed (--require-signature), and those that an engine builds, or has in its cache, are not"
    )]
    ExecutorUnsigned,
    /// A key cannot be used.
    #[error("{origin}")]
    Key {
        /// The option, or the file and its key.
        origin: String,
        /// Fault.
        #[source]
        source: SigningKeyError,
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
            Self::NoExecutorFolder => Some(
                "name it: --executor-folder DIR, or below [executor] in your config.toml: folder = \"DIR\""
                    .to_owned(),
            ),
            Self::NoRemoteExecutor => Some(
                "name it: --remote-executor grpcs://HOST:PORT, or below [remote] in your config.toml: executor = \"grpcs://HOST:PORT\""
                    .to_owned(),
            ),
            Self::RemoteSecret(_) => {
                Some("name an address that begins with grpcs://, or leave the secret out".to_owned())
            }
            Self::ExecutorNetwork => Some(
                "build without it (--network none), or on this machine (--executor local)".to_owned(),
            ),
            Self::ExecutorKeep => Some("build on this machine: --executor local".to_owned()),
            Self::ExecutorUnsigned => Some(
                "build on this machine: --executor local; or trust the engine as this machine, and leave --require-signature out"
                    .to_owned(),
            ),
            Self::LeadsOut(_) => Some("put the file itself there".to_owned()),
            _ => None,
        }
    }
}

/// Article of a noun.
fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}
