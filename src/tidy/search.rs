//! Items of a tree's cache that no current id needs.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::{Unknown, UnusedItem, UnusedKind};
use crate::base::atomic::TEMPORARY_PREFIX;
use crate::base::digest::Sha1Sum;
use crate::bootstrap::BootstrapId;
use crate::build::cache::is_file;
use crate::build::project::{Project, ProjectError};
use crate::package::paths::{active_id, bootstrap_id};
use crate::package::{PackageId, PackageName, SourceSpec, Variant};
use crate::runner::measure::Meter;
use crate::source::{SourceRequest, folder_lock};
use crate::store::signature::SUFFIX;
use crate::tree::PackageKey;

/// Needs of the current state of a tree.
pub(super) struct Needs {
    /// Current ids.
    ids: BTreeSet<PackageId>,
    /// Packages of which an id is not known.
    unknown: BTreeSet<PackageName>,
    /// Packages with a faulty description, whose sources are not known either.
    faulty: BTreeSet<PackageName>,
    /// Packages of the tree.
    names: BTreeSet<PackageName>,
    /// Bootstrap ids; `None` if at least one is unknown.
    bootstraps: Option<BTreeSet<String>>,
    /// Tree variants; `None` if they cannot be told.
    variants: Option<BTreeSet<Variant>>,
    /// File names that are needed in folders of sources; `cache.git` for a git repository.
    sources: BTreeMap<PathBuf, BTreeSet<String>>,
    has_upstream: bool,
}

/// Name of a git repository in a source's folder.
const REPOSITORY: &str = "cache.git";

impl Needs {
    /// Determines the needs; also returns the number of packages without an id.
    pub(super) fn of(
        project: &Project,
        observer: &dyn crate::base::event::Observer,
    ) -> Result<(Self, Unknown), ProjectError> {
        let keys: BTreeSet<PackageKey> = project.tree.keys().collect();
        let order = project.tree.order(&keys)?;
        let faulty = project.tree.faulty_names();
        let mut without: BTreeSet<PackageKey> = BTreeSet::new();
        let mut identifiable: Vec<PackageKey> = Vec::new();
        for key in &order {
            let has_no_id =
                |key: &PackageKey| project.tree.package(key).is_none() || without.contains(key);
            // The order has requirements first, so one pass is enough.
            if project.tree.requires(key).iter().any(has_no_id) {
                without.insert(key.clone());
            } else {
                identifiable.push(key.clone());
            }
        }
        let (known, pending) = project.identify_without_building(&identifiable, observer)?;
        let id_of = |key: &PackageKey| Some(known.identities.get(key)?.id.clone());
        let variants = project.tree.tree_variants().ok();
        // A tree variant with a mistake in it may have any bootstrap.
        let bootstrap = |variant: &Variant| {
            let set = project.tree.resolve(variant).ok()?;
            // One id that is not known makes the bootstrap's unknown, and then no bootstrap is
            // removed.
            let ids: Vec<PackageId> = set.bootstrap.iter().map(id_of).collect::<Option<_>>()?;
            Some(BootstrapId::of(&ids).as_str().to_owned())
        };
        let bootstraps = match &variants {
            Some(variants) => variants.iter().map(bootstrap).collect(),
            None => None,
        };
        let mut sources: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
        for request in project.source_requests(&order)? {
            let names = sources.entry(request.cache_dir.clone()).or_default();
            names.insert(file_name(&request));
        }
        let counts = Unknown { pending: pending.len(), not_valid: faulty.len() + without.len() };
        let pending = pending.into_iter().map(|pending| pending.key.name);
        let unknown = pending.chain(without.into_iter().map(|key| key.name));
        let needs = Self {
            ids: order.iter().filter_map(id_of).collect(),
            unknown: unknown.chain(faulty.iter().cloned()).collect(),
            faulty,
            names: project.tree.names().cloned().collect(),
            bootstraps,
            variants: variants.map(|variants| variants.into_iter().collect()),
            sources,
            has_upstream: project.tree.root().join("upstream.json").exists(),
        };
        Ok((needs, counts))
    }
}

/// Name of the file or repository of a source in its folder.
fn file_name(request: &SourceRequest) -> String {
    match &request.source.spec {
        SourceSpec::Url(file) | SourceSpec::UrlExtract(file) => file.file_name().to_owned(),
        SourceSpec::Git { .. } | SourceSpec::GitLocal { .. } => REPOSITORY.to_owned(),
    }
}

pub(super) struct TidySearch<'s> {
    pub(super) project: &'s Project,
    pub(super) needs: &'s Needs,
    pub(super) found: Vec<UnusedItem>,
    pub(super) meter: Meter,
}

/// Entry of a folder; symlinks are not followed.
struct TidyEntry {
    path: PathBuf,
    name: String,
    is_folder: bool,
    is_file: bool,
}

/// Entries with names that are UTF-8, as all names of ours are; none of a folder that is a symlink.
fn entries(folder: &Path) -> io::Result<Vec<TidyEntry>> {
    match fs_err::symlink_metadata(folder) {
        Ok(data) if data.is_dir() => {}
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    }
    let mut found = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        // Files that are being written; those of dead processes have a sweep of their own.
        if name.starts_with(TEMPORARY_PREFIX) {
            continue;
        }
        let (is_folder, is_file) = (kind.is_dir(), kind.is_file());
        found.push(TidyEntry { path: entry.path(), name, is_folder, is_file });
    }
    // The order of a folder's entries is the filesystem's, and the list is shown.
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

