//! Contents of a store, by the names of its objects.

use std::collections::BTreeMap;

use super::names::{INDEX_JSON, INDEX_PAGE};
use crate::base::event::Observer;
use crate::base::total::total;
use crate::package::PackageId;
use crate::package::paths::{active_id, bootstrap_id, is_late};
use crate::store::signature::SUFFIX;
use crate::store::{Backend, LOCK_FILE, Listed, StoreError, StoreTransfer};

/// Name of lists in events.
pub(super) const SUBJECT: &str = "cache";

/// Sizes of an archive and its accompanying files, in bytes; `None` for missing ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartSizes {
    /// Archive.
    pub archive: Option<u64>,
    /// Sum.
    pub sum: Option<u64>,
    /// Signature.
    pub signature: Option<u64>,
    /// Record of a package.
    pub record: Option<u64>,
    /// List of the packages of a bootstrap.
    pub list: Option<u64>,
}

/// Kind of a single object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactKind {
    /// A source.
    Source,
    /// A file of builder images.
    Image,
    /// Something else that a repository, a mirror or a tree's cache has.
    Known,
    /// Anything else.
    Stray,
}

/// Contents of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreContents {
    /// Packages.
    pub packages: BTreeMap<PackageId, PartSizes>,
    /// Bootstraps by their ids.
    pub bootstraps: BTreeMap<String, PartSizes>,
    /// Sources.
    pub sources: Vec<Listed>,
    /// Files of builder images.
    pub images: Vec<Listed>,
    /// Objects that are not part of a cache.
    pub strays: Vec<Listed>,
}

impl StoreContents {
    /// Lists a store.
    pub fn list(backend: &dyn Backend, observer: &dyn Observer) -> Result<Self, StoreError> {
        let transfer = StoreTransfer { subject: SUBJECT, observer };
        Ok(Self::of(backend.list(None, &transfer)?))
    }

    fn of(listed: Vec<Listed>) -> Self {
        let mut found = Self::default();
        for object in listed {
            if found.add_part(&object) {
                continue;
            }
            match kind(object.key.as_str()) {
                ArtifactKind::Source => found.sources.push(object),
                ArtifactKind::Image => found.images.push(object),
                ArtifactKind::Known => {}
                ArtifactKind::Stray => found.strays.push(object),
            }
        }
        found
    }

    /// Adds a file of a package or a bootstrap; `false` for any other.
    fn add_part(&mut self, object: &Listed) -> bool {
        let name = object.key.as_str();
        let Some((folder, rest)) = name.split_once('/') else { return false };
        let parts = match folder {
            "packages" => {
                let Some((above, file)) = rest.split_once('/') else { return false };
                let bare = strip(file, &[".sha256", SUFFIX]);
                let id = bare.strip_suffix(".tar.xz").and_then(|id| id.parse::<PackageId>().ok());
                let Some(id) = id.filter(|id| id.name().as_str() == above) else { return false };
                self.packages.entry(id).or_default()
            }
            "records" => {
                let Some((above, file)) = rest.split_once('/') else { return false };
                let id = file.strip_suffix(".json").and_then(|id| id.parse::<PackageId>().ok());
                let Some(id) = id.filter(|id| id.name().as_str() == above) else { return false };
                self.packages.entry(id).or_default()
            }
            "bootstrap" => {
                let bare = strip(rest, &[".sha256", SUFFIX]);
                let id = bootstrap_id(bare);
                let id = id.or_else(|| active_id(rest));
                // Ids come from names of a store that others write to, and go into paths.
                let Some(id) = id.filter(|id| is_hex(id, 40)) else { return false };
                self.bootstraps.entry(id.to_owned()).or_default()
            }
            _ => return false,
        };
        let part = match name.rsplit_once('.').map(|(_, suffix)| suffix) {
            Some("sha256") => &mut parts.sum,
            Some("minisig") => &mut parts.signature,
            Some("json") if folder == "records" => &mut parts.record,
            Some("json") => &mut parts.list,
            _ => &mut parts.archive,
        };
        *part = Some(object.size);
        true
    }
}

