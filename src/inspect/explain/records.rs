//! Inputs of earlier builds: records in the builder's own folder, records in caches on this machine, and the
//! descriptions in archives of the tree's cache.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::archive::{ArchiveLimits, EntryKind, PackageReader};
use crate::base::confinement;
use crate::build::cache::{Cache, is_file};
use crate::package::matching::matching_version;
use crate::package::{PackageId, PackageName, Requirement, Variant};
use crate::runner::home::Home;
use crate::tree::PackageKey;

/// Upper limit of a record and of a description, in bytes.
const LONGEST: u64 = 16 << 20;
/// The description in packages.
const DESCRIPTION: &str = "buildinfo.full.json";

/// Build with known inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBuild {
    /// Id.
    pub id: PackageId,
    /// File with the inputs.
    pub origin: String,
    /// Hashed inputs.
    pub build_ids: Value,
    /// Direct and indirect requirements.
    pub dependencies: Vec<PackageId>,
    /// Direct requirements, if the record has them.
    pub requires: Option<Vec<Requirement>>,
}

/// Choice of another build for a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// The last build.
    Last,
    /// An id, or the beginning of one.
    Id(String),
    /// A file: a build's record, a cache's record, or a `buildinfo.full.json`.
    File(PathBuf),
    /// A folder with records: a cache, or the builder's own.
    Store(PathBuf),
}

/// Another build cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// Nothing is known of a build.
    #[error("nothing is known of a build {0}")]
    Unknown(String),
    /// Several builds have ids that begin so.
    #[error("{typed} is the beginning of several ids: {}", .found.join(", "))]
    Ambiguous {
        /// The beginning.
        typed: String,
        /// The ids.
        found: Vec<String>,
    },
    /// A file is not a record.
    #[error("{} is not the record of a build, nor a {DESCRIPTION}", .0.display())]
    NotARecord(PathBuf),
    /// A record is that of another package.
    #[error("{} is of {id}, and not of a build of {wanted}", path.display())]
    OtherPackage {
        /// The record.
        path: PathBuf,
        /// Its package.
        id: PackageId,
        /// The package that is explained.
        wanted: PackageKey,
    },
    /// A folder has no record of a package.
    #[error("{} has no record of a build of {wanted}", path.display())]
    NoneInStore {
        /// The folder.
        path: PathBuf,
        /// The package that is explained.
        wanted: PackageKey,
    },
}

impl RecordsError {
    /// Remedy.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown(_) => Some(
                "give a whole id, the path of a record, or a cache's folder; `mkpanda list` shows current ids"
                    .to_owned(),
            ),
            Self::Ambiguous { .. } => Some("give more of the id".to_owned()),
            Self::NotARecord(_) => Some(
                "records lie in $MKPANDA_HOME/builds/NAME/ID/record.json, and in records/NAME/ID.json of a cache"
                    .to_owned(),
            ),
            Self::OtherPackage { .. } => None,
            Self::NoneInStore { .. } => Some(
                "records lie in builds/NAME/ID/record.json of $MKPANDA_HOME, and in records/NAME/ID.json of a cache"
                    .to_owned(),
            ),
        }
    }
}

/// Places with records.
#[derive(Debug, Clone)]
pub struct RecordFolders {
    /// Folders with `builds/` or `records/`, in the order in which they are asked.
    folders: Vec<PathBuf>,
    cache: Cache,
}

/// A file with the inputs of a build: a build's record, a cache's, or a `buildinfo.full.json`.
#[derive(Deserialize)]
struct RecordFile {
    id: Option<PackageId>,
    buildinfo: Option<Value>,
    requires: Option<Vec<Requirement>>,
    build_ids: Option<Value>,
    name: Option<PackageName>,
    package_version: Option<crate::package::Version>,
}

impl RecordFolders {
    /// Records of a tree's builds; `stores` are folders with others, which are asked first.
    pub fn new(home: &Home, cache: &Cache, stores: Vec<PathBuf>, caches: Vec<PathBuf>) -> Self {
        let own = home.root().to_owned();
        let folders = stores.into_iter().chain([own]).chain(caches).collect();
        Self { folders, cache: cache.clone() }
    }

