//! Differences between two releases: packages, with their sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::error::ReleaseError;
use super::fetch;
use super::metadata::Metadata;
use super::parallel::each;
use super::storage::Storage;
use crate::archive::ArchiveLimits;
use crate::artifact::repository::check_package;
use crate::base::event::Observer;
use crate::base::http::redact_text;
use crate::build::cache::Cache;
use crate::package::paths::package_path;
use crate::package::{PackageId, PackageName, Variant, contents};
use crate::store::signature::TrustedKeys;

/// Number of digits that are shown of a commit or a sum.
const SHOWN_DIGITS: usize = 12;

/// A package of a release, and its sources by name: a git reference with its commit, or a URL with its
/// sum. `None` if the package does not tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedPackage {
    /// The package.
    pub id: PackageId,
    /// Sources of the build.
    pub sources: Option<BTreeMap<String, String>>,
}

/// A package name with other ids in the two releases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// The name.
    pub name: PackageName,
    /// Packages that only the first release has.
    pub from: Vec<ReleasedPackage>,
    /// Packages that only the second release has.
    pub to: Vec<ReleasedPackage>,
}

/// Differences between two releases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// Packages whose names only the second release has.
    pub added: Vec<ReleasedPackage>,
    /// Packages whose names only the first release has.
    pub removed: Vec<ReleasedPackage>,
    /// Names that both have, with other packages.
    pub changed: Vec<PackageChange>,
    /// Tree variants that only the second release has.
    pub added_variants: Vec<Variant>,
    /// Tree variants that only the first release has.
    pub removed_variants: Vec<Variant>,
}

/// Ids by name.
fn by_name(metadata: &Metadata) -> BTreeMap<&PackageName, BTreeSet<&PackageId>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for id in &metadata.packages {
        found.entry(id.name()).or_default().insert(id);
    }
    found
}

/// Release, with the storage of its packages.
#[derive(Debug, Clone, Copy)]
pub struct Side<'s> {
    /// The release.
    pub metadata: &'s Metadata,
    /// The storage.
    pub storage: &'s Storage,
}

/// Means to read packages.
#[derive(Debug, Clone, Copy)]
pub struct Means<'m> {
    /// Cache that is asked first.
    pub cache: &'m Cache,
    /// Folder for temporary files.
    pub scratch: &'m Path,
    /// Limits of archives.
    pub limits: &'m ArchiveLimits,
    /// Keys of which one has to have signed each package that comes from a storage.
    pub required: Option<&'m TrustedKeys>,
}