impl TidySearch<'_> {
    pub(super) fn run(&mut self) -> io::Result<()> {
        let root = self.project.cache.root().to_owned();
        for folder in entries(&root.join("packages"))?.iter().filter(|entry| entry.is_folder) {
            if let Ok(name) = folder.name.parse::<PackageName>() {
                self.package(&name, &folder.path)?;
            }
        }
        self.bootstraps(&root.join("bootstrap"))?;
        self.complete(&root.join("complete"))?;
        if !self.needs.has_upstream {
            for name in ["checkout", "source"] {
                let path = root.join("upstream").join(name);
                if fs_err::symlink_metadata(&path).is_ok_and(|data| data.is_dir()) {
                    self.add(UnusedKind::Upstream, &path, None);
                }
            }
        }
        Ok(())
    }

    fn add(&mut self, kind: UnusedKind, path: &Path, lock: Option<PathBuf>) {
        let bytes = self.meter.measure(path).bytes;
        let path = path.strip_prefix(self.project.cache.root()).unwrap_or(path).to_owned();
        self.found.push(UnusedItem { kind, path, bytes, lock });
    }

    fn package(&mut self, name: &PackageName, folder: &Path) -> io::Result<()> {
        let is_known = self.needs.names.contains(name);
        for entry in entries(folder)? {
            if entry.is_folder {
                // Folders of a kept build, which only people remove.
                let is_kept = ["src", "result"].contains(&entry.name.as_str());
                if !is_kept && !self.needs.faulty.contains(name) {
                    self.source(&entry)?;
                }
                continue;
            }
            let bare = entry.name.strip_suffix(SUFFIX).unwrap_or(&entry.name);
            let id = bare.strip_suffix(".tar.xz").and_then(|id| id.parse::<PackageId>().ok());
            if let Some(id) = id.filter(|id| id.name() == name && entry.is_file) {
                // By name: as long as the id is not known, any archive of the package may be the
                // needed one.
                if !self.needs.ids.contains(&id) && !self.needs.unknown.contains(name) {
                    let lock = self.project.home().package_lock(self.project.cache.root(), &id);
                    self.add(UnusedKind::Package, &entry.path, Some(lock));
                }
            } else if entry.is_file && is_latest(&entry.name, "latest") && !is_known {
                self.add(UnusedKind::Latest, &entry.path, None);
            }
        }
        Ok(())
    }

    /// Searches downloads that no package names. A folder contains downloads if this home has its
    /// lock, which stays after a fetch, and if its only entries are files and a git repository.
    fn source(&mut self, folder: &TidyEntry) -> io::Result<()> {
        let inside = entries(&folder.path)?;
        let is_ours =
            |entry: &TidyEntry| entry.is_file || entry.is_folder && entry.name == REPOSITORY;
        let locks = &self.project.fetch_options().locks;
        let lock = folder_lock(locks, &folder.path);
        // Otherwise the folder may be a user's own, which the names do not tell.
        if !is_file(&lock) || !inside.iter().all(is_ours) {
            return Ok(());
        }
        let needed = self.needs.sources.get(&folder.path);
        for entry in inside {
            if needed.is_none_or(|needed| !needed.contains(&entry.name)) {
                self.add(UnusedKind::Source, &entry.path, Some(lock.clone()));
            }
        }
        Ok(())
    }

    fn bootstraps(&mut self, folder: &Path) -> io::Result<()> {
        for entry in entries(folder)?.into_iter().filter(|entry| entry.is_file) {
            let bare = entry.name.strip_suffix(SUFFIX).unwrap_or(&entry.name);
            let id = bootstrap_id(bare).or_else(|| active_id(&entry.name));
            if let Some(id) = id.filter(|id| id.parse::<Sha1Sum>().is_ok()) {
                let needed = self.needs.bootstraps.as_ref();
                if needed.is_some_and(|needed| !needed.contains(id)) {
                    let lock = self.project.home().bootstrap_lock(id);
                    self.add(UnusedKind::Bootstrap, &entry.path, Some(lock));
                }
            } else if self.is_of_no_variant(&entry.name, "bootstrap.latest") {
                self.add(UnusedKind::Latest, &entry.path, None);
            }
        }
        Ok(())
    }

    fn complete(&mut self, folder: &Path) -> io::Result<()> {
        for entry in entries(folder)?.into_iter().filter(|entry| entry.is_file) {
            if self.is_of_no_variant(&entry.name, "complete.latest.json") {
                self.add(UnusedKind::Latest, &entry.path, None);
            }
        }
        Ok(())
    }

    /// True if a name is one of our files, of a tree variant that the tree does not have.
    fn is_of_no_variant(&self, name: &str, file: &str) -> bool {
        // With a broken `treeinfo.json`, no variant is known not to exist.
        let Some(variants) = &self.needs.variants else { return false };
        is_latest(name, file) && !variants.iter().any(|variant| variant.file(file) == name)
    }
}

fn is_latest(name: &str, file: &str) -> bool {
    name == file || name.strip_suffix(file).is_some_and(|variant| variant.ends_with('.'))
}