    /// Finds the inputs of a build.
    pub fn find(&self, id: &PackageId) -> Option<KnownBuild> {
        let kept = self
            .folders
            .iter()
            .find_map(|folder| places(id).iter().find_map(|path| read_below(folder, path)));
        // A cache is written by others: a file's name does not prove which build it is of.
        kept.filter(|build| build.id == *id).or_else(|| self.of_archive(id))
    }

    /// Finds the build for a comparison; `None` if the package was never built.
    pub fn against(
        &self,
        key: &PackageKey,
        last: Option<&PackageId>,
        against: &Against,
    ) -> Result<Option<KnownBuild>, RecordsError> {
        match against {
            Against::Last => Ok(last.map(|id| {
                // The id alone tells whether anything changed.
                self.find(id).unwrap_or_else(|| KnownBuild {
                    id: id.clone(),
                    origin: self.cache.package_folder(id.name()).display().to_string(),
                    build_ids: Value::Null,
                    dependencies: Vec::new(),
                    requires: None,
                })
            })),
            Against::Id(text) => self.by_id(key, text).map(Some),
            Against::File(path) => {
                let build = read(path).ok_or_else(|| RecordsError::NotARecord(path.clone()))?;
                if *build.id.name() == key.name {
                    return Ok(Some(build));
                }
                let (id, wanted) = (build.id, key.clone());
                Err(RecordsError::OtherPackage { path: path.clone(), id, wanted })
            }
            Against::Store(folder) => {
                let found = newest(folder, key);
                let none =
                    || RecordsError::NoneInStore { path: folder.clone(), wanted: key.clone() };
                found.ok_or_else(none).map(Some)
            }
        }
    }

    /// Finds a build of a package by its id, or by the beginning of the id or of its version.
    fn by_id(&self, key: &PackageKey, text: &str) -> Result<KnownBuild, RecordsError> {
        let typed =
            if text.contains("--") { text.to_owned() } else { format!("{}--{text}", key.name) };
        let unknown = || RecordsError::Unknown(typed.clone());
        let archives = self.cache.package_folder(&key.name);
        let folders = self.folders.iter().flat_map(|folder| {
            [
                folder.join("builds").join(key.name.as_str()),
                folder.join("records").join(key.name.as_str()),
            ]
        });
        let mut ids: Vec<PackageId> =
            folders.chain([archives]).flat_map(|folder| ids_in(&folder)).collect();
        // Folders of others may hold anything.
        ids.retain(|id| *id.name() == key.name);
        ids.sort();
        ids.dedup();
        match matching_version(text, &ids).as_slice() {
            [id] => self.find(id).ok_or_else(unknown),
            [] => Err(unknown()),
            several => {
                let found = several.iter().map(ToString::to_string).collect();
                Err(RecordsError::Ambiguous { typed, found })
            }
        }
    }

    /// Reads the description in an archive of the tree's cache.
    fn of_archive(&self, id: &PackageId) -> Option<KnownBuild> {
        let path = self.cache.archive(id);
        if !is_file(&path) {
            return None;
        }
        // A tree may bring the archive: its names are held in memory, and it may unpack to anything.
        let file = fs_err::File::open(&path).ok()?;
        let mut package = PackageReader::new(file, &ArchiveLimits::default()).ok()?;
        while let Some(entry) = package.next_entry().ok()? {
            let is_file = matches!(entry.kind, EntryKind::File { .. });
            if is_file && entry.path.as_bytes() == DESCRIPTION.as_bytes() {
                let mut text = Vec::new();
                package.take(LONGEST).read_to_end(&mut text).ok()?;
                let build = parse(&text, &path)?;
                return Some(build).filter(|build| build.id == *id);
            }
        }
        None
    }
}

/// Files that a folder of records may have for a build, relative to the folder.
fn places(id: &PackageId) -> [PathBuf; 2] {
    let name = id.name();
    [format!("builds/{name}/{id}/record.json").into(), format!("records/{name}/{id}.json").into()]
}

/// Ids in the names of a folder's entries.
fn ids_in(folder: &Path) -> Vec<PackageId> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let id = |entry: fs_err::DirEntry| -> Option<PackageId> {
        let name = entry.file_name().into_string().ok()?;
        let name =
            name.strip_suffix(".tar.xz").or_else(|| name.strip_suffix(".json")).unwrap_or(&name);
        name.parse().ok()
    };
    entries.flatten().filter_map(id).collect()
}

