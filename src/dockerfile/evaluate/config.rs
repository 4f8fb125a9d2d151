//! An image's configuration as a document to be changed: the base image's configuration, modified
//! by instructions. Docker's extensions of the OCI format are kept: Healthcheck, `OnBuild` and
//! Shell.
//!
//! Additional keys of other tools (the id of a container, its host's name) are left out, so that
//! the same instructions give the same bytes. Keys are in the order of the OCI specification, and
//! maps in the order of their keys.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::go_json;
use crate::image::config::{CONFIG, ImageConfigError};
use crate::image::digest::DiffId;
use crate::image::platform::Platform;

/// An image's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDocument {
    /// Creation time in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Author of the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Architecture.
    #[serde(default, deserialize_with = "nullable")]
    pub architecture: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Operating system.
    #[serde(default, deserialize_with = "nullable")]
    pub os: String,
    /// Settings for processes.
    #[serde(default, deserialize_with = "nullable")]
    pub config: Execution,
    /// Layers.
    pub rootfs: Root,
    /// History, one record per instruction.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// Settings for processes in an image, and further metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Execution {
    /// USER.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// EXPOSE: `port/protocol`.
    #[serde(deserialize_with = "keys", serialize_with = "as_keys")]
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub exposed_ports: BTreeSet<String>,
    /// ENV: `name=value`.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// ENTRYPOINT; a missing and an empty list differ in images built on top.
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// CMD.
    #[serde(deserialize_with = "words", skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// HEALTHCHECK.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthDocument>,
    /// VOLUME.
    #[serde(deserialize_with = "keys", serialize_with = "as_keys")]
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub volumes: BTreeSet<String>,
    /// WORKDIR.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// LABEL.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// STOPSIGNAL.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// ONBUILD: unparsed instructions.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// SHELL.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// HEALTHCHECK as configurations have it. Times are in nanoseconds, and 0 inherits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthDocument {
    /// `NONE`, `CMD` and arguments, or `CMD-SHELL` and a line.
    #[serde(deserialize_with = "nullable")]
    pub test: Vec<String>,
    /// `--interval`.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: u64,
    /// `--timeout`.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: u64,
    /// `--start-period`.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: u64,
    /// `--start-interval`.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: u64,
    /// `--retries`.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u64,
}

/// The layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// `layers`.
    #[serde(rename = "type")]
    kind: String,
    /// Their diff ids, the lowest first.
    #[serde(default, deserialize_with = "nullable")]
    pub diff_ids: Vec<DiffId>,
}

/// History record of an instruction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// Creation time in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// Author.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// True if the instruction made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl ConfigDocument {
    /// The configuration of `FROM scratch`.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            created: None,
            author: None,
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            config: Execution::default(),
            rootfs: Root { kind: "layers".to_owned(), diff_ids: Vec::new() },
            history: Vec::new(),
        }
    }

    /// Reads a configuration's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageConfigError> {
        let document: Self = go_json::parse(bytes, &CONFIG).map_err(ImageConfigError::Shape)?;
        if document.rootfs.kind != "layers" {
            return Err(ImageConfigError::Root(document.rootfs.kind));
        }
        Ok(document)
    }

    /// The configuration's bytes, whose digest is the image's id.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// The value of a variable of its environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let named = |item: &str| item.split_once('=').is_some_and(|(key, _)| key == name);
        // From the end: of a name that is there twice, the last counts.
        let item = self.config.env.iter().rev().find(|item| named(item))?;
        item.split_once('=').map(|(_, value)| value)
    }

    /// Gives the history a line for each layer. Some bases have none, and containers/image refuses to
    /// go on with an image that has fewer lines than layers.
    pub(super) fn complete_history(&mut self) {
        let told = self.history.iter().filter(|line| !line.empty_layer).count();
        let untold = self.rootfs.diff_ids.len().saturating_sub(told);
        let line =
            || History { comment: Some("a layer of the base".to_owned()), ..History::default() };
        self.history.splice(..0, std::iter::repeat_with(line).take(untold));
    }

    /// Sets a variable of its environment, in the place of an older value.
    pub(super) fn set_variable(&mut self, name: &str, value: &str) {
        let item = format!("{name}={value}");
        let own = |old: &&mut String| old.split_once('=').is_some_and(|(key, _)| key == name);
        match self.config.env.iter_mut().find(own) {
            Some(old) => *old = item,
            None => self.config.env.push(item),
        }
    }
}