impl Diff {
    /// Compares two releases. Packages that differ are read from the cache, else from the storage; what
    /// comes from there is checked as by `promote`.
    pub fn new(
        [first, second]: [Side<'_>; 2],
        means: &Means<'_>,
        observer: &dyn Observer,
    ) -> Result<Self, ReleaseError> {
        let ids = [by_name(first.metadata), by_name(second.metadata)];
        let sides = [first, second];
        let mut wanted = Vec::new();
        for side in [0, 1] {
            for (name, here) in &ids[side] {
                let there = ids[1 - side].get(name);
                let only = here.iter().filter(|id| there.is_none_or(|there| !there.contains(*id)));
                wanted.extend(only.map(|id| (side, *id)));
            }
        }
        let read = |(side, id): &(usize, &PackageId)| {
            let sources = sources(&sides[*side], id, means, observer)?;
            Ok::<_, ReleaseError>((*side, ReleasedPackage { id: (*id).clone(), sources }))
        };
        let builds: Vec<(usize, ReleasedPackage)> = each(&wanted, read)?;
        let mut diff = Self::default();
        let mut changes: BTreeMap<PackageName, [Vec<ReleasedPackage>; 2]> = BTreeMap::new();
        for (side, build) in builds {
            let name = build.id.name();
            match (side, ids[1 - side].contains_key(name)) {
                (_, true) => changes.entry(name.clone()).or_default()[side].push(build),
                (0, false) => diff.removed.push(build),
                (_, false) => diff.added.push(build),
            }
        }
        let change = |(name, [from, to]): (PackageName, [Vec<ReleasedPackage>; 2])| PackageChange {
            name,
            from,
            to,
        };
        diff.changed = changes.into_iter().map(change).collect();
        let variants = |side: usize| &sides[side].metadata.all_completes;
        let missing = |side: usize| {
            let only = variants(side).keys().filter(|name| !variants(1 - side).contains_key(name));
            only.cloned().collect::<Vec<_>>()
        };
        (diff.removed_variants, diff.added_variants) = (missing(0), missing(1));
        Ok(diff)
    }

    /// The differences as JSON.
    pub fn to_json(&self) -> Value {
        let builds = |builds: &[ReleasedPackage]| -> Value {
            builds.iter().map(ReleasedPackage::to_json).collect()
        };
        let names =
            |variants: &[Variant]| -> Value { variants.iter().map(Variant::name).collect() };
        let changed: Vec<Value> = self
            .changed
            .iter()
            .map(|change| {
                json!({ "name": change.name, "from": builds(&change.from), "to": builds(&change.to) })
            })
            .collect();
        json!({
            "added": builds(&self.added),
            "removed": builds(&self.removed),
            "changed": changed,
            "added_variants": names(&self.added_variants),
            "removed_variants": names(&self.removed_variants),
        })
    }

    /// The differences as lines for people; none if there are none.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for variant in &self.removed_variants {
            _ = writeln!(text, "- tree {variant}");
        }
        for variant in &self.added_variants {
            _ = writeln!(text, "+ tree {variant}");
        }
        let all = |text: &mut String, sign: char, builds: &[ReleasedPackage]| {
            for build in builds {
                _ = writeln!(text, "{sign} {}", build.id);
                for (name, source) in build.sources.iter().flatten() {
                    _ = writeln!(text, "    {name}: {source}");
                }
            }
        };
        all(&mut text, '-', &self.removed);
        all(&mut text, '+', &self.added);
        for PackageChange { name, from, to } in &self.changed {
            let ([from], [to]) = (from.as_slice(), to.as_slice()) else {
                all(&mut text, '-', from);
                all(&mut text, '+', to);
                continue;
            };
            let versions = (from.id.version(), to.id.version());
            _ = writeln!(text, "~ {name}: {} -> {}", versions.0, versions.1);
            let none = BTreeMap::new();
            let sources = [from, to].map(|build| build.sources.as_ref().unwrap_or(&none));
            let names: BTreeSet<&String> = sources.iter().flat_map(|all| all.keys()).collect();
            let mut changed = 0;
            for name in names {
                let (old, new) = (sources[0].get(name), sources[1].get(name));
                let word =
                    |source: Option<&String>| source.map_or("none", String::as_str).to_owned();
                if old != new {
                    changed += 1;
                    _ = writeln!(text, "    {name}: {} -> {}", word(old), word(new));
                }
            }
            if changed == 0 {
                _ = writeln!(text, "    the same sources");
            }
        }
        text
    }
}

impl ReleasedPackage {
    fn to_json(&self) -> Value {
        json!({ "id": self.id, "sources": self.sources })
    }
}

/// Reads the sources of a package.
fn sources(
    side: &Side<'_>,
    id: &PackageId,
    means: &Means<'_>,
    observer: &dyn Observer,
) -> Result<Option<BTreeMap<String, String>>, ReleaseError> {
    let cache = means.cache;
    let storage = side.storage.name.clone();
    let check = &contents::check;
    let read = if cache.has(id) {
        let path = cache.archive(id);
        let mut file = fs_err::File::open(&path)
            .map(fs_err::File::into_file)
            .map_err(|source| ReleaseError::File { operation: "read", path, source })?;
        check_package(id, &mut file, means.limits, check, observer).map(Some)
    } else {
        let folder = &side.metadata.repository_path;
        fetch::repository(side.storage, folder, means.required).read_package(
            id,
            means.scratch,
            means.limits,
            check,
            observer,
        )
    };
    match read {
        Ok(Some(index)) => Ok(index.buildinfo.as_deref().and_then(declared)),
        Ok(None) => {
            let (what, release) =
                (package_path(id), side.metadata.reproducible_artifact_path.clone());
            Err(ReleaseError::Lost { storage, what, release })
        }
        Err(source) => Err(ReleaseError::Fetch { storage, source: Box::new(source) }),
    }
}

