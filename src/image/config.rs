//! Image configurations: the layers of an image, and the settings for its processes.
//!
//! The configuration's bytes are kept unchanged, since their digest is the image's id. The types
//! here hold the fields that count for a build; unknown keys belong to other tools.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::digest::DiffId;
use super::platform::Platform;
use crate::base::go_json::{self, Shape};

/// An image's configuration, as far as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// Target platform of the image; fields are empty where the configuration omits them.
    pub platform: Platform,
    /// Creation time as written in the configuration (RFC 3339).
    pub created: Option<String>,
    /// The layers' diff ids, the lowest first.
    pub diff_ids: Vec<DiffId>,
    /// Settings for a process in the image.
    pub run: RunConfig,
}

/// Settings for a process in an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunConfig {
    /// Words before any command.
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
    /// Reason why no process can run with these settings, if any. The image can still be copied and
    /// built upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusable: Option<String>,
}

/// Problem with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ImageConfigError {
    /// It isn't JSON, or not of a configuration's shape.
    #[error("the image's configuration can't be read: {0}")]
    Shape(serde_json::Error),
    /// Its file system isn't made of layers.
    #[error("the image's root is of the kind {0:?}; only \"layers\" is known")]
    Root(String),
}

/// Form of a configuration.
pub const CONFIG: Shape = Shape::Structure(&[
    ("architecture", Shape::Any),
    ("os", Shape::Any),
    ("variant", Shape::Any),
    ("created", Shape::Any),
    ("author", Shape::Any),
    (
        "config",
        Shape::Structure(&[
            ("Entrypoint", Shape::Any),
            ("Cmd", Shape::Any),
            ("Env", Shape::Any),
            ("User", Shape::Any),
            ("WorkingDir", Shape::Any),
            ("ExposedPorts", Shape::Map(&Shape::Structure(&[]))),
            ("Volumes", Shape::Map(&Shape::Structure(&[]))),
            ("Labels", Shape::Map(&Shape::Any)),
            ("StopSignal", Shape::Any),
            ("OnBuild", Shape::Any),
            ("Shell", Shape::Any),
            (
                "Healthcheck",
                Shape::Structure(&[
                    ("Test", Shape::Any),
                    ("Interval", Shape::Any),
                    ("Timeout", Shape::Any),
                    ("StartPeriod", Shape::Any),
                    ("StartInterval", Shape::Any),
                    ("Retries", Shape::Any),
                ]),
            ),
        ]),
    ),
    ("rootfs", Shape::Structure(&[("type", Shape::Any), ("diff_ids", Shape::Any)])),
    (
        "history",
        Shape::List(&Shape::Structure(&[
            ("created", Shape::Any),
            ("created_by", Shape::Any),
            ("author", Shape::Any),
            ("comment", Shape::Any),
            ("empty_layer", Shape::Any),
        ])),
    ),
]);

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
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    diff_ids: Option<Vec<DiffId>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawRun {
    entrypoint: Option<WordOrList>,
    cmd: Option<WordOrList>,
    env: Option<Vec<String>>,
    user: Option<String>,
    working_dir: Option<String>,
}

/// Old images have a single word where a list belongs.
#[derive(Deserialize)]
#[serde(untagged)]
enum WordOrList {
    List(Vec<String>),
    One(String),
}

impl ImageConfig {
    /// Reads a configuration's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageConfigError> {
        let raw: RawConfig = go_json::parse(bytes, &CONFIG).map_err(ImageConfigError::Shape)?;
        // Programs in Go write an empty text for one that is absent.
        if let Some(kind) = raw.rootfs.kind.filter(|kind| !["layers", ""].contains(&kind.as_str()))
        {
            return Err(ImageConfigError::Root(kind));
        }
        Ok(Self {
            platform: Platform {
                os: raw.os.unwrap_or_default(),
                architecture: raw.architecture.unwrap_or_default(),
                variant: raw.variant.filter(|variant| !variant.is_empty()),
            },
            created: raw.created.filter(|created| !created.is_empty()),
            diff_ids: raw.rootfs.diff_ids.unwrap_or_default(),
            run: run_config(raw.config.unwrap_or_default()),
        })
    }
}

impl RunConfig {
    /// Words of the process for `command`, or for the image's own command by default.
    pub fn words(&self, command: &[String]) -> Vec<String> {
        let command = if command.is_empty() { &self.cmd } else { command };
        self.entrypoint.iter().chain(command).cloned().collect()
    }
}

fn run_config(raw: RawRun) -> RunConfig {
    let (env, user) = (raw.env.unwrap_or_default(), raw.user.unwrap_or_default());
    let (entrypoint, cmd) = (words(raw.entrypoint), words(raw.cmd));
    let working_dir = raw.working_dir.unwrap_or_default();
    let unusable = first_nul("user", [&user])
        .or_else(|| first_nul("entrypoint", &entrypoint))
        .or_else(|| first_nul("command", &cmd))
        .or_else(|| fault_of_environment(&env))
        .or_else(|| fault_of_working_dir(&working_dir));
    RunConfig {
        working_dir: match fault_of_working_dir(&working_dir) {
            None if !working_dir.is_empty() => Path::new(&working_dir).components().collect(),
            _ => PathBuf::from("/"),
        },
        env: environment(&env),
        entrypoint,
        cmd,
        user,
        unusable,
    }
}

