//! Errors of the commands that look at the machine, the settings and past builds.

use std::path::PathBuf;

use crate::base::suggestion::meant_or;
use crate::package::PackageId;
use crate::portable::CompareError;
use crate::runner::trial::Feature;
use crate::store::registry::login::LoginError;
use crate::store::registry::{RegistryExchangeError, RegistryHostError};

/// A command that only looks has found a fault, or nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// No container can be run on this machine.
    #[error("no container can be run here: neither tier works")]
    NoTier,
    /// Required features do not work.
    #[error("required, but not there: {}", names(.0))]
    Lacking(Vec<Feature>),
    /// No package is named, and none is here.
    #[error("no package is named, and this is not a package's folder")]
    NoPackageNamed,
    /// A package has no build.
    #[error("{0} has no build here")]
    NoBuild(String),
    /// Nothing of that name or id was built.
    #[error("no build of {text} is known here")]
    NeverBuilt {
        /// Name or id, as typed.
        text: String,
        /// Name that is like it.
        near: Option<String>,
    },
    /// Several ids begin with a text.
    #[error("{text} is the beginning of several ids: {}", candidates.join(", "))]
    Ambiguous {
        /// Text.
        text: String,
        /// Ids.
        candidates: Vec<String>,
    },
    /// A package that is to be compared was not built.
    #[error("{0} is not in the cache, so there is nothing to compare with")]
    NotInCache(PackageId),
    /// Packages cannot be compared.
    #[error(transparent)]
    Compare(Box<CompareError>),
    /// Packages have other bytes when they are built again.
    #[error("{} when {} built again", not_the_same(*.0), if *.0 == 1 { "it is" } else { "they are" })]
    NotReproducible(usize),
    /// A key is not that of a setting.
    #[error("{key} is not a setting, or not set anywhere")]
    NoSetting {
        /// Key, as typed.
        key: String,
        /// Key that is like it.
        near: Option<String>,
    },
    /// A registry's name is not valid.
    #[error(transparent)]
    Registry(RegistryHostError),
    /// A registry does not take credentials, or cannot be asked.
    #[error("not logged in to {host}")]
    Refused {
        /// Registry.
        host: String,
        /// Cause.
        #[source]
        source: Box<RegistryExchangeError>,
    },
    /// Credentials cannot be kept or removed.
    #[error(transparent)]
    Login(LoginError),
    /// There are no credentials to remove.
    #[error("no credentials for {0} are kept here")]
    NotLoggedIn(String),
    /// No user is named, and there is no terminal to ask.
    #[error("no user is named")]
    NoUser,
    /// A user's name is not valid.
    #[error("{0:?} is not a name of a user at a registry: it is empty, or has a colon")]
    BadUser(String),
    /// No password is given.
    #[error("no password is given")]
    NoPassword,
    /// The password cannot be read.
    #[error("the password cannot be read")]
    Password(#[source] std::io::Error),
    /// An image is to be pushed, and has no name.
    #[error("--push: the image has no name")]
    PushWithoutName,
    /// The file for an image's id cannot be written.
    #[error("--iidfile: the image is built, but its id cannot be written")]
    IdFile(#[source] std::io::Error),
    /// A completion script cannot be made.
    #[error("the completion script cannot be made")]
    Completions(#[source] Option<std::io::Error>),
    /// Manual pages cannot be written.
    #[error("manual pages cannot be written")]
    Man(#[source] std::io::Error),
    /// No schema has a name.
    #[error("there is no schema for {name}")]
    NoSchema {
        /// Name, as typed.
        name: String,
        /// Name that is like it.
        near: Option<String>,
    },
    /// Past builds cannot be listed.
    #[error("the folder of past builds cannot be read")]
    History(#[source] std::io::Error),
    /// A log cannot be read.
    #[error("the log {} cannot be read", path.display())]
    Log {
        /// Log.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
}

fn not_the_same(count: usize) -> String {
    if count == 1 {
        "1 package is not the same".to_owned()
    } else {
        format!("{count} packages are not the same")
    }
}

fn names(features: &[Feature]) -> String {
    features.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

const LIST_BUILDS: &str = "list what was built: mkpanda log --list";

impl ToolError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoTier | Self::Lacking(_) => Some("the lines above have the remedies".to_owned()),
            Self::NotInCache(_) => {
                Some("build it before: mkpanda, in the folder of the package".to_owned())
            }
            Self::NoPackageNamed => {
                Some("name one: mkpanda log PACKAGE, or list all: mkpanda log --list".to_owned())
            }
            Self::NoBuild(_) => Some(LIST_BUILDS.to_owned()),
            Self::NeverBuilt { near, .. } => Some(meant_or(near.as_deref(), LIST_BUILDS)),
            Self::NoSetting { near, .. } => {
                Some(meant_or(near.as_deref(), "list all keys: mkpanda config"))
            }
            Self::NoSchema { near, .. } => {
                Some(meant_or(near.as_deref(), "list all: mkpanda schema"))
            }
            Self::Ambiguous { .. } => Some("type more of it".to_owned()),
            Self::Refused { host, source } => match &**source {
                RegistryExchangeError::Unauthorized { .. } => {
                    Some("look after the name and the password, or make a token there".to_owned())
                }
                RegistryExchangeError::Offline => Some("leave --offline out".to_owned()),
                // The other ones have an answer of the registry, or say what to do themselves.
                RegistryExchangeError::NotFound { .. }
                | RegistryExchangeError::Denied { .. }
                | RegistryExchangeError::Challenge { .. }
                | RegistryExchangeError::Credentials(_)
                | RegistryExchangeError::TooMany { .. }
                | RegistryExchangeError::Status { .. } => None,
                _ => Some(format!(
                    "if it speaks plain HTTP, say so in your config.toml:\n    [registries.\"{host}\"]\n    insecure = true\nif it has a CA of its own, name its file there:\n    [registries.\"{host}\"]\n    ca = \"FILE\""
                )),
            },
            Self::Login(error) => error.hint(),
            Self::NoUser => Some("name one: --username NAME".to_owned()),
            Self::NoPassword => {
                Some("type one at a terminal, or write it to stdin: --password-stdin".to_owned())
            }
            Self::PushWithoutName => Some("name it: --tag REGISTRY/PATH:TAG".to_owned()),
            Self::History(_)
            | Self::Compare(_)
            | Self::NotReproducible(_)
            | Self::IdFile(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Log { .. }
            | Self::Registry(_)
            | Self::NotLoggedIn(_)
            | Self::BadUser(_)
            | Self::Password(_) => None,
        }
    }
}