impl PartSizes {
    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let parts = [self.archive, self.sum, self.signature, self.record, self.list];
        total(parts.into_iter().flatten())
    }
}

fn strip<'n>(name: &'n str, suffixes: &[&str]) -> &'n str {
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

pub(super) fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte))
}

/// Kind of an object that does not belong to a package or a bootstrap.
fn kind(name: &str) -> ArtifactKind {
    let is_sum = |prefix: &str, suffix: &str| {
        let sum = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        sum.is_some_and(|sum| is_hex(sum, 40))
    };
    if is_sum("sources/sha1/", "") || is_sum("sources/bundles/", ".bundle") {
        return ArtifactKind::Source;
    }
    if name.starts_with("images/") {
        return ArtifactKind::Image;
    }
    let own = [INDEX_JSON, INDEX_PAGE, LOCK_FILE];
    let folders = ["package_lists/", "complete/", "sha1/", "bundles/", "git/"];
    let is_latest = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or(name);
        file == "latest" || file.ends_with(".latest") || file.ends_with("bootstrap.latest")
    };
    if own.contains(&name)
        || folders.iter().any(|folder| name.starts_with(folder))
        || is_late(strip(name, &[".sha256", SUFFIX]))
        || is_latest(name)
    {
        return ArtifactKind::Known;
    }
    ArtifactKind::Stray
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(names: &[&str]) -> StoreContents {
        let listed = names.iter().zip(1..);
        StoreContents::of(
            listed.map(|(name, size)| Listed { key: name.parse().unwrap(), size }).collect(),
        )
    }

    #[test]
    fn names_tell_what_a_store_holds() {
        let hex = "0123456789abcdef0123456789abcdef01234567";
        let archive = format!("bootstrap/{hex}.bootstrap.tar.xz");
        let names = [
            "packages/a/a--1.tar.xz",
            "packages/a/a--1.tar.xz.sha256",
            "packages/a/a--1.tar.xz.minisig",
            "records/a/a--1.json",
            &archive,
            &format!("{archive}.sha256"),
            &format!("bootstrap/{hex}.active.json"),
            &format!("sources/sha1/{hex}"),
            &format!("sources/bundles/{hex}.bundle"),
            "images/index.json",
        ];
        let found = contents(&names);
        let parts = found.packages[&"a--1".parse().unwrap()];
        assert_eq!(
            parts,
            PartSizes {
                archive: Some(1),
                sum: Some(2),
                signature: Some(3),
                record: Some(4),
                list: None
            }
        );
        assert_eq!(parts.bytes(), 10);
        let parts = found.bootstraps[hex];
        assert_eq!((parts.archive, parts.sum, parts.list), (Some(5), Some(6), Some(7)));
        assert_eq!((found.sources.len(), found.images.len(), found.strays.len()), (2, 1, 0));
    }

    #[test]
    fn sizes_that_a_store_makes_up_are_no_fault_of_ours() {
        let parts = PartSizes { archive: Some(u64::MAX), sum: Some(1), ..PartSizes::default() };
        assert_eq!(parts.bytes(), u64::MAX);
    }

    #[test]
    fn what_has_another_form_is_a_stray() {
        let known = ["index.json", "index.html", "packages/a/latest", "package_lists/x.json"];
        assert_eq!(contents(&known), StoreContents::default());
        for name in [
            "packages/b/a--1.tar.xz",
            "packages/a--1.tar.xz",
            "packages/a/x/a--1.tar.xz",
            "records/b/a--1.json",
            "bootstrap/ABC.bootstrap.tar.xz",
            "sources/sha1/xyz",
            "note.txt",
        ] {
            assert_eq!(contents(&[name]).strays.len(), 1, "{name}");
        }
    }
}
