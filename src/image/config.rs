//! What an image's configuration says: which layers it has, and how a process runs in it.
//!
//! The configuration's bytes are kept as they came, since their digest is the image's id; this is
//! the part of them that counts here. Unknown keys are other tools' business.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::DiffId;
use super::platform::Platform;

/// An image's configuration, as far as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// What the image was made for; fields are empty where it doesn't say.
    pub platform: Platform,
    /// When it was made, as it says itself (RFC 3339).
    pub created: Option<String>,
    /// The layers' diff ids, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// How a process runs in it.
    pub run: RunConfig,
}

/// How a process runs in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConfig {
    /// What stands before any command.
    pub entrypoint: Vec<String>,
    /// The command, if the caller has none.
    pub cmd: Vec<String>,
    /// The environment, each name once.
    pub env: Vec<(String, String)>,
    /// The user as written, to be looked up in the image's own files
    /// ([`resolve_user`](super::user::resolve_user)); empty for root.
    pub user: String,
    /// The absolute folder that processes start in.
    pub working_dir: PathBuf,
}

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It isn't JSON, or not of a configuration's shape.
    #[error("the image's configuration can't be read: {0}")]
    Shape(serde_json::Error),
    /// Its file system isn't made of layers.
    #[error("the image's root is of the kind {0:?}; only \"layers\" is known")]
    Root(String),
    /// A text has a NUL byte, which no process can be given.
    #[error("the image's {field} has a NUL byte inside")]
    Nul {
        /// The field.
        field: &'static str,
    },
    /// An item of the environment has no name.
    #[error("the image's environment has {0:?}, which is not NAME=VALUE")]
    Env(String),
    /// The working directory can't be one.
    #[error("the image's working directory {0:?} is not an absolute path without ..")]
    WorkingDir(String),
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    config: Option<RawRun>,
    rootfs: RawRoot,
}

#[derive(Deserialize)]
struct RawRoot {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    diff_ids: Option<Vec<DiffId>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawRun {
    entrypoint: Option<Words>,
    cmd: Option<Words>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
}

/// Old images have a single word where a list belongs.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    List(Vec<String>),
    One(String),
}

impl ImageConfig {
    /// Reads a configuration's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        let raw: RawConfig = serde_json::from_slice(bytes).map_err(ConfigError::Shape)?;
        if raw.rootfs.kind != "layers" {
            return Err(ConfigError::Root(raw.rootfs.kind));
        }
        Ok(Self {
            platform: Platform {
                os: raw.os.unwrap_or_default(),
                architecture: raw.architecture.unwrap_or_default(),
                variant: raw.variant.filter(|variant| !variant.is_empty()),
            },
            created: raw.created,
            diff_ids: raw.rootfs.diff_ids.unwrap_or_default(),
            run: run_config(raw.config.unwrap_or_default())?,
        })
    }
}

impl RunConfig {
    /// The words that run `command`, or the image's own command where there is none.
    pub fn words(&self, command: &[String]) -> Vec<String> {
        let command = if command.is_empty() { &self.cmd } else { command };
        self.entrypoint.iter().chain(command).cloned().collect()
    }
}

fn run_config(raw: RawRun) -> Result<RunConfig, ConfigError> {
    let user = raw.user.unwrap_or_default();
    no_nul("user", &user)?;
    Ok(RunConfig {
        entrypoint: words("entrypoint", raw.entrypoint)?,
        cmd: words("command", raw.cmd)?,
        env: environment(raw.env.unwrap_or_default())?,
        user,
        working_dir: working_dir(raw.working_dir.unwrap_or_default())?,
    })
}

fn words(field: &'static str, words: Option<Words>) -> Result<Vec<String>, ConfigError> {
    let words = match words {
        None => Vec::new(),
        Some(Words::List(list)) => list,
        Some(Words::One(word)) => vec![word],
    };
    words.iter().try_for_each(|word| no_nul(field, word))?;
    Ok(words)
}

fn environment(items: Vec<String>) -> Result<Vec<(String, String)>, ConfigError> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(items.len());
    let mut known: HashMap<String, usize> = HashMap::new();
    for item in items {
        no_nul("environment", &item)?;
        let (name, value) = match item.split_once('=') {
            Some((name, value)) if !name.is_empty() => (name.to_owned(), value.to_owned()),
            _ => return Err(ConfigError::Env(item)),
        };
        match known.entry(name) {
            Entry::Occupied(known) => env[*known.get()].1 = value,
            Entry::Vacant(new) => {
                env.push((new.key().clone(), value));
                new.insert(env.len() - 1);
            }
        }
    }
    Ok(env)
}

fn working_dir(text: String) -> Result<PathBuf, ConfigError> {
    no_nul("working directory", &text)?;
    if text.is_empty() {
        return Ok(PathBuf::from("/"));
    }
    let path = Path::new(&text);
    if path.is_absolute() && !path.components().any(|part| part == Component::ParentDir) {
        Ok(path.components().collect())
    } else {
        Err(ConfigError::WorkingDir(text))
    }
}

fn no_nul(field: &'static str, text: &str) -> Result<(), ConfigError> {
    if text.contains('\0') { Err(ConfigError::Nul { field }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(config: &str) -> Result<RunConfig, String> {
        let text = format!(r#"{{"config": {config}, "rootfs": {{"type": "layers"}}}}"#);
        ImageConfig::parse(text.as_bytes())
            .map(|config| config.run)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_missing_or_null_has_its_default() {
        for config in ["null", "{}", r#"{"Env": null, "Cmd": null, "User": "", "WorkingDir": ""}"#]
        {
            let run = parse(config).unwrap();
            assert_eq!(run.working_dir, Path::new("/"));
            assert!(run.entrypoint.is_empty() && run.env.is_empty() && run.user.is_empty());
        }
    }

    #[test]
    fn entrypoint_and_command_make_the_words() {
        let run = parse(
            r#"{"Entrypoint": ["/bin/bash", "-e"], "Cmd": "top", "WorkingDir": "/a/./b/",
            "Env": ["A=1", "B=x=y", "A=2", "C="], "User": "1000:dcos"}"#,
        )
        .unwrap();
        assert_eq!(run.words(&[]), ["/bin/bash", "-e", "top"]);
        assert_eq!(run.words(&["x".to_owned()]), ["/bin/bash", "-e", "x"]);
        let env: Vec<_> = run.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["A=2", "B=x=y", "C="]);
        assert_eq!((run.user.as_str(), run.working_dir.to_str().unwrap()), ("1000:dcos", "/a/b"));
    }

    #[test]
    fn what_no_process_can_be_given_is_refused() {
        for (config, message) in [
            (r#"{"Env": ["PATH"]}"#, "not NAME=VALUE"),
            (r#"{"Env": ["=x"]}"#, "not NAME=VALUE"),
            (r#"{"Env": ["A=\u0000"]}"#, "environment has a NUL"),
            (r#"{"Entrypoint": ["a\u0000"]}"#, "entrypoint has a NUL"),
            (r#"{"WorkingDir": "a"}"#, "working directory"),
            (r#"{"WorkingDir": "/a/../b"}"#, "working directory"),
            (r#"{"Cmd": 1}"#, "can't be read"),
        ] {
            let error = parse(config).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
        let other = br#"{"rootfs": {"type": "tarballs"}}"#;
        assert!(ImageConfig::parse(other).is_err());
    }
}
