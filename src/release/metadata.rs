//! `metadata.json`: the description of a release, in the original's form.
//!
//! Keys are sorted, the indentation is 2, and no newline ends the text. The default variant has the key
//! `null` in each mapping of variants.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::artifact::DescribedArtifact;
use super::layout::Commit;
use crate::base::digest::Sha1Sum;
use crate::package::json::indented;
use crate::package::{PackageId, Variant};

/// Name of the file.
pub const METADATA: &str = "metadata.json";
/// Upper limit of the file's length in bytes.
pub(super) const LONGEST: u64 = 64 << 20;

/// Packages of a tree variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// Id of the bootstrap.
    pub bootstrap: Sha1Sum,
    /// Packages, sorted by their ids.
    pub packages: Vec<PackageId>,
}

/// Description of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Commit of the tree.
    pub commit: Commit,
    /// Name that people gave to the release.
    pub tag: String,
    /// Packages of all trees, sorted by their ids.
    pub packages: Vec<PackageId>,
    /// Artifacts of the trees.
    pub core_artifacts: Vec<DescribedArtifact>,
    /// Artifacts of the channel.
    pub channel_artifacts: Vec<DescribedArtifact>,
    /// All tree variants.
    pub all_completes: BTreeMap<Variant, Complete>,
    /// Path of the repository.
    pub repository_path: String,
    /// URL of the repository.
    pub repository_url: String,
    /// Path of the channel.
    pub build_name: String,
    /// Path of the release.
    pub reproducible_artifact_path: String,
    /// URLs of the storages by their names.
    pub storage_urls: BTreeMap<String, String>,
    /// URL of the templates for AWS.
    pub cloudformation_s3_url_full: String,
    /// URL of the storage `azure`.
    pub azure_download_url: String,
}

/// Text in place of a missing URL of a storage `azure`.
pub(super) const NO_AZURE: &str = "https://AZURE NOT CONFIGURED, ADD A storage.azure section to dcos-release.config.yaml to use the Azure templates";

/// True if a tree variant is for machines, and not for an installer or tools.
pub fn is_deployed(variant: &Variant) -> bool {
    !variant.name().is_some_and(|name| name.ends_with("installer") || name.ends_with("util"))
}

impl Metadata {
    /// The variants that machines are set up with.
    pub fn deployed(&self) -> impl Iterator<Item = (&Variant, &Complete)> {
        self.all_completes.iter().filter(|(variant, _)| is_deployed(variant))
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let completes = |deployed: bool| {
            self.by_variant(deployed, |complete| {
                json!({ "bootstrap": complete.bootstrap, "packages": complete.packages })
            })
        };
        let bootstraps =
            |deployed: bool| self.by_variant(deployed, |complete| json!(complete.bootstrap));
        let artifacts = |artifacts: &[DescribedArtifact]| -> Value {
            artifacts.iter().map(DescribedArtifact::to_json).collect()
        };
        indented(&json!({
            "commit": self.commit,
            "tag": self.tag,
            "packages": self.packages,
            "core_artifacts": artifacts(&self.core_artifacts),
            "channel_artifacts": artifacts(&self.channel_artifacts),
            "all_completes": completes(false),
            "complete_dict": completes(true),
            "all_bootstraps": bootstraps(false),
            "bootstrap_dict": bootstraps(true),
            "repository_path": self.repository_path,
            "repository_url": self.repository_url,
            "build_name": self.build_name,
            "reproducible_artifact_path": self.reproducible_artifact_path,
            "storage_urls": self.storage_urls,
            "cloudformation_s3_url_full": self.cloudformation_s3_url_full,
            "azure_download_url": self.azure_download_url,
        }))
    }

    fn by_variant(&self, deployed: bool, value: impl Fn(&Complete) -> Value) -> Value {
        let chosen = self.all_completes.iter().filter(|(name, _)| !deployed || is_deployed(name));
        let entries = chosen.map(|(variant, complete)| {
            (variant.name().unwrap_or("null").to_owned(), value(complete))
        });
        Value::Object(entries.collect::<Map<_, _>>())
    }