fn nullable<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Old images have a single word where a list belongs.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum WordOrList {
        List(Vec<String>),
        One(String),
    }
    Ok(Option::<WordOrList>::deserialize(deserializer)?.map(|words| match words {
        WordOrList::List(list) => list,
        WordOrList::One(word) if word.is_empty() => Vec::new(),
        WordOrList::One(word) => vec![word],
    }))
}

fn keys<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let map = Option::<BTreeMap<String, serde_json::Value>>::deserialize(deserializer)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

fn as_keys<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let empty = serde_json::Map::new();
    // An object of empty objects: Go's `map[string]struct{}`, as the OCI image configuration has
    // it.
    serializer.collect_map(set.iter().map(|key| (key, &empty)))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_without_a_line_of_history_get_one_below_the_others() {
        let digest = |digit: &str| format!("\"sha256:{}\"", digit.repeat(64));
        let text = format!(
            r#"{{"rootfs":{{"type":"layers","diff_ids":[{},{}]}},
                "history":[{{"created_by":"x","empty_layer":true}},{{"created_by":"y"}}]}}"#,
            digest("1"),
            digest("2")
        );
        let mut document = ConfigDocument::parse(text.as_bytes()).unwrap();
        document.complete_history();
        let once = document.clone();
        document.complete_history();
        assert_eq!(document, once);
        let lines = document.history.iter().map(|it| (it.created_by.as_deref(), it.empty_layer));
        let expected = [(None, false), (Some("x"), true), (Some("y"), false)];
        assert_eq!(lines.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_read_is_written_again_without_what_is_other_tools_business() {
        let text = r#"{"created":"2020-01-01T00:00:00Z","architecture":"amd64","os":"linux",
            "container":"abc","config":{"Hostname":"h","ExposedPorts":{"80/tcp":{}},"Env":["A=1"],
            "Entrypoint":null,"Cmd":"top","Volumes":null,"OnBuild":["RUN x"],"Shell":["/bin/sh"],
            "Healthcheck":{"Test":["NONE"],"Interval":5}},
            "rootfs":{"type":"layers","diff_ids":null},"history":[{"created_by":"x","empty_layer":true}]}"#;
        let document = ConfigDocument::parse(text.as_bytes()).unwrap();
        let written = String::from_utf8(document.to_bytes().unwrap()).unwrap();
        assert_eq!(
            written,
            concat!(
                r#"{"created":"2020-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":"#,
                r#"{"ExposedPorts":{"80/tcp":{}},"Env":["A=1"],"Cmd":["top"],"Healthcheck":"#,
                r#"{"Test":["NONE"],"Interval":5},"OnBuild":["RUN x"],"Shell":["/bin/sh"]},"#,
                r#""rootfs":{"type":"layers","diff_ids":[]},"#,
                r#""history":[{"created_by":"x","empty_layer":true}]}"#,
            )
        );
        assert_eq!(ConfigDocument::parse(written.as_bytes()).unwrap(), document);
    }

    #[test]
    fn variables_keep_their_places() {
        let mut document = ConfigDocument::scratch(&Platform::host());
        for (name, value) in [("A", "1"), ("B", "x=y"), ("A", "2"), ("C", "")] {
            document.set_variable(name, value);
        }
        assert_eq!(document.config.env, ["A=2", "B=x=y", "C="]);
        assert_eq!(document.variable("B"), Some("x=y"));
        assert_eq!(document.variable("D"), None);
    }
}