fn words(words: Option<WordOrList>) -> Vec<String> {
    match words {
        None => Vec::new(),
        Some(WordOrList::List(list)) => list,
        Some(WordOrList::One(word)) if word.is_empty() => Vec::new(),
        Some(WordOrList::One(word)) => vec![word],
    }
}

fn environment(items: &[String]) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::with_capacity(items.len());
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (name, value) in items.iter().filter_map(|item| variable(item)) {
        match known.entry(name) {
            // The last value counts, in the place of the first: a process sees each name once.
            Entry::Occupied(known) => value.clone_into(&mut env[*known.get()].1),
            Entry::Vacant(new) => {
                new.insert(env.len());
                env.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    env
}

/// The name and the value of an item of an environment.
fn variable(item: &str) -> Option<(&str, &str)> {
    item.split_once('=').filter(|(name, _)| !name.is_empty())
}

/// The fault of an image's environment that keeps every process from being run with it.
pub fn fault_of_environment(items: &[String]) -> Option<String> {
    // Kept as a fault instead of an error: the image can still be listed, saved and pushed.
    let odd = items.iter().find(|item| variable(item).is_none());
    first_nul("environment", items).or_else(|| {
        odd.map(|item| format!("the image's environment has {item:?}, which is not NAME=VALUE"))
    })
}

/// The fault of an image's working directory that keeps every process from being run there.
pub fn fault_of_working_dir(text: &str) -> Option<String> {
    let path = Path::new(text);
    let is_usable = path.is_absolute() && !path.components().any(|it| it == Component::ParentDir);
    first_nul("working directory", [text]).or_else(|| {
        let fault =
            || format!("the image's working directory {text:?} is not an absolute path without ..");
        (!text.is_empty() && !is_usable).then(fault)
    })
}

fn first_nul<'t>(
    field: &str,
    texts: impl IntoIterator<Item = &'t (impl AsRef<str> + 't + ?Sized)>,
) -> Option<String> {
    let has_nul = texts.into_iter().any(|text| text.as_ref().contains('\0'));
    has_nul.then(|| format!("the image's {field} has a NUL byte inside"))
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
    fn what_no_process_can_be_given_is_noted_and_may_be_copied() {
        for (config, message) in [
            (r#"{"Env": ["PATH"]}"#, "not NAME=VALUE"),
            (r#"{"Env": ["=x"]}"#, "not NAME=VALUE"),
            (r#"{"Env": [null]}"#, "not NAME=VALUE"),
            (r#"{"Env": ["A=\u0000"]}"#, "environment has a NUL"),
            (r#"{"Entrypoint": ["a\u0000"]}"#, "entrypoint has a NUL"),
            (r#"{"User": "a\u0000"}"#, "user has a NUL"),
            (r#"{"WorkingDir": "a"}"#, "working directory"),
            (r#"{"WorkingDir": "/a/../b"}"#, "working directory"),
        ] {
            let unusable = parse(config).unwrap().unusable.unwrap();
            assert!(unusable.contains(message), "{unusable}");
        }
        let error = parse(r#"{"Cmd": 1}"#).unwrap_err();
        assert!(error.contains("can't be read"), "{error}");
        for (root, is_known) in [
            (r#"{"type": "tarballs"}"#, false),
            (r#"{"type": ""}"#, true),
            (r#"{"type": null}"#, true),
            ("{}", true),
        ] {
            let text = format!(r#"{{"rootfs": {root}}}"#);
            assert_eq!(ImageConfig::parse(text.as_bytes()).is_ok(), is_known, "{root}");
        }
    }

    #[test]
    fn a_second_object_is_merged_with_the_first() {
        let text = br#"{"config": {"User": "1000"}, "config": {"Env": ["A=1"]},
            "rootfs": {"type": "layers"}, "rootfs": {"diff_ids": []}}"#;
        let run = ImageConfig::parse(text).unwrap().run;
        assert_eq!((run.user.as_str(), run.env.len()), ("1000", 1));
    }

    #[test]
    fn keys_count_in_any_case() {
        let text = br#"{"OS": "linux", "Architecture": "amd64", "Config": {"user": "1000", "ENV": ["A=1"],
            "workingdir": "/w", "entryPoint": null, "cmd": ""}, "RootFS": {"Type": "layers", "DIFF_IDS": null}}"#;
        let config = ImageConfig::parse(text).unwrap();
        assert_eq!(config.platform.to_string(), "linux/amd64");
        let run = config.run;
        assert_eq!((run.user.as_str(), run.working_dir.to_str()), ("1000", Some("/w")));
        assert_eq!(run.env, [("A".to_owned(), "1".to_owned())]);
        assert!(run.words(&[]).is_empty() && run.unusable.is_none());
    }
}