/// The newest record of a package in a folder of records.
fn newest(folder: &Path, key: &PackageKey) -> Option<KnownBuild> {
    let name = key.name.as_str();
    let own = [folder.join("builds").join(name), folder.join("records").join(name)];
    let mut files: Vec<_> = own
        .iter()
        .flat_map(|folder| ids_in(folder))
        .flat_map(|id| places(&id))
        .filter_map(|path| {
            // The time is taken of the opened file: a name may become a link in between.
            let file = confinement::open_plain(folder, &path).ok()?;
            Some((file.metadata().ok()?.modified().ok()?, path))
        })
        .collect();
    files.sort();
    let builds = files.iter().rev().filter_map(|(_, path)| read_below(folder, path));
    builds.into_iter().find(|build| build.variant() == key.variant)
}

/// Reads a file that the user names.
fn read(path: &Path) -> Option<KnownBuild> {
    parse_file(fs_err::File::open(path).ok()?, path)
}

/// Reads a record in a folder. Others may write to a cache, so a link, a FIFO or a device is not a record.
fn read_below(folder: &Path, path: &Path) -> Option<KnownBuild> {
    parse_file(confinement::open_plain(folder, path).ok()?, &folder.join(path))
}

fn parse_file(file: impl Read, path: &Path) -> Option<KnownBuild> {
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text).ok()?;
    parse(&text, path)
}

fn parse(text: &[u8], path: &Path) -> Option<KnownBuild> {
    let file: RecordFile = serde_json::from_slice(text).ok()?;
    let id = match (file.id, file.name, file.package_version) {
        (Some(id), _, _) => id,
        (None, Some(name), Some(version)) => PackageId::new(name, version),
        _ => return None,
    };
    let nested = file.buildinfo.as_ref().and_then(|info| info.get("build_ids")).cloned();
    let build_ids = file.build_ids.or(nested)?;
    let required = build_ids.get("requires").and_then(Value::as_array);
    let dependencies = required.into_iter().flatten().filter_map(|id| id.as_str()?.parse().ok());
    let dependencies = dependencies.collect();
    let origin = path.display().to_string();
    // In a description, the key is that of another file's.
    Some(KnownBuild { id, origin, dependencies, requires: file.requires, build_ids })
}

impl KnownBuild {
    /// Built variant.
    pub fn variant(&self) -> Variant {
        let name = self.build_ids.get("variant").and_then(Value::as_str).unwrap_or_default();
        name.parse().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Archive of a package with a description, behind an entry with a name of this length.
    fn archive(name_length: usize) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: tar::EntryType, content: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o755);
            header.set_size(content.len() as u64);
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            tar.append(&header, content).unwrap();
        };
        add("./", tar::EntryType::Directory, b"");
        let name = format!("./{}", "n/".repeat(name_length / 2));
        add("././@LongLink", tar::EntryType::GNULongName, format!("{name}\0").as_bytes());
        add("n", tar::EntryType::Directory, b"");
        let text = r#"{"name": "p", "package_version": "1", "build_ids": {"variant": "v"}}"#;
        add("./buildinfo.full.json", tar::EntryType::Regular, text.as_bytes());
        tar.into_inner().unwrap()
    }

    /// The iterator of the `tar` crate reads a name of any length into memory.
    #[test]
    fn an_archive_of_a_trees_cache_cannot_fill_memory_by_a_name() {
        let place = tempfile::tempdir().unwrap();
        let (home, cache) = (Home::new(place.path().join("home"), None), Cache::of(place.path()));
        let records = RecordFolders::new(&home, &cache, Vec::new(), Vec::new());
        let id: PackageId = "p--1".parse().unwrap();
        fs_err::create_dir_all(cache.package_folder(id.name())).unwrap();
        for (name_length, is_found) in [(200, true), (2 << 20, false)] {
            fs_err::write(cache.archive(&id), archive(name_length)).unwrap();
            assert_eq!(records.find(&id).is_some(), is_found, "{name_length}");
        }
    }
}
