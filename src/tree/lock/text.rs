//! Text of a lock: TOML with one entry a line, sorted, so that two branches of a repository seldom change the
//! same line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use toml::Spanned;

use super::{SourceKey, Sources, TreeLock};
use crate::base::digest::{Sha1Sum, Sha256Sum};
use crate::base::serde_words;
use crate::base::text::toml_string;
use crate::image::digest::{BlobDigest, ImageId};
use crate::image::pins::{ImageKey, ImagePin, PinnedImages};
use crate::image::platform::Platform;
use crate::image::reference::ImageRef;
use crate::package::{CommitId, Problem};
use crate::source::{AddedKey, AddedPin, AddedSources, FilePin};

/// Version of the format.
const VERSION: u32 = 1;

#[derive(Deserialize)]
struct VersionField {
    version: Spanned<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LockDocument {
    #[serde(rename = "version")]
    _version: u32,
    #[serde(default)]
    upstreams: Vec<Spanned<SourceLine>>,
    #[serde(default)]
    sources: Vec<Spanned<SourceLine>>,
    #[serde(default)]
    images: Vec<Spanned<ImageLine>>,
    #[serde(default)]
    base_images: Vec<Spanned<ImageLine>>,
    #[serde(default)]
    added: Vec<Spanned<AddedLine>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AddedLine {
    git: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    commit: Option<CommitId>,
    url: Option<String>,
    sha256: Option<Sha256Sum>,
    size: Option<u64>,
}

impl AddedLine {
    fn read(self) -> Option<(AddedKey, AddedPin)> {
        let Self { git, reference, commit, url, sha256, size } = self;
        Some(match (git, reference, commit, url, sha256, size) {
            (Some(url), Some(reference), Some(commit), None, None, None) => {
                (AddedKey::Git { url, reference }, AddedPin::Commit(commit))
            }
            (None, None, None, Some(url), Some(sha256), Some(size)) => {
                (AddedKey::File { url }, AddedPin::File(FilePin { sha256, size }))
            }
            _ => return None,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceLine {
    git: Option<String>,
    git_local: Option<String>,
    url: Option<String>,
    commit: Option<CommitId>,
    sha1: Option<Sha1Sum>,
    sha256: Option<Sha256Sum>,
    size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageLine {
    name: ImageRef,
    platform: Spanned<String>,
    manifest: BlobDigest,
    id: ImageId,
}

impl SourceLine {
    fn read(self) -> Option<(SourceKey, Option<FilePin>)> {
        let Self { git, git_local, url, commit, sha1, sha256, size } = self;
        Some(match (git, git_local, url, commit, sha1, sha256, size) {
            // Every field is named, so that a line with the fields of two kinds is refused, not
            // read as one of them.
            (Some(url), None, None, Some(commit), None, None, None) => {
                (SourceKey::Git { url, commit }, None)
            }
            (None, Some(rel_path), None, Some(commit), None, None, None) => {
                (SourceKey::GitLocal { rel_path, commit }, None)
            }
            (None, None, Some(url), None, Some(sha1), Some(sha256), Some(size)) => {
                (SourceKey::File { url, sha1 }, Some(FilePin { sha256, size }))
            }
            _ => return None,
        })
    }
}

impl TreeLock {
    /// Reads the text of a lock.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        // The version first, and alone: a lock of a later version has fields that would be reported
        // as unknown, which hides what is really the matter.
        let VersionField { version } = from_toml(text)?;
        if *version.as_ref() != VERSION {
            let message = format!("this is version {} of the format", version.as_ref());
            return Err(Problem::at(version.span().start, message).hint(format!(
                "this mkpanda reads version {VERSION}: use the mkpanda that wrote the file"
            )));
        }
        let document: LockDocument = from_toml(text)?;
        Ok(Self {
            path: std::path::PathBuf::new(),
            upstreams: sources(document.upstreams)?,
            sources: sources(document.sources)?,
            images: images(document.images)?,
            base_images: images(document.base_images)?,
            added: added(document.added)?,
        })
    }

    /// Writes the text of the lock. The same lock has the same text.
    pub fn to_text(&self) -> String {
        let mut text = format!(
            "# What builds of this tree take from elsewhere. Written by `mkpanda lock`.\nversion = {VERSION}\n"
        );
        for (name, sources) in [("upstreams", &self.upstreams), ("sources", &self.sources)] {
            let lines = sources.iter().map(|(key, pin)| source_line(key, pin.as_ref()));
            push_list(&mut text, name, lines);
        }
        for (name, images) in [("images", &self.images), ("base_images", &self.base_images)] {
            push_list(&mut text, name, images.iter().map(|(key, pin)| image_line(key, pin)));
        }
        push_list(&mut text, "added", self.added.iter().map(|(key, pin)| added_line(key, pin)));
        text
    }
}

fn push_list(text: &mut String, name: &str, lines: impl Iterator<Item = String>) {
    let _ = writeln!(text, "\n{name} = [");
    lines.for_each(|line| {
        let _ = writeln!(text, "  {line},");
    });
    text.push_str("]\n");
}

/// Line of a source.
pub fn source_line(key: &SourceKey, pin: Option<&FilePin>) -> String {
    let (kind, place) = key.place();
    let place = toml_string(place);
    match (key, pin) {
        (SourceKey::File { sha1, .. }, Some(FilePin { sha256, size })) => format!(
            "{{ {kind} = {place}, sha1 = \"{sha1}\", sha256 = \"{sha256}\", size = {size} }}"
        ),
        (SourceKey::File { sha1, .. }, None) => {
            format!("{{ {kind} = {place}, sha1 = \"{sha1}\" }}")
        }
        (SourceKey::Git { commit, .. } | SourceKey::GitLocal { commit, .. }, _) => {
            format!("{{ {kind} = {place}, commit = \"{commit}\" }}")
        }
    }
}

/// Line of an image.
pub fn image_line(key: &ImageKey, pin: &ImagePin) -> String {
    let (ImageKey { name, platform }, ImagePin { manifest, id }) = (key, pin);
    format!(
        "{{ name = \"{name}\", platform = \"{platform}\", manifest = \"{manifest}\", id = \"{id}\" }}"
    )
}

/// Line of a source of ADD.
pub fn added_line(key: &AddedKey, pin: &AddedPin) -> String {
    let place = toml_string(key.url());
    let reference = match key {
        AddedKey::Git { reference, .. } => {
            format!("git = {place}, ref = {}", toml_string(reference))
        }
        AddedKey::File { .. } => format!("url = {place}"),
    };
    match pin {
        AddedPin::Commit(commit) => format!("{{ {reference}, commit = \"{commit}\" }}"),
        AddedPin::File(FilePin { sha256, size }) => {
            format!("{{ {reference}, sha256 = \"{sha256}\", size = {size} }}")
        }
    }
}

fn from_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
    toml::from_str(text).map_err(|error| {
        let offset = error.span().map(|span| span.start);
        // A merge may have left its marks in the file, and everything in it can be found out anew.
        let hint = "remove this file, and write it anew: mkpanda lock".to_owned();
        Problem { offset, message: serde_words::plain(error.message()).0, hint: Some(hint) }
    })
}

fn sources(lines: Vec<Spanned<SourceLine>>) -> Result<Sources, Problem> {
    let mut found = BTreeMap::new();
    for line in lines {
        let at = line.span().start;
        let Some((key, pin)) = line.into_inner().read() else {
            let message =
                "a source needs git or git_local and commit, or url, sha1, sha256 and size";
            return Err(Problem::at(at, message));
        };
        // Places are shown in messages, and a lock comes with a tree of others.
        if key.place().1.chars().any(char::is_control) {
            return Err(Problem::at(at, "a place has no control characters"));
        }
        insert(&mut found, key, pin, at)?;
    }
    Ok(found)
}

fn images(lines: Vec<Spanned<ImageLine>>) -> Result<PinnedImages, Problem> {
    let mut found = BTreeMap::new();
    for line in lines {
        let at = line.span().start;
        let ImageLine { name, platform, manifest, id } = line.into_inner();
        let place = platform.span().start;
        let platform: Platform = platform
            .into_inner()
            .parse()
            .map_err(|error| Problem::at(place, format!("platform: {error}")))?;
        insert(&mut found, ImageKey { name, platform }, ImagePin { manifest, id }, at)?;
    }
    Ok(found)
}

fn added(lines: Vec<Spanned<AddedLine>>) -> Result<AddedSources, Problem> {
    let mut found = BTreeMap::new();
    for line in lines {
        let at = line.span().start;
        let Some((key, pin)) = line.into_inner().read() else {
            let message = "what is added has git, ref and commit, or url, sha256 and size";
            return Err(Problem::at(at, message));
        };
        if key.to_string().chars().any(char::is_control) {
            return Err(Problem::at(at, "a place has no control characters"));
        }
        insert(&mut found, key, pin, at)?;
    }
    Ok(found)
}

/// Adds an entry, which may be there twice after a merge, but not with two contents.
fn insert<K: Ord + Clone, V: PartialEq>(
    found: &mut BTreeMap<K, V>,
    key: K,
    value: V,
    at: usize,
) -> Result<(), Problem> {
    match found.get(&key) {
        Some(known) if *known != value => {
            Err(Problem::at(at, "an earlier line pins the same to another value")
                .hint("remove one of the two lines, or remove both and run: mkpanda lock"))
        }
        _ => {
            found.insert(key, value);
            Ok(())
        }
    }
}