    /// Reads a file; the error is a sentence. The text comes from a store, and may have any content.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|error| format!("it is not valid JSON: {error}"))?;
        let field = |key: &str| value.get(key).ok_or_else(|| format!("the key {key} is missing"));
        let string = |key: &str| {
            let text = field(key)?.as_str().ok_or_else(|| format!("{key} is not a text"))?;
            // Texts of a file that others may write go to terminals and into pages.
            if text.chars().any(char::is_control) {
                return Err(format!("{key} has control characters"));
            }
            Ok(text.to_owned())
        };
        let list = |key: &str| {
            field(key)?.as_array().ok_or_else(|| format!("{key} is not a list")).cloned()
        };
        let artifacts = |key: &str| -> Result<Vec<DescribedArtifact>, String> {
            list(key)?.iter().map(DescribedArtifact::read).collect()
        };
        let map = |key: &str| {
            field(key)?.as_object().ok_or_else(|| format!("{key} is not an object")).cloned()
        };
        let mut all_completes = BTreeMap::new();
        for (name, complete) in &map("all_completes")? {
            let variant = match name.as_str() {
                "null" => Variant::DEFAULT,
                name if name.contains(char::is_control) => {
                    return Err("all_completes: a variant has control characters".to_owned());
                }
                name => name.parse().map_err(|error| format!("all_completes: {error}"))?,
            };
            all_completes.insert(variant, Complete::read(name, complete)?);
        }
        if all_completes.is_empty() {
            return Err("all_completes is empty".to_owned());
        }
        let mut storage_urls = BTreeMap::new();
        for (name, url) in map("storage_urls")? {
            let url = url.as_str().ok_or_else(|| "storage_urls: a URL is not a text".to_owned())?;
            if name.chars().chain(url.chars()).any(char::is_control) {
                return Err("storage_urls has control characters".to_owned());
            }
            storage_urls.insert(name, url.to_owned());
        }
        Ok(Self {
            commit: string("commit")?.parse().map_err(|error| format!("{error}"))?,
            tag: string("tag")?,
            packages: ids("packages", field("packages")?)?,
            core_artifacts: artifacts("core_artifacts")?,
            channel_artifacts: artifacts("channel_artifacts")?,
            all_completes,
            repository_path: string("repository_path")?,
            repository_url: string("repository_url")?,
            build_name: string("build_name")?,
            reproducible_artifact_path: string("reproducible_artifact_path")?,
            storage_urls,
            cloudformation_s3_url_full: string("cloudformation_s3_url_full")?,
            azure_download_url: string("azure_download_url")?,
        })
    }
}

impl Complete {
    fn read(name: &str, value: &Value) -> Result<Self, String> {
        let bootstrap = value.get("bootstrap").and_then(Value::as_str);
        let bootstrap = bootstrap
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("all_completes: {name} has no bootstrap"))?;
        let packages = value.get("packages");
        let packages = packages.ok_or_else(|| format!("all_completes: {name} has no packages"))?;
        Ok(Self { bootstrap, packages: ids("packages", packages)? })
    }
}

/// Reads a list of package ids.
fn ids(key: &str, value: &Value) -> Result<Vec<PackageId>, String> {
    let items = value.as_array().ok_or_else(|| format!("{key} is not a list"))?;
    let id = |item: &Value| {
        let text = item.as_str().ok_or_else(|| format!("{key}: an id is not a text"))?;
        text.parse().map_err(|error| format!("{key}: {error}"))
    };
    items.iter().map(id).collect()
}

/// Packages in the order of their ids' texts, each once.
pub(super) fn sorted<'a>(packages: impl IntoIterator<Item = &'a PackageId>) -> Vec<PackageId> {
    let texts: BTreeSet<(String, &PackageId)> =
        packages.into_iter().map(|id| (id.to_string(), id)).collect();
    texts.into_iter().map(|(_, id)| id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../tests/data/release/metadata.json");

    #[test]
    fn the_text_is_the_originals_byte_for_byte() {
        let metadata = Metadata::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(metadata.text(), TEXT);
        let deployed: Vec<_> =
            metadata.deployed().map(|(variant, _)| variant.to_string()).collect();
        assert_eq!(deployed, ["<default>", "ee"]);
    }

    #[test]
    fn descriptions_from_stores_are_checked() {
        let value: Value = serde_json::from_str(TEXT).unwrap();
        let parsed = |value: &Value| Metadata::parse(value.to_string().as_bytes());
        for key in value.as_object().unwrap().keys() {
            let derived = ["complete_dict", "all_bootstraps", "bootstrap_dict"];
            let mut without = value.clone();
            without.as_object_mut().unwrap().remove(key);
            assert_eq!(parsed(&without).is_ok(), derived.contains(&key.as_str()), "{key}");
            without[key] = json!(1);
            assert_eq!(parsed(&without).is_ok(), derived.contains(&key.as_str()), "{key}");
        }
        for (pointer, wrong) in [
            ("/commit", json!("../x")),
            ("/tag", json!("a\u{1b}[1m")),
            ("/packages/0", json!("../../x")),
            ("/core_artifacts/0/reproducible_path", json!("../x")),
            ("/channel_artifacts/0", json!({})),
            ("/all_completes/null/bootstrap", json!("x")),
            ("/all_completes", json!({})),
            ("/storage_urls/aws", json!(1)),
            ("/storage_urls/aws", json!("https://a/\u{1b}[1m")),
            ("/storage_urls", json!({ "a\nb": "https://a/" })),
            (
                "/all_completes",
                json!({ "null": value["all_completes"]["null"], "a\u{1b}[31m": value["all_completes"]["null"] }),
            ),
        ] {
            let mut value = value.clone();
            *value.pointer_mut(pointer).unwrap() = wrong;
            assert!(parsed(&value).is_err(), "{pointer}");
        }
        assert!(Metadata::parse(b"[").is_err() && Metadata::parse(b"[]").is_err());
    }
}