/// Sources in a `buildinfo.full.json`.
fn declared(text: &[u8]) -> Option<BTreeMap<String, String>> {
    let full: Value = serde_json::from_slice(text).ok()?;
    let sources = full.get("sources")?.as_object()?;
    let shown = |source: &Value| {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let short = |text: &str| text.chars().take(SHOWN_DIGITS).collect::<String>();
        let commit = text("commit").or_else(|| text("ref"));
        let found = match text("kind") {
            Some("git") => format!(
                "{} {}",
                text("ref_origin").unwrap_or_default(),
                commit.map(short).unwrap_or_default()
            ),
            Some("git_local") => commit.map(short).unwrap_or_default(),
            _ => {
                let sum = text("downloaded_sha1").or_else(|| text("sha1"));
                format!(
                    "{} {}",
                    text("url").map(redact_text).unwrap_or_default(),
                    sum.map(short).unwrap_or_default()
                )
            }
        };
        // The texts come from an archive of whoever made it, and go to a terminal (escape
        // sequences).
        found.replace(char::is_control, " ").trim().to_owned()
    };
    Some(
        sources
            .iter()
            .map(|(name, source)| (name.replace(char::is_control, " "), shown(source)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_have_their_refs() {
        let text = br#"{"sources": {
            "g": {"kind": "git", "git": "https://u:p@h/r.git", "ref": "0123456789abcdef", "ref_origin": "v1", "commit": "fedcba9876543210"},
            "u": {"kind": "url", "url": "https://u:p@h/f.tar.gz", "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
            "l": {"kind": "git_local", "rel_path": ".", "commit": "fedcba9876543210\u001b"}
        }}"#;
        let found = declared(text).unwrap();
        assert_eq!(found["g"], "v1 fedcba987654");
        assert_eq!(found["u"], "https://h/f.tar.gz da39a3ee5e6b");
        assert_eq!(found["l"], "fedcba987654");
        assert_eq!(declared(b"{}"), None);
    }

    #[test]
    fn changes_are_lines() {
        let build = |id: &str, source: &str| ReleasedPackage {
            id: id.parse().unwrap(),
            sources: Some(BTreeMap::from([("src".to_owned(), source.to_owned())])),
        };
        let change = |from: Vec<ReleasedPackage>, to: Vec<ReleasedPackage>| PackageChange {
            name: from[0].id.name().clone(),
            from,
            to,
        };
        let diff = Diff {
            added: vec![build("new--1", "v1 a")],
            removed: vec![build("old--1", "v1 a")],
            changed: vec![
                change(vec![build("a--1", "v1 a")], vec![build("a--2", "v2 b")]),
                change(vec![build("b--1", "v1 a")], vec![build("b--2", "v1 a")]),
                change(vec![build("c--1", "x")], vec![build("c--2", "y"), build("c--3", "z")]),
            ],
            added_variants: vec!["ee".parse().unwrap()],
            removed_variants: Vec::new(),
        };
        assert_eq!(
            diff.text(),
            "+ tree ee\n- old--1\n    src: v1 a\n+ new--1\n    src: v1 a\n~ a: 1 -> 2\n    src: v1 a -> v2 b\n~ b: 1 -> 2\n    the same sources\n- c--1\n    src: x\n+ c--2\n    src: y\n+ c--3\n    src: z\n"
        );
        assert_eq!(diff.to_json()["changed"][0]["to"][0]["sources"]["src"], "v2 b");
        assert_eq!(Diff::default().text(), "");
    }
}
